"""What must not be published: secrets, the user's name, the host's name, the home directory.

A text is cleaned where a record, a certificate, the facts of a run or a log is made, before any of
them is stored. So the store, reports, exports, merged runs and comparisons hold nothing private.

- Secrets: values of environment variables whose name contains KEY, TOKEN, SECRET, PASS, AUTH or
  CREDENTIAL. One below SHORTEST characters, or a switch such as `true`, is left alone: to mask it
  would damage the text. One below WHOLE characters is masked only where it stands alone.
- The home directory becomes `~`.
- The user's name is masked as a part of a path. As a word it is masked too, unless it is an
  ordinary one such as `root`, `test` or `max`; of the host's name only the latter holds.
"""

from __future__ import annotations

import builtins
import functools
import json
import keyword
import os
import pwd
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote

SECRET_NAMES = re.compile("KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL", re.IGNORECASE)
HOME, SECRET, USER, HOST = "~", "{secret}", "{user}", "{host}"
SHORTEST, WHOLE = 4, 8
SWITCHES = ("true", "false", "none", "null", "auto", "default", "always", "never", "secret")
_ORDINARY = """
    admin administrator app build builder centos ci container data debian dev docker fedora guest
    harness home host jenkins jovyan jupyter laptop linux localdomain localhost machine main model
    nobody node numpy python root runner server student tensorflow test tester tests torch train
    ubuntu user users vagrant vm worker
"""
ORDINARY = frozenset((*_ORDINARY.split(), *keyword.kwlist, *keyword.softkwlist, *dir(builtins)))
"""Names that identify no person and no machine, and words that ordinary text needs."""
LINE = 1 << 20
ESCAPE = r"(?<=\\[nrt])"
"""Behind a line break or a tab as Python and JSON write them."""

T = TypeVar("T")


def clean(text: str) -> str:
    """The text without anything private."""
    return _cleaner(_secrets(), _homes(), _users(), _hosts())(text)


def cleaned(value: T) -> T:
    """A value of plain data (texts, numbers, lists, mappings) with all its texts cleaned."""
    result: Any = value
    if isinstance(value, str):
        result = clean(value)
    elif isinstance(value, Mapping):
        result = {name: cleaned(it) for name, it in value.items()}
    elif isinstance(value, list | tuple):
        result = type(value)(cleaned(it) for it in value)
    return cast("T", result)


def restored(path: str) -> str:
    """A path as it was before it was cleaned, for the user and the machine that it is of."""
    for mask, names in ((USER, _users()), (HOST, _hosts())):
        if names:
            path = path.replace(mask, names[0])
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no home directory
        return path


def copy_clean(source: IO[bytes], target: Path) -> None:
    """Write what a process has printed into a new file, cleaned; every other byte stays."""
    one = _cleaner(_secrets(), _homes(), _users(), _hosts())
    with target.open("xb") as file:
        for line in iter(lambda: source.readline(LINE), b""):
            text = line.decode("utf-8", errors="surrogateescape")
            file.write(one(text).encode("utf-8", errors="surrogateescape"))


def _secrets() -> tuple[str, ...]:
    """Every secret value; of one with several lines each line too, since texts are cut there."""
    homes = _homes()
    pieces = {
        piece.strip()
        for name, value in os.environ.items()
        if SECRET_NAMES.search(name)
        for piece in (value, *value.splitlines())
    }
    return tuple(
        it
        for it in sorted(pieces)
        if len(it) >= SHORTEST and it.lower() not in SWITCHES and it not in homes
    )


def _homes() -> tuple[str, ...]:
    home = os.path.expanduser("~")
    paths = (home.rstrip("/"), os.path.realpath(home)) if home.startswith("/") else ()
    return tuple(it for it in dict.fromkeys(paths) if it.strip("/"))


def _users() -> tuple[str, ...]:
    """The names of the user, the account's first."""
    names = [_account()]
    names += [os.environ.get(it, "") for it in ("LOGNAME", "USER", "USERNAME", "SUDO_USER")]
    return tuple(dict.fromkeys(filter(None, names)))


def _hosts() -> tuple[str, ...]:
    names = [socket.gethostname(), os.environ.get("HOSTNAME", "")]
    names += [it.partition(".")[0] for it in names]
    return tuple(dict.fromkeys(filter(None, names)))


@functools.cache
def _account() -> str:
    """The name of the account that runs this; empty where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


@functools.lru_cache(maxsize=8)
def _cleaner(
    secrets: tuple[str, ...], homes: tuple[str, ...], users: tuple[str, ...], hosts: tuple[str, ...]
) -> Callable[[str], str]:
    """Secrets go first: a home directory may be a part of one, and must not hide the rest."""
    steps = [
        (_any_of(_secret(it) for it in secrets), SECRET),
        (_any_of(_home(it) for it in homes), HOME),
        (_any_of(_word(it) for it in hosts if _tells(it)), HOST),
        (_any_of(it for name in users for it in _user(name)), USER),
    ]

    def one(text: str) -> str:
        for pattern, mask in steps:
            if pattern:
                text = pattern.sub(mask, text)
        return text

    return one


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """The longest first: a shorter one may be its beginning."""
    longest_first = sorted(set(patterns), key=len, reverse=True)
    return re.compile("|".join(longest_first)) if longest_first else None


def _secret(value: str) -> str:
    """As it is, and as Python, JSON and addresses write it."""
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe="")}
    escaped = "|".join(re.escape(it) for it in sorted(forms, key=len, reverse=True))
    return f"(?:{escaped})" if len(value) >= WHOLE else _alone(f"(?:{escaped})")


def _home(path: str) -> str:
    # Not in the middle of another path, but behind an option such as -I.
    return rf"(?:(?<![\w.-])|(?<=-[A-Za-z])|{ESCAPE}){re.escape(path)}(?![\w-])(?!\.\w)"


def _user(name: str) -> Iterable[str]:
    yield rf"(?<=[/\\]){re.escape(name)}(?=[/\\]|$|[\s:;,'\"`)\]])"
    if _tells(name):
        yield _word(name)


def _word(name: str) -> str:
    return _alone(re.escape(name))


def _alone(pattern: str) -> str:
    return rf"(?:(?<![A-Za-z0-9])|{ESCAPE}){pattern}(?![A-Za-z0-9])"


def _tells(name: str) -> bool:
    return len(name) >= 3 and name.lower() not in ORDINARY and name not in ORDINARY
