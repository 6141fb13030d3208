"""Sweeps: a few of their cases are in `make test`, all of them in `make test-all`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def sweep(cases: Iterable[Any], quick: Callable[[Any], bool]) -> list[Any]:
    """The cases as parameters; those that are not quick are marked slow."""
    return [it if quick(it) else pytest.param(it, marks=pytest.mark.slow) for it in cases]
