"""What is left out: slow cases of sweeps, and tests of what is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from harness.frameworks import frameworks, version


def sweep(cases: Iterable[Any], quick: Callable[[Any], bool]) -> list[Any]:
    """The cases as parameters; those that are not quick are in `make test-all` only."""
    return [it if quick(it) else pytest.param(it, marks=pytest.mark.slow) for it in cases]


def needs(*names: str) -> None:
    """Skip the test, or the module, without these frameworks; none is imported to be found."""
    for name in names:
        if version(frameworks()[name]) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
