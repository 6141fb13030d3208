"""Fetching published data sets: the only place of the project that uses the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from harness.errors import DataError, unknown
from harness.tasks import mnist
from harness.tasks.mnist import FILES, File, Files, TruncatedError

TRIES = 5  # of one mirror, as long as each gets further
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 4096  # bytes; a connection that is cut loses less than one


class Archives(NamedTuple):
    """Where a data set's archives are served: `<mirror><archive>`, the first mirror tried first."""

    mirrors: tuple[str, ...]
    files: Files


SOURCES: Mapping[str, Archives] = {
    "mnist": Archives(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        FILES["mnist"],
    ),
    "fashion-mnist": Archives(
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        FILES["fashion-mnist"],
    ),
}

State = Literal["ok", "absent", "truncated", "corrupt"]


class FileState(NamedTuple):
    """What `verify` found of one file; `detail` is empty where it is ok."""

    path: Path
    state: State
    detail: str


def verify(
    name: str, directory: Path, sources: Mapping[str, Archives] = SOURCES
) -> list[FileState]:
    """The state of each of a data set's files, by its whole content; UsageError if unknown."""
    return [_state(name, directory, file) for file in _source(name, sources).files]


def fetch(
    name: str,
    directory: Path,
    sources: Mapping[str, Archives] = SOURCES,
    progress: bool = True,
) -> list[Path]:
    """Get what `verify` does not find ok into `<directory>/<name>/`; returns the files it got.

    Each mirror is tried in turn. What was received of an archive is kept beside it as `.part`, and
    the next attempt, in this call or a later one, asks for the rest only. An archive gets its final
    name when its checksum is right, not before. `progress` shows a bar on standard error.

    Raises UsageError for an unknown name, DataError (one line with what each mirror said) where no
    mirror gave a file, or where the directory cannot be written or another process is fetching.
    """
    from filelock import FileLock, Timeout

    source, folder = _source(name, sources), directory / name
    wanted = [file for file in source.files if _state(name, directory, file).state != "ok"]
    if not wanted:  # the directory may be one that only others write
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetch.lock", timeout=0):
            for file in wanted:
                _fetch_file(file, folder, source.mirrors, progress)
    except Timeout:
        raise DataError(f"{folder}: another process is fetching {name}") from None
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}") from None
    return [folder / file.archive for file in wanted]


def _source(name: str, sources: Mapping[str, Archives]) -> Archives:
    if name not in sources:
        raise unknown("data set to fetch", name, sources)
    return sources[name]


def _state(name: str, directory: Path, file: File) -> FileState:
    path = mnist.find(name, directory, file)
    if path is None:
        return FileState(directory / name / file.archive, "absent", "absent")
    try:
        mnist.read(name, directory, file)
    except TruncatedError as error:
        return FileState(path, "truncated", str(error))
    except DataError as error:
        return FileState(path, "corrupt", str(error))
    return FileState(path, "ok", "")


def _fetch_file(file: File, folder: Path, mirrors: tuple[str, ...], progress: bool) -> None:
    said = []
    if _part(folder, file).is_symlink():  # the bytes would be written where it leads
        _part(folder, file).unlink()
    for mirror in mirrors:
        answer = _ask(mirror, file, folder, progress)
        if answer is None:
            return
        said.append(f"{urlsplit(mirror).netloc}: {answer}")
    part = _part(folder, file)
    if part.exists() and part.stat().st_size == 0:
        part.unlink()
    raise DataError(f"{folder / file.archive} could not be fetched: {'; '.join(said)}")


def _part(folder: Path, file: File) -> Path:
    return folder / f"{file.archive}.part"


def _ask(mirror: str, file: File, folder: Path, progress: bool) -> str | None:
    """Get an archive from one mirror; None if it is there now, else why not, in a few words."""
    import pooch

    # Its log would say on standard error what the bar and our one line say already.
    pooch.get_logger().setLevel("ERROR")
    answer = ""
    for _ in range(TRIES):
        download = _Resuming(_part(folder, file), file.archive_bytes, progress)
        try:
            pooch.retrieve(
                url=mirror + file.archive,
                known_hash=f"sha256:{file.archive_sha256}",
                fname=file.archive,
                path=folder,
                downloader=download,
            )
            return None
        except OSError as error:  # those of requests are of this kind, without a number
            if error.errno is not None:
                raise
            answer, again = _in_words(error), download.again
        except ValueError:
            # Two mirrors may have given a half each: once more, from the beginning.
            answer, again = "wrong checksum", download.resumed
        if not again:
            break
    return answer


class _Refused(OSError):
    """A mirror serves something else than the archive, or stopped halfway."""


class _Resuming:
    """A downloader for pooch, whose own cannot resume.

    It collects the bytes in `part`, asking only for those that are not there yet; once complete,
    the part moves to where pooch checks its sum. It is its own file object: pooch's HTTP downloader
    hands every chunk to `write`. Afterwards `again` says whether to ask this mirror once more, and
    `resumed` whether some bytes were there before.
    """

    file: IO[bytes]

    def __init__(self, part: Path, size: int, progress: bool) -> None:
        self.part, self.size, self.progress = part, size, progress
        self.again = self.resumed = False

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import pooch

        with self.part.open("ab") as self.file:
            have = self.file.tell()
            if have > self.size:
                have = self._discard()
            self.resumed = have > 0
            if have < self.size:
                headers = {"Accept-Encoding": "identity"}
                if have:
                    headers["Range"] = f"bytes={have}-"
                pooch.HTTPDownloader(
                    progressbar=self.progress,
                    chunk_size=CHUNK,
                    timeout=TIMEOUT,
                    headers=headers,
                    hooks={"response": self._begin},
                )(url, self, None)
                have = self.file.tell()
        if have < self.size:
            raise _Refused(f"connection cut after {have:,} of {self.size:,} bytes")
        self.part.replace(output_file)

    def _begin(self, response: Any, *_args: Any, **_settings: Any) -> None:
        """Called with the response's head, before any of its body is read."""
        status, headers = response.status_code, response.headers
        if status == 200:
            total = headers.get("Content-Length", "")
        elif status == 206:
            start, total = _content_range(headers.get("Content-Range", ""))
            if start != self.file.tell():
                response.close()
                raise _Refused("answered with another part than the one asked for")
        else:
            if status == 416:  # no such part there, so ours is of another file
                self._discard()
                self.again = True
            return
        if total.isdecimal() and int(total) != self.size:
            response.close()
            raise _Refused(f"serves a file of {int(total):,} bytes, not {self.size:,}")
        if status == 200:  # the whole file, asked for or not
            self._discard()
            self.resumed = False

    def write(self, chunk: bytes) -> None:
        if self.file.tell() + len(chunk) > self.size:
            self._discard()
            self.again = False
            raise _Refused(f"serves a file of more than {self.size:,} bytes")
        self.file.write(chunk)
        self.again = True

    def flush(self) -> None:
        self.file.flush()

    def _discard(self) -> int:
        self.file.seek(0)
        self.file.truncate()
        return 0


def _content_range(text: str) -> tuple[int, str]:
    """First byte and total size out of `bytes 100-199/200`; the total may be `*`."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    return (int(match[1]), match[2]) if match else (-1, "")


def _in_words(error: OSError) -> str:
    words = {
        "ChunkedEncodingError": "connection cut",
        "ConnectTimeout": "no answer",
        "ConnectionError": "connection failed",
        "ReadTimeout": "fell silent",
        "SSLError": "certificate not accepted",
    }
    text = str(error).partition(" for url")[0].partition("\n")[0]
    return words.get(type(error).__name__, text[:120])
