"""Fetching published data sets: the only place of the project that uses the network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Literal, NamedTuple
from urllib.parse import urlsplit

from harness.errors import DataError, unknown
from harness.tasks import mnist
from harness.tasks.mnist import PUBLISHED, File, Published, TruncatedError

TRIES = 5
"""Of one mirror, as long as each gets further."""
TIMEOUT = 30.0
"""Seconds without a byte."""
CHUNK = 4096
"""Bytes; a connection that is cut loses less than one."""


State = Literal["ok", "absent", "truncated", "corrupt"]


class FileState(NamedTuple):
    """What `verify` found of one file; `detail` is empty where it is ok."""

    path: Path
    state: State
    detail: str


def verify(
    name: str, directory: Path, sources: Mapping[str, Published] = PUBLISHED
) -> list[FileState]:
    """The state of each of a data set's files, by its whole content; UsageError if unknown."""
    return [_state(name, directory, file) for file in _source(name, sources).files]


def fetch(
    name: str, directory: Path, sources: Mapping[str, Published] = PUBLISHED, progress: bool = True
) -> list[Path]:
    """Get what `verify` does not find ok into `<directory>/<name>/`; returns the files it got.

    Each mirror is tried in turn. What was received of an archive is kept beside it as `.part`, and
    the next attempt, in this call or a later one, asks for the rest only. An archive gets its final
    name when its checksum is right, not before. `progress` shows a bar on standard error.

    Raises UsageError for an unknown name, DataError (one line with the reason of each mirror) where
    no mirror gave a file, or where the directory cannot be written or another process is fetching.
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


def _source(name: str, sources: Mapping[str, Published]) -> Published:
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
    part, reasons = folder / f"{file.archive}.part", []
    if part.is_symlink():  # the bytes would be written where it leads
        part.unlink()
    for mirror in mirrors:
        reason = _complete(part, mirror + file.archive, file, progress)
        if reason is None:
            part.replace(folder / file.archive)
            return
        reasons.append(f"{urlsplit(mirror).netloc}: {reason}")
    if part.stat().st_size == 0:
        part.unlink()
    raise DataError(f"{folder / file.archive} could not be fetched: {'; '.join(reasons)}")


def _complete(part: Path, url: str, file: File, progress: bool) -> str | None:
    """Complete an archive from one mirror; None if it is whole now, else why not, in a few words.

    A part that holds bytes of another file, or a half from each of two mirrors, shows in the
    checksum: then the archive is fetched once more from the beginning.
    """
    reason = ""
    for _ in range(TRIES):
        with part.open("a+b") as content:
            if content.tell() > file.archive_bytes:
                _cut(content, 0)
            before = content.tell()
            try:
                if before < file.archive_bytes:
                    _download(url, content, file.archive_bytes, progress)
                content.seek(0)
                if hashlib.file_digest(content, "sha256").hexdigest() == file.archive_sha256:
                    return None
                reason = "wrong checksum"
                _cut(content, 0)
            except OSError as error:  # those of requests are of this kind, without a number
                if error.errno is not None:
                    raise
                reason = _in_words(error)
            if content.tell() == before:  # it got no further
                break
    return reason


def _download(url: str, content: IO[bytes], size: int, progress: bool) -> None:
    """Append the bytes that a part lacks, or begin anew where a mirror sends the whole archive.

    Raises OSError: without a number, it is about the mirror.
    """
    import requests
    from tqdm import tqdm

    have = content.tell()
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        start, total = 0, response.headers.get("Content-Length", "")
        if response.status_code == 206:
            start, total = _content_range(response.headers.get("Content-Range", ""))
            if start != have:
                raise _Refused("answered with another part than the one asked for")
        elif response.status_code == 416:  # no such part there, so ours is of another file
            _cut(content, 0)
        response.raise_for_status()
        if total.isdecimal() and int(total) != size:
            raise _Refused(f"serves a file of {int(total):,} bytes, not {size:,}")
        _cut(content, start)
        with tqdm(
            total=size, initial=start, unit="B", unit_scale=True, disable=not progress
        ) as bar:
            for chunk in response.iter_content(CHUNK):
                if content.tell() + len(chunk) > size:
                    _cut(content, 0)
                    raise _Refused(f"serves a file of more than {size:,} bytes")
                content.write(chunk)
                bar.update(len(chunk))
    if content.tell() < size:
        raise _Refused(f"connection cut after {content.tell():,} of {size:,} bytes")


class _Refused(OSError):
    """A mirror serves something else than the archive, or stopped halfway."""


def _cut(content: IO[bytes], size: int) -> None:
    content.seek(size)
    content.truncate()


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
