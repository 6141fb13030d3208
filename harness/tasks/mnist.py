"""MNIST and Fashion-MNIST: which files they are, how each is known, and how they are read.

IDX, their format, is as Yann LeCun's MNIST page gives it: two zero bytes, the element type (8 =
unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit integer, then the
elements, plain or gzip-compressed. Nothing else is accepted.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import shlex
import struct
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError


class File(NamedTuple):
    """One file of a data set and the archive in which it is published.

    `sha256` is that of the uncompressed content, so that another compression changes nothing.
    `archive_bytes` and `archive_sha256` are those of the `.gz` that the mirrors serve.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str
    archive_bytes: int
    archive_sha256: str

    @property
    def archive(self) -> str:
        return f"{self.name}.gz"


class Published(NamedTuple):
    """A data set: training images, training labels, test images, test labels.

    Its archives are served as `<mirror><archive>`; the first mirror is tried first.
    """

    mirrors: tuple[str, ...]
    files: tuple[File, ...]


# MNIST: LeCun, Cortes & Burges (1998). Fashion-MNIST: Xiao, Rasul & Vollgraf (2017).
# The archives' sums are those that TensorFlow Datasets publishes; they agree with the authors' MD5.
PUBLISHED: Mapping[str, Published] = {
    "mnist": Published(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=(
            File(
                "train-images-idx3-ubyte",
                (60_000, 28, 28),
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            File(
                "train-labels-idx1-ubyte",
                (60_000,),
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            File(
                "t10k-images-idx3-ubyte",
                (10_000, 28, 28),
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            File(
                "t10k-labels-idx1-ubyte",
                (10_000,),
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "fashion-mnist": Published(
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        files=(
            File(
                "train-images-idx3-ubyte",
                (60_000, 28, 28),
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            File(
                "train-labels-idx1-ubyte",
                (60_000,),
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            File(
                "t10k-images-idx3-ubyte",
                (10_000, 28, 28),
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            File(
                "t10k-labels-idx1-ubyte",
                (10_000,),
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
}


NO_DIRECTORY = (
    "no data directory: this user has no home directory; name one with --data-dir or SAMESTEP_DATA"
)


def data_directory(option: Path | None) -> Path | None:
    """Where data sets lie: the option, else `SAMESTEP_DATA`, else the user's cache directory.

    None for a user without a home directory, as in some containers: most tasks need no data
    directory. Raises DataError where the path names the home directory of an unknown user.
    """
    chosen = option or os.environ.get("SAMESTEP_DATA")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise DataError(f"{chosen}: there is no such user here") from None
    from platformdirs import user_cache_path

    try:
        return user_cache_path("samestep", appauthor=False)
    except RuntimeError:
        return None


def needed(directory: Path | None) -> Path:
    """The data directory, where a task or a command reads it; raises DataError if there is none."""
    if directory is None:
        raise DataError(NO_DIRECTORY)
    return directory


def find(name: str, directory: Path, file: File) -> Path | None:
    """The file in the data directory: the archive if it is there, else the plain one."""
    for path in (directory / name / file.archive, directory / name / file.name):
        if path.is_file():
            return path
    return None


def absent(name: str, directory: Path | None) -> str | None:
    """None where every file is there, else one line that says which is not and what to do."""
    if directory is None:
        return NO_DIRECTORY
    for file in PUBLISHED[name].files:
        if find(name, directory, file) is None:
            return f"{directory / name / file.archive} is absent: {remedy(name, directory)}"
    return None


def read(name: str, directory: Path, file: File) -> Bytes:
    """A file's array, its shape and content proved to be the published ones; raises DataError."""
    path = find(name, directory, file)
    if path is None:
        raise DataError(f"{directory / name / file.archive} is absent: {remedy(name, directory)}")
    try:
        array = read_idx(path)
    except DataError as error:
        raise type(error)(f"{error}: {remedy(name, directory)} again") from None
    if array.shape != file.shape or content_sum(array) != file.sha256:
        raise DataError(
            f"{path}: its content is not that of {name}: {remedy(name, directory)} again"
        )
    return array


def remedy(name: str, directory: Path) -> str:
    """What to type where a file is absent or corrupt."""
    elsewhere = ""
    if directory != data_directory(None):
        elsewhere = f" --data-dir {shlex.quote(str(directory))}"
    return f"run `python -m harness data fetch {name}{elsewhere}` to get it"


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
        why = "truncated: it ends before its content is complete"
        raise TruncatedError(f"{path}: {why}") from None
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
        raise EOFError
    array = np.frombuffer(_exactly(stream, count), np.uint8)
    # Reading past the end also makes gzip compare its own checksum.
    if stream.read(1):
        raise DataError(f"{path}: more bytes than the {count:,} that its header promises")
    return array.reshape(shape)


def _shape(stream: BufferedIOBase, path: Path) -> tuple[int, ...]:
    zero, kind, dimensions = struct.unpack(">HBB", _exactly(stream, 4))
    if zero != 0:
        raise DataError(f"{path}: not an IDX file")
    if kind != UNSIGNED_BYTE:
        raise DataError(f"{path}: IDX elements of type {kind:#04x}; expected unsigned bytes (0x08)")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DataError(f"{path}: {dimensions} IDX dimensions; expected 1 to {MAX_DIMENSIONS}")
    shape = struct.unpack(f">{dimensions}I", _exactly(stream, 4 * dimensions))
    if not 0 < math.prod(shape) <= MAX_ELEMENTS:
        sizes = " × ".join(map(str, shape))
        raise DataError(f"{path}: absurd IDX dimensions {sizes}; at most {MAX_ELEMENTS:,} elements")
    return shape


def _exactly(stream: BufferedIOBase, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content
