"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

Content = bytes | Iterable[bytes] | Callable[[BinaryIO], object]
"""What is in a file, or a function that writes it."""


def write_whole(path: Path, content: Content, *, lasting: bool = False) -> Path:
    """Write a file that appears whole or not at all, and make its folder; returns the path.

    What stands there and is not a regular file, such as a link, stays as it is. With `lasting` the
    content is on the disk when this returns. Raises OSError.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        why = "a link, or not a regular file; nothing is written there. Remove it"
        raise OSError(errno.EEXIST, why, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.unlink(missing_ok=True)
    try:
        with unfinished.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.writelines([content] if isinstance(content, bytes) else content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
