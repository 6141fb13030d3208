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
"""New objects between two searches for cycles. A report is made of as many, nearly all without
cycles; Python's usual searches took up to an eighth of its time."""


def main() -> None:
    """Run a command; every foreseen failure is one line on standard error and an exit code.

    An interrupt ends with exit code 130, which Typer gives. A bug ends with a traceback and
    CRASHED, because Python's 1 would read as a regression.
    """
    gc.set_threshold(LITTER)
    # No figure needs a window. A notebook exports a backend that may be unknown here, and then
    # matplotlib cannot even be imported.
    os.environ["MPLBACKEND"] = "agg"
    outlive_readers()
    interrupts.install()
    code = served(sys.argv[1:])
    gc.freeze()  # or Python would search for cycles at exit, for half a second
    sys.exit(code)


def served(words: list[str]) -> int:
    """The exit code of a command given by its words."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no × gets a ?
    try:
        _refuse_broken_text(words)
        return app(args=words or ["--help"], standalone_mode=False) or 0
    except HarnessError as error:
        return _failed(str(error), error.exit_code)
    except typer.TyperException as error:
        return _failed(f"{error.format_message()} (see --help)", error.exit_code)
    except OSError as error:
        return _failed(_reason(error), UsageError.exit_code)
    except Exception:
        traceback.print_exc()
        return CRASHED


def _reason(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    if str(error.filename).startswith("/proc/") and not os.path.exists("/proc/self"):
        return f"{where}/proc is not mounted; samestep needs it to identify this machine"
    return f"{where}{error.strerror or error}"


def _refuse_broken_text(words: list[str]) -> None:
    """Bytes that are no UTF-8 arrive as halves of characters, which no file can keep."""
    for word in words:
        if any("\ud800" <= it <= "\udfff" for it in word):
            raise UsageError(f"{word}: not UTF-8 text")


def _failed(message: str, code: int) -> int:
    # Typer and the system quote words as they came; HarnessError removes control characters.
    print(f"error: {HarnessError(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
