"""Reader of IDX, the format of MNIST: unsigned bytes behind a header, plain or gzip-compressed.

The format, as Yann LeCun's MNIST page gives it: two zero bytes, the element type (8 = unsigned
byte), the number of dimensions, each dimension as a big-endian 32-bit integer, then the elements.
Nothing else is accepted, so a file's content and its array determine each other.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**30
MAX_DEFLATE_RATIO = 1032
"""No deflate stream expands further, so a small file with a huge header is refused unread."""

Bytes = NDArray[np.uint8]


class TruncatedError(DataError):
    """A data file ends before the content that its header promises."""


def read_idx(path: Path) -> Bytes:
    """The array in an IDX file; gzip is recognised by its first bytes, whatever the file's name.

    Raises DataError, in one line naming the file, where the file cannot be read or is anything but
    one whole array of unsigned bytes; TruncatedError where it ends too early. Never holds more than
    the array that the header announces, which is refused above `MAX_ELEMENTS`.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        with path.open("rb") as raw:
            size = path.stat().st_size
            if raw.peek(2)[:2] != GZIP_MAGIC:
                return _read(raw, path, size)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, size * MAX_DEFLATE_RATIO)
    except EOFError:
        _truncated(path)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: corrupt gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def content_sum(array: Bytes) -> str:
    """SHA-256, in hexadecimal, of the uncompressed IDX file that holds exactly this array."""
    return hashlib.sha256(header(array.shape) + np.ascontiguousarray(array).data).hexdigest()


def header(shape: tuple[int, ...]) -> bytes:
    """The bytes before the elements."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTE, len(shape), *shape)


def _read(stream: BufferedIOBase, path: Path, largest: int) -> Bytes:
    shape = _shape(stream, path)
    count = math.prod(shape)
    if count > largest:
        _truncated(path)
    array = np.empty(count, np.uint8)
    view, filled = array.data, 0
    while filled < count:
        got = stream.readinto(view[filled:])
        if not got:
            _truncated(path)
        filled += got
    # Reading past the end also makes gzip compare its own checksum.
    if stream.read(1):
        raise DataError(f"{path}: more bytes than the {count:,} that its header promises")
    return array.reshape(shape)


def _shape(stream: BufferedIOBase, path: Path) -> tuple[int, ...]:
    zero, kind, dimensions = struct.unpack(">HBB", _exactly(stream, 4, path))
    if zero != 0:
        raise DataError(f"{path}: not an IDX file")
    if kind != UNSIGNED_BYTE:
        raise DataError(f"{path}: IDX elements of type {kind:#04x}; expected unsigned bytes (0x08)")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DataError(f"{path}: {dimensions} IDX dimensions; expected 1 to {MAX_DIMENSIONS}")
    shape = struct.unpack(f">{dimensions}I", _exactly(stream, 4 * dimensions, path))
    if not 0 < math.prod(shape) <= MAX_ELEMENTS:
        sizes = " × ".join(map(str, shape))
        raise DataError(f"{path}: absurd IDX dimensions {sizes}; at most {MAX_ELEMENTS:,} elements")
    return shape


def _exactly(stream: BufferedIOBase, count: int, path: Path) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        _truncated(path)
    return found


def _truncated(path: Path) -> NoReturn:
    raise TruncatedError(f"{path}: truncated: it ends before its content is complete")
