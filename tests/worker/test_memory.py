"""A limit on a worker's memory, and what running out of it looks like."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.errors import UsageError
from harness.runs.config import parse_bytes, resolve
from harness.worker.system import is_out_of_memory, ran_out
from tests.test_cli import ROOT


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2_000_000_000),
        ("512M", 512_000_000),
        ("1.5gb", 1_500_000_000),
        ("60000000", 60_000_000),
    ],
)
def test_sizes_as_users_write_them(text, size):
    assert parse_bytes(text) == size
    assert resolve(None, {"memory_limit": text}).memory_limit == size


@pytest.mark.parametrize("text", ["", "lots", "-1G", "nan", "1e9", "2 GiB", "9" * 40, "1M", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match=r"memory.limit"):
        resolve(None, {"memory_limit": text})


class ResourceExhaustedError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (ResourceExhaustedError("OOM when allocating tensor with shape[1,2]"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (OSError("[Errno 12] Cannot allocate memory"), True),
        (ValueError("shapes do not fit"), False),
        (RuntimeError("the room is full"), False),
    ],
)
def test_every_framework_says_it_in_words_of_its_own(error, expected):
    assert ran_out(error) == expected


def test_openblas_and_the_c_library_say_it_before_they_die():
    assert is_out_of_memory(
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up"
    )
    assert is_out_of_memory("terminate called after throwing an instance of 'std::bad_alloc'")
    assert not is_out_of_memory("Segmentation fault")


@pytest.mark.skipif(sys.platform != "linux", reason="a memory limit needs Linux")
def test_the_limit_counts_what_is_written_and_can_be_lifted():
    code = (
        "import mmap\n"
        "from harness.worker.system import lift_limit, limit_memory\n"
        "limit_memory(100_000_000)\n"
        "try: bytearray(200_000_000); raise SystemExit(1)\n"
        "except MemoryError: pass\n"
        "alone = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS\n"
        "mmap.mmap(-1, 10**10, flags=alone, prot=mmap.PROT_READ)\n"  # reserved only
        "assert lift_limit() == 100_000_000\n"
        "assert lift_limit() is None\n"
        "bytearray(200_000_000)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
