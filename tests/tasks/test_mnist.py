"""The IDX reader: exact on what it accepts, one line on everything else, never more memory."""

import gzip
import hashlib
import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.errors import DataError
from harness.tasks.mnist import MAX_ELEMENTS, TruncatedError, content_sum, header, read_idx

SMALL = arrays(np.uint8, array_shapes(max_dims=4, max_side=6))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "some-idx3-ubyte"


def encoded(array):
    return header(array.shape) + array.tobytes()


def packing(content):
    """Without the time: what names a test or repeats an example is the same in every process."""
    return gzip.compress(content, mtime=0)


def attempt(path, content):
    """The array, or the error, whose one line names the file."""
    path.write_bytes(content)
    try:
        return read_idx(path), None
    except DataError as caught:
        error = caught
    assert str(path) in str(error)
    assert len(str(error).splitlines()) == 1
    return None, error


def refused(path, content, kind=DataError):
    array, error = attempt(path, content)
    assert array is None
    assert isinstance(error, kind)
    return str(error)


@given(array=SMALL, packed=st.booleans())
def test_reads_back_what_was_written(path, array, packed):
    content = encoded(array)
    path.write_bytes(packing(content) if packed else content)
    read = read_idx(path)
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert content_sum(read) == hashlib.sha256(content).hexdigest()


def test_header_is_the_published_one():
    """MNIST's magic numbers: 2051 for images, 2049 for labels."""
    assert header((60_000, 28, 28)) == struct.pack(">IIII", 2051, 60_000, 28, 28)
    assert header((60_000,)) == struct.pack(">II", 2049, 60_000)


@given(array=SMALL, cut=st.integers(min_value=1), packed=st.booleans())
def test_every_shorter_file_is_truncated(path, array, cut, packed):
    content = encoded(array)
    content = packing(content) if packed else content
    refused(path, content[: -(cut % len(content)) or -1], TruncatedError)


@given(array=SMALL, more=st.binary(min_size=1, max_size=9), packed=st.booleans())
def test_every_longer_file_is_refused(path, array, more, packed):
    content = encoded(array) + more
    assert "more bytes" in refused(path, packing(content) if packed else content)


@settings(max_examples=300)
@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(packing))
@example(b"")
@example(b"\x1f")
@example(b"\x1f\x8b")
@example(b"\x00\x00\x08\x00")
def test_arbitrary_bytes_give_an_array_or_one_line(path, content):
    array, error = attempt(path, content)
    if error is None:
        found = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert encoded(array) == found


@settings(max_examples=200)
@given(array=SMALL, place=st.integers(min_value=0), flip=st.integers(1, 255))
def test_one_changed_byte_of_a_gzip_file_never_gives_another_array(path, array, place, flip):
    content = bytearray(packing(encoded(array)))
    content[place % len(content)] ^= flip
    read, error = attempt(path, content)
    # What the header of a gzip file says of time and system does not count.
    assert error or np.array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x01\x08\x01\x00\x00\x00\x01\x07", "not an IDX file"),
        (b"PK\x03\x04" + bytes(20), "not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "type 0x0d"),
        (b"\x00\x00\x08\x00", "0 IDX dimensions"),
        (b"\x00\x00\x08\x05" + 5 * b"\x00\x00\x00\x01" + b"\x07", "5 IDX dimensions"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x00\x00\x00\x00\x03", "absurd IDX dimensions 0 × 3"),
        (b"\x00\x00\x08\x03" + 12 * b"\xff", "absurd IDX dimensions"),
        (packing(b"\x00\x00\x08\x01\x00\x00\x00\x01\x07") + b"junk", "corrupt gzip"),
        (b"\x1f\x8b" + bytes(30), "corrupt gzip"),
    ],
)
def test_malformed_files_say_what_is_wrong(path, content, reason):
    assert reason in refused(path, content)


@pytest.mark.parametrize("packed", [False, True])
def test_a_small_file_cannot_ask_for_much_memory(path, packed):
    content = struct.pack(">HBBI", 0, 8, 1, MAX_ELEMENTS)
    tracemalloc.start()
    try:
        refused(path, packing(content) if packed else content, TruncatedError)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_decompression_bomb_is_not_unpacked(path):
    """Ten bytes are promised, 64 MB follow."""
    bomb = gzip.compress(struct.pack(">HBBI", 0, 8, 1, 10) + bytes(64_000_000))
    tracemalloc.start()
    try:
        assert "more bytes than the 10" in refused(path, bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_absent_file_directory_and_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="no such file"):
            read_idx(path)


def test_a_file_that_may_not_be_read_says_so(path, monkeypatch):
    path.write_bytes(encoded(np.zeros(3, np.uint8)))

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    with pytest.raises(DataError, match="some-idx3-ubyte: Permission denied"):
        read_idx(path)
