"""The front door: `python -m harness`."""

from __future__ import annotations

import io
import os
import sys

import typer

from harness.cli import app
from harness.errors import HarnessError, UsageError


def main() -> None:
    """Run a command; every foreseen failure is one line on standard error and an exit code.

    An interrupt ends with exit code 130, which Typer gives it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no × gets a ?
    try:
        _refuse_what_is_no_text(sys.argv[1:])
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        _fail(f"{error.format_message()} (--help shows the way)", error.exit_code)
    except BrokenPipeError:  # whoever read our output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _fail(f"{where}{error.strerror or error}", UsageError.exit_code)
    sys.exit(code or 0)


def _refuse_what_is_no_text(words: list[str]) -> None:
    """Bytes that are no UTF-8 stand in an argument as halves of characters; nobody can store or
    print them."""
    for word in words:
        if any("\ud800" <= it <= "\udfff" for it in word):
            raise UsageError(f"{word}: not UTF-8 text")


def _fail(message: str, code: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
