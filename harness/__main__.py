"""The front door: `python -m harness`."""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback

import typer

from harness.cli.app import app
from harness.cli.console import outlive_readers
from harness.errors import HarnessError, UsageError
from harness.runs import interrupts

CRASHED = 70
LITTER = 1_000_000
"""New values after which cycles among them are looked for. What a store holds and a report is made
of is as many, nearly all without cycles, and stays: to look through it again and again took up to
an eighth of the time of a report."""


def main() -> None:
    """Run a command; every foreseen failure is one line on standard error and an exit code.

    An interrupt ends with exit code 130, which Typer gives it; a fault of ours with a traceback
    and CRASHED: Python's own 1 would read as a regression.
    """
    gc.set_threshold(LITTER)
    # No figure needs a window. A notebook exports a backend that may be unknown here, and then
    # matplotlib cannot even be imported.
    os.environ["MPLBACKEND"] = "agg"
    outlive_readers()
    interrupts.install()
    code = served(sys.argv[1:])
    gc.freeze()  # or Python would look for cycles in all that ends now anyway, for half a second
    sys.exit(code)


def served(words: list[str]) -> int:
    """The exit code of a command given by its words."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no × gets a ?
    try:
        _refuse_what_is_no_text(words)
        return app(args=words or ["--help"], standalone_mode=False) or 0
    except HarnessError as error:
        return _failed(str(error), error.exit_code)
    except typer.TyperException as error:
        return _failed(f"{error.format_message()} (--help shows the way)", error.exit_code)
    except OSError as error:
        return _failed(_told(error), UsageError.exit_code)
    except Exception:
        traceback.print_exc()
        return CRASHED


def _told(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    if str(error.filename).startswith("/proc/") and not os.path.exists("/proc/self"):
        return f"{where}/proc is not mounted, and samestep reads there what this machine is"
    return f"{where}{error.strerror or error}"


def _refuse_what_is_no_text(words: list[str]) -> None:
    """Bytes that are no UTF-8 stand in a word as halves of characters: nobody can keep those."""
    for word in words:
        if any("\ud800" <= it <= "\udfff" for it in word):
            raise UsageError(f"{word}: not UTF-8 text")


def _failed(message: str, code: int) -> int:
    # Typer and the system quote words as they came; no control character of theirs is obeyed.
    print(f"error: {HarnessError(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
