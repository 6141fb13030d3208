"""Which frameworks there are, found by looking at the folders of `impls/`; imports none of them."""

from __future__ import annotations

import fnmatch
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterable

import impls
from harness.adapter import Framework
from harness.errors import UsageError, unknown


def frameworks() -> dict[str, Framework]:
    """Every framework with a folder, by name; installed or not. Raises UsageError for a folder
    that declares none."""
    names = sorted(module.name for module in pkgutil.iter_modules(impls.__path__) if module.ispkg)
    return {name: _declared(name) for name in names}


def _declared(name: str) -> Framework:
    declared = getattr(importlib.import_module(f"impls.{name}"), "FRAMEWORK", None)
    if not isinstance(declared, Framework):
        raise UsageError(f"impls/{name}/__init__.py declares no FRAMEWORK")
    return declared


def version(framework: Framework) -> str | None:
    """The installed version, or None where it is not installed."""
    for distribution in framework.distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def select(patterns: Iterable[str], modes: str = "default") -> list[tuple[str, str]]:
    """(framework, mode) for every pattern `NAME[:MODE]`, both of which may be globs.

    Without a mode, `modes` decides: `default` takes a framework's first mode, `all` every one.
    Without any pattern, every framework that is installed. Raises UsageError for a name or mode
    that does not exist.
    """
    known = frameworks()
    asked = list(patterns) or [name for name, it in known.items() if version(it) is not None]
    chosen: dict[tuple[str, str], None] = {}
    for pattern in asked:
        name_pattern, _, mode_pattern = pattern.partition(":")
        names = fnmatch.filter(known, name_pattern)
        if not names:
            raise unknown("framework", name_pattern, known)
        for name in names:
            for mode in _modes(known[name], pattern, mode_pattern, modes):
                chosen[name, mode] = None
    return list(chosen)


def _modes(framework: Framework, pattern: str, mode_pattern: str, modes: str) -> list[str]:
    if pattern.endswith(":"):
        raise UsageError(f"framework {pattern!r}: a mode must follow the colon")
    if not mode_pattern:
        return list(framework.modes) if modes == "all" else [framework.default_mode]
    found = fnmatch.filter(framework.modes, mode_pattern)
    if not found:
        raise unknown(f"mode of {framework.title}", mode_pattern, framework.modes)
    return found
