"""The front door: `python -m harness`."""

from __future__ import annotations

import sys

import typer

from harness.cli_data import app
from harness.errors import HarnessError


def main() -> None:
    """Run a command; every foreseen failure is one line on standard error and an exit code.

    An interrupt ends with exit code 130, which Typer gives it.
    """
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        _fail(f"{error.format_message()} (--help shows the way)", error.exit_code)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
