"""Which frameworks there are, found by looking at the folders of `impls/`; imports none of them."""

from __future__ import annotations

import fnmatch
import importlib
import importlib.metadata
import pkgutil
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import impls
from harness.adapter import Framework
from harness.cells import Lane
from harness.errors import UsageError, unknown

PLACE = Path(__file__).parents[1]
"""The folder that holds `harness`: a checkout's, or where pip installs packages."""


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


def default_modes() -> dict[str, str]:
    """The default mode of every framework, by name."""
    return {name: it.default_mode for name, it in frameworks().items()}


def version(framework: Framework) -> str | None:
    """The installed version, or None where it is not installed."""
    for distribution in framework.distributions:
        try:
            # Of what was removed by halves there may be a folder that tells no version.
            if found := importlib.metadata.version(distribution):
                return found
        except (importlib.metadata.PackageNotFoundError, KeyError):
            continue
    return None


def absence(framework: Framework) -> str | None:
    """Why it cannot take part here: not installed, or too old; None where it can."""
    found = version(framework)
    if found is None:
        return f"not installed; get it with: {install_command(framework)}"
    if _numbers(found) < _numbers(framework.least):
        needed = f"{found} is installed, {framework.least} or later is needed"
        return f"too old: {needed}; get it with: {install_command(framework)}"
    return None


def install_command(framework: Framework, place: Path = PLACE) -> str:
    """The command that installs a framework beside this code, a checkout or an installed wheel.

    A checkout is installed from its folder, with the versions that its tests pass with. For a
    wheel pip knows samestep already, so that no index needs to have it.
    """
    if not (place / "pyproject.toml").is_file():
        return framework.install
    near = place.resolve() == Path.cwd()
    folder, pins = (".", "constraints.txt") if near else (str(place), f"{place}/constraints.txt")

    def from_folder(match: re.Match[str]) -> str:
        return f"-e {shlex.quote(folder + (match[1] or ''))} -c {shlex.quote(pins)}"

    return re.sub(r"'?\bsamestep\b(\[[\w,]+\])?'?", from_folder, framework.install)


def _numbers(version: str) -> tuple[int, ...]:
    """The release that a version belongs to: `2.13.0rc1+cpu` is (2, 13, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def modes_of(framework: Framework, lane: Lane) -> dict[str, str]:
    """The modes that a framework offers in a lane, each with one line, the default first."""
    if lane == "identical":
        return dict(framework.modes)
    return {mode: own.line for mode, own in framework.idioms.items()}


def select(
    patterns: Iterable[str], modes: str = "default", lane: Lane = "identical"
) -> list[tuple[str, str]]:
    """(framework, mode) in one lane, for every pattern; see `contestants`."""
    return [(name, mode) for name, mode, _ in contestants(patterns, modes, (lane,))]


def contestants(
    patterns: Iterable[str], modes: str = "default", lanes: Iterable[Lane] = ("identical",)
) -> list[tuple[str, str, Lane]]:
    """(framework, mode, lane) for every pattern `NAME[:MODE]`, both of which may be globs.

    Without a mode, `modes` decides: `default` takes a framework's first mode in a lane, `all` every
    one. Without any pattern, every framework that can take part. What a lane does not offer is left
    out of it; raises UsageError for a pattern that fits nothing in any of the lanes.
    """
    known, lanes = frameworks(), tuple(lanes)
    asked = list(patterns) or [name for name, it in known.items() if absence(it) is None]
    chosen: dict[tuple[str, str, Lane], None] = {}
    for pattern in asked:
        found = [
            (name, mode, lane)
            for lane in lanes
            for name in _names(known, pattern)
            for mode in _fitting(tuple(modes_of(known[name], lane)), pattern, modes)
        ]
        if not found and patterns:
            raise _nothing(known, pattern, lanes)
        chosen |= dict.fromkeys(found)
    return sorted(chosen, key=lambda it: lanes.index(it[2]))


def _names(known: Mapping[str, Framework], pattern: str) -> list[str]:
    names = fnmatch.filter(known, pattern.partition(":")[0])
    if not names:
        aliases = {
            word: name
            for name, it in known.items()
            for word, meant in it.aliases.items()
            if meant == name
        }
        raise unknown("framework", pattern.partition(":")[0], known, aliases)
    return names


def _fitting(offered: Sequence[str], pattern: str, modes: str) -> Sequence[str]:
    _, colon, mode = pattern.partition(":")
    if colon and not mode:
        raise UsageError(f"framework {pattern!r}: a mode must follow the colon")
    if colon:
        return fnmatch.filter(offered, mode)
    return offered if modes == "all" else offered[:1]


def _nothing(known: Mapping[str, Framework], pattern: str, lanes: Sequence[Lane]) -> UsageError:
    name, _, mode = pattern.partition(":")
    names = _names(known, pattern)
    offered = {it for each in names for lane in lanes for it in modes_of(known[each], lane)}
    if not offered:
        return UsageError(f"framework {name!r} has no mode in the lane {' or '.join(lanes)}")
    if name not in known:  # what a glob fits: their aliases may contradict each other
        return unknown(f"mode of {name!r}", mode, offered)
    aliases = {word: it for word, it in known[name].aliases.items() if it in offered}
    return unknown(f"mode of {known[name].title}", mode, offered, aliases)
