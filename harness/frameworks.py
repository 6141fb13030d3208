"""Which frameworks there are, found by looking at the folders of `impls/`; imports none of them."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib
import importlib.metadata
import pkgutil
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import impls
from harness.adapter import Framework, FrameworkFacts
from harness.cells import Lane, Phase, Setup
from harness.errors import UsageError, first_problem, unknown

PLACE = Path(__file__).parents[1]
"""The folder that holds `harness`: a checkout's, or where pip installs packages."""


def frameworks() -> dict[str, Framework]:
    """Every framework with a folder that declares it, by name; installed or not."""
    found = {name: _declared(name, folder) for name, (folder, *_) in _folders().items()}
    return {name: it for name, it in sorted(found.items()) if isinstance(it, Framework)}


def undeclared() -> dict[str, str]:
    """Folders that declare no framework, by name, each with the reason."""
    found = {name: _declared(name, folder) for name, (folder, *_) in _folders().items()}
    return {name: it for name, it in sorted(found.items()) if isinstance(it, str)}


def faults() -> list[tuple[str, str]]:
    """What is wrong with the folders of frameworks, the user's own among them: what, and why."""
    found = [(f"framework {name}", why) for name, why in undeclared().items()]
    for name, (first, *others) in _folders().items():
        found += [(f"framework {name} of {it}", f"{first} has one of this name") for it in others]
    found += [(f"folder {it}", why) for it in impls.__path__ if (why := _useless(Path(it)))]
    return found


def _folders() -> dict[str, list[str]]:
    """The folders that hold a framework of a name, by name; the first one counts."""
    found: dict[str, list[str]] = {}
    for folder in dict.fromkeys(impls.__path__):
        for module in pkgutil.iter_modules([folder]):
            if module.ispkg:
                found.setdefault(module.name, []).append(folder)
    return found


def _useless(folder: Path) -> str:
    """Why no framework is found in a folder; empty where there is one."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        return f"{error.strerror or error}; SAMESTEP_IMPLS names it"
    if any((it / "__init__.py").is_file() for it in entries):
        return ""
    if (folder / "__init__.py").is_file():
        return f"is a framework's own; name the one above, {folder.absolute().parent}"
    return "holds no framework: no folder with an __init__.py"


def _declared(name: str, folder: str) -> Framework | str:
    """What a folder declares; a text that says why not where it declares nothing of use."""
    if why := _fault(name, folder):
        return why
    declared: Framework = importlib.import_module(f"impls.{name}").FRAMEWORK
    return declared


@functools.cache  # a module that cannot be imported would be run again each time
def _fault(name: str, folder: str) -> str:
    """Why a folder declares no framework; empty where it does."""
    place = Path(folder) / name / "__init__.py"
    if not name.replace("-", "_").isidentifier():
        return f"{place.parent}: the folder's name is no name: use letters, digits, _ and -"
    try:
        declared = getattr(importlib.import_module(f"impls.{name}"), "FRAMEWORK", None)
    except (Exception, SystemExit) as error:
        return f"{place}: {type(error).__name__}: {error}"
    if declared is None:
        return f"{place}: declares no FRAMEWORK"
    if not isinstance(declared, Framework):
        return f"{place}: FRAMEWORK is a {type(declared).__name__}, not a harness.adapter.Framework"
    values = {it.name: getattr(declared, it.name) for it in dataclasses.fields(declared)}
    try:
        TypeAdapter(Framework).validate_python(values)
    except ValidationError as error:
        return f"{place}: FRAMEWORK: {first_problem(error)}"
    if "predict" not in declared.phases:
        return f"{place}: FRAMEWORK: phases: every framework predicts"
    return "" if declared.modes or declared.idioms else f"{place}: FRAMEWORK: modes: there is none"


def folder_of(name: str) -> Path:
    """Where the adapter of a framework lies."""
    return Path(importlib.import_module(f"impls.{name}").__path__[0])


def framework_facts() -> FrameworkFacts:
    """The default modes and the yardsticks among the frameworks that are declared here."""
    known = frameworks()
    return FrameworkFacts(
        defaults={name: it.default_mode for name, it in known.items()},
        references={name: it.title for name, it in known.items() if it.role == "reference"},
    )


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


def phases_of(framework: str, phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Those of some phases that a framework can do."""
    declared: Framework = importlib.import_module(f"impls.{framework}").FRAMEWORK
    return tuple(it for it in phases if it.partition("-")[0] in declared.phases)


def trains(framework: str) -> bool:
    return bool(phases_of(framework, ("train",)))


def matches(setup: Setup, pattern: str) -> bool:
    """Whether a pattern such as `torch*` or `pytorch:e*` names a setup's framework and mode."""
    whole = pattern if ":" in pattern else f"{pattern}:*"
    return fnmatch.fnmatchcase(f"{setup.framework}:{setup.mode}", whole)


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
    bad = undeclared() if not names else {}
    for name in fnmatch.filter(bad, pattern.partition(":")[0]):
        raise UsageError(f"framework {name!r} is left out: {bad[name]}")
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
