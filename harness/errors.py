"""Errors that a user can act on: one clear line, and an exit code; see docs/exit-codes.md."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.privacy import clean

if TYPE_CHECKING:
    from pydantic import ValidationError


CAUSE = re.compile(r"error: ", re.IGNORECASE)
"""How compilers, linkers and Python begin what was wrong."""


class HarnessError(Exception):
    """A fault that the user can remove; the command line prints its one line and exits."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        # Messages quote files and names: no line break or control character of theirs survives.
        line = " ".join(message.split())
        super().__init__("".join(it if it.isprintable() else "�" for it in line))


class UsageError(HarnessError):
    """The request itself is wrong: nothing was run and nothing was written."""


class DataError(UsageError):
    """A data set is absent, or a data file is corrupt or truncated."""


class DataFileAbsent(DataError):
    """A data file that a task file names is not there: its other tasks may be run."""


class Regression(HarnessError):
    """Something became worse than its baseline by more than may be; the table says what."""

    exit_code = 1


class NoBaseline(HarnessError):
    """There is no baseline of this name, or no older code, to compare with."""

    exit_code = 3


class NotComparable(HarnessError):
    """Two results that would say nothing of each other: other machines, tasks or schemas."""

    exit_code = 4


class StoreError(HarnessError):
    """The store cannot be opened, read or written; or is not ours, or of a newer schema."""

    exit_code = 4


class ReportError(HarnessError):
    """The report cannot be written; what was measured is in the store all the same."""

    exit_code = 4


class SelftestFailed(HarnessError):
    """A planted fault escaped the proof, or the proof found one where there is none."""

    exit_code = 5


class NotProven(HarnessError):
    """A setup was not shown to compute what the reference computes; the table says which."""

    exit_code = 5


class CellsFailed(HarnessError):
    """The run is complete and its report written, but not every trial ended well."""

    exit_code = 6


class InstallFailed(HarnessError):
    """An environment could not be made; the line ends with the last words of pip or uv."""

    exit_code = 8


class CannotTell(HarnessError):
    """The machine is too noisy, or the evidence too thin, for an answer: neither yes nor no."""

    exit_code = 7


def in_one_line(error: BaseException, most: int = 500, *, named: bool = True) -> str:
    """The message of any exception, `named` by its type, without anything private.

    A long one keeps its beginning and its cause: the first later line with an error, else the last.
    """
    message = clean(str(error))  # whole: half of a secret could not be found
    lines = [line for it in message.splitlines() if (line := " ".join(it.split()))]
    if named:
        kind = type(error).__name__
        lines[:1] = [f"{kind}: {lines[0]}" if lines else kind]
    text = " ".join(lines)
    if len(text) <= most:
        return text
    cause = next((it for it in lines[1:] if CAUSE.search(it)), lines[-1])[: most // 2]
    return f"{text[: most - len(cause) - 3]} … {cause}"


NEAR = 0.7
"""The least similarity of a suggestion, by difflib's ratio: lower ones were wrong too often."""


def unknown(
    what: str, word: str, choices: Iterable[str], aliases: Mapping[str, str] | None = None
) -> UsageError:
    """The error for a name that does not exist, with the name that was probably meant.

    `aliases` maps other words for a choice, in lower case, to that choice. A word that only looks
    like a choice is mapped to `""`: it gets the list of all choices and no suggestion.
    """
    known = sorted(choices)
    meant = (aliases or {}).get(word.lower())
    if meant is None:
        meant = _similar(word.lower(), {it.lower(): it for it in known})
    hint = f"did you mean {meant!r}?" if meant else "choose from: " + ", ".join(known)
    return UsageError(f"unknown {what} {word!r}; {hint}")


def _similar(word: str, known: Mapping[str, str]) -> str:
    """The choice that alone begins with the word, else the nearest one, else nothing."""
    longer = [it for it in known if len(word) > 2 and it.startswith(word)]
    near = longer if len(longer) == 1 else difflib.get_close_matches(word, known, 1, NEAR)
    return known[near[0]] if near else ""


def first_problem(error: ValidationError) -> str:
    """The first problem that a Pydantic validation found, as `where: what (got value)`."""
    problem = error.errors(include_url=False, include_context=False)[0]
    # Of a union Pydantic names the member that it tried, as `constrained-int`; no user wrote that.
    tried = () if problem["type"] == "extra_forbidden" else ("constrained-int", "literal[")
    parts = [str(part) for part in problem["loc"]]
    where = ".".join(
        part if part.isprintable() else repr(part)
        for part in parts
        if not (tried and part.startswith(tried))
    )
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] not in ("value_error", "missing"):
        got = repr(problem["input"])
        what += f" (got {got if len(got) <= 60 else got[:57] + '...'})"
    return f"{where}: {what}" if where else what
