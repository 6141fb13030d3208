"""Which frameworks there are; imports none of them.

Each is a folder of `impls/`, or a plug-in: an installed package that names itself by an entry point
of the group `samestep.frameworks`. Their declarations are read, their adapters are not.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib
import importlib.metadata
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

import impls
from harness import venvs
from harness.adapter import ADAPTER_API, Framework, FrameworkFacts
from harness.cells import LANES, Lane, Phase, Setup
from harness.errors import UsageError, first_problem, unknown
from harness.venvs import Venv

PLACE = Path(__file__).parents[1]
"""The folder that holds `harness`: a checkout's, or where pip installs packages."""
GROUP = "samestep.frameworks"
"""Of entry points: the name of a framework, and the package that declares it."""
SWITCH = "SAMESTEP_PLUGINS"
"""0 in this environment variable switches plug-ins off."""


class Origin(NamedTuple):
    """A package that declares a framework, and its `owner`: a folder, or the distribution of a
    plug-in. `place` is where to look for what is wrong with it."""

    package: str
    owner: str
    place: str
    plugin: bool = False


def frameworks() -> dict[str, Framework]:
    """Every framework that a folder or a plug-in declares, by name; installed or not."""
    return {name: it for name, it in _declarations().items() if isinstance(it, Framework)}


def undeclared() -> dict[str, str]:
    """Folders and plug-ins that declare no framework, by name, each with the reason."""
    return {name: it for name, it in _declarations().items() if isinstance(it, str)}


def faults() -> list[tuple[str, str]]:
    """Folders and plug-ins of frameworks that cannot be used, each with the reason."""
    wrong = [(f"framework {name}", why) for name, why in undeclared().items()]
    for name, (first, *others) in _origins().items():
        if not first.plugin:
            why = f"{first.owner} has one of this name"
            wrong += [(f"framework {name} of {it.owner}", why) for it in others]
    wrong += [(f"folder {it}", why) for it in impls.__path__ if (why := _useless(Path(it)))]
    return wrong


def _declarations() -> dict[str, Framework | str]:
    """What is declared under every name; see `_declared`."""
    return {name: _declared(name, it) for name, it in sorted(_origins().items())}


def _origins() -> dict[str, list[Origin]]:
    """All declarations of each name. The first one counts; folders come before plug-ins."""
    origins = {name: [*it] for name, it in _folders().items()}
    for name, plugins in _plugins().items():
        origins.setdefault(name, []).extend(plugins)
    return origins


def _folders() -> Mapping[str, list[Origin]]:
    places = [it for it in dict.fromkeys(impls.__path__) if os.path.isdir(it)]
    return _packages(tuple((it, os.stat(it).st_mtime_ns) for it in places))


@functools.cache  # a plan asks for the facts of each setup in each block
def _packages(folders: tuple[tuple[str, int], ...]) -> Mapping[str, list[Origin]]:
    """The packages in folders, each with the time of its last change, by name."""
    origins: dict[str, list[Origin]] = {}
    for folder, _changed_ns in folders:
        for module in pkgutil.iter_modules([folder]):
            if module.ispkg:
                place = str(Path(folder) / module.name / "__init__.py")
                origin = Origin(f"impls.{module.name}", folder, place)
                origins.setdefault(module.name, []).append(origin)
    return origins


def _plugins() -> Mapping[str, list[Origin]]:
    return {} if os.environ.get(SWITCH) == "0" else _entry_points(tuple(sys.path))


@functools.cache  # to read the metadata of all that is installed takes long
def _entry_points(path: tuple[str, ...]) -> dict[str, list[Origin]]:
    """The plug-ins that are installed on a path, by name."""
    origins: dict[str, list[Origin]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        package = point.value.partition(":")[0].strip()
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
        origin = Origin(package, owner, f"{package} of {owner}", plugin=True)
        origins.setdefault(point.name, []).append(origin)
    return origins


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


def _declared(name: str, origins: Sequence[Origin]) -> Framework | str:
    """What is declared under a name, or a text that says why it cannot be used."""
    first, *others = origins
    if first.plugin and others:
        owners = " and ".join(sorted(it.place for it in origins))
        return f"several plug-ins have this name, so none is taken: {owners}; remove all but one"
    if why := _fault(name, first):
        return why
    declared: Framework = importlib.import_module(first.package).FRAMEWORK
    return declared


@functools.cache  # a module that cannot be imported would be run again each time
def _fault(name: str, origin: Origin) -> str:
    """Why a package declares no framework; empty where it does."""
    place = origin.place
    if not name.replace("-", "_").isidentifier():
        return f"{place}: {name!r} is no name: use letters, digits, _ and -"
    try:
        module = importlib.import_module(origin.package)
        declared = getattr(module, "FRAMEWORK", None)
    except (Exception, SystemExit) as error:
        return f"{place}: {type(error).__name__}: {error}"
    if declared is None:
        return f"{place}: declares no FRAMEWORK"
    if not isinstance(declared, Framework):
        return f"{place}: FRAMEWORK is a {type(declared).__name__}, not a harness.adapter.Framework"
    if not hasattr(module, "__path__"):
        return f"{place}: is one file; name a package, with adapter.py beside its __init__.py"
    values = {it.name: getattr(declared, it.name) for it in dataclasses.fields(declared)}
    try:
        TypeAdapter(Framework).validate_python(values)
    except ValidationError as error:
        return f"{place}: FRAMEWORK: {first_problem(error)}"
    if declared.adapter_api > ADAPTER_API:
        needed = f"is written for adapter API {declared.adapter_api}, samestep has {ADAPTER_API}"
        return f"{place}: {needed}: get a later samestep"
    if "predict" not in declared.phases:
        return f"{place}: FRAMEWORK: phases: every framework predicts"
    return "" if declared.modes or declared.idioms else f"{place}: FRAMEWORK: modes: there is none"


def plugin_of(name: str) -> str | None:
    """The distribution, with its version, that brings a framework; None where a folder does."""
    first = _origins()[name][0]
    return first.owner if first.plugin else None


def module_of(name: str, part: str = "") -> ModuleType:
    """Import a framework's declaration, or a part beside it: `adapter`, `idiom`, `explain`.

    What a folder declares is imported without a look at plug-ins.
    """
    origins = _folders().get(name) or _plugins().get(name)
    package = origins[0].package if origins else f"impls.{name}"
    return importlib.import_module(f"{package}.{part}" if part else package)


def declaration(name: str) -> Framework:
    """What is known of a framework, for processes that need no other one."""
    declared: Framework = module_of(name).FRAMEWORK
    return declared


def folder_of(name: str) -> Path:
    """Where the adapter of a framework lies."""
    return Path(module_of(name).__path__[0])


def framework_facts() -> FrameworkFacts:
    """The default modes and the yardsticks among the frameworks that are declared here."""
    known = frameworks()
    return FrameworkFacts(
        defaults={name: it.default_mode for name, it in known.items()},
        references={name: it.title for name, it in known.items() if it.role == "reference"},
    )


def version(framework: Framework, venv: Venv | None = None) -> str | None:
    """The version that is installed, here or in an environment; None where it is not."""
    installed = venv.installed if venv else importlib.metadata.version
    for distribution in framework.distributions:
        try:
            # A removal that failed halfway may leave a folder without a version.
            if number := installed(distribution):
                return number
        except (importlib.metadata.PackageNotFoundError, KeyError):
            continue
    return None


def version_of(setup: Setup) -> str:
    """The version of a setup's framework; empty where it is not installed."""
    return setup.version or version(frameworks()[setup.framework]) or ""


def absence(framework: Framework, venv: Venv | None = None) -> str | None:
    """Why it cannot take part: not installed, broken or too old; None where it can."""
    present = None if venv and venv.broken else version(framework, venv)
    if venv and present != venv.version:
        why = venv.broken or f"{present or 'none'} is installed in it"
        return f"an environment that is broken: {why}; {venv.way_out}"
    if present is None:
        return f"not installed; get it with: {install_command(framework)}"
    if older(present, framework.least):
        needed = f"{present} is installed, {framework.least} or later is needed"
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

    return re.sub(r"'?(?<![\w-])samestep(?![\w-])(\[[\w,]+\])?'?", from_folder, framework.install)


def older(version: str, least: str) -> bool:
    """Whether a version is of an earlier release than the oldest that works."""
    return _numbers(version) < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    """The release that a version belongs to: `2.13.0rc1+cpu` is (2, 13, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def modes_of(framework: Framework, lane: Lane) -> dict[str, str]:
    """The modes that a framework offers in a lane, each with one line, the default first."""
    if lane == "identical":
        return dict(framework.modes)
    return {mode: idiom.line for mode, idiom in framework.idioms.items()}


def phases_of(framework: str, phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Those of some phases that a framework can do; its name may have a version."""
    known = declaration(framework.partition("@")[0]).phases
    return tuple(it for it in phases if it.partition("-")[0] in known)


def trains(framework: str) -> bool:
    return bool(phases_of(framework, ("train",)))


def lanes_of(framework: Framework, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """The lanes that are asked for; if none is, the identical one, or the idiomatic one of a
    framework that has no mode in the other."""
    return lanes or ("identical" if framework.modes else "idiomatic",)


def matches(setup: Setup, pattern: str) -> bool:
    """Whether a pattern such as `torch*`, `pytorch@2.6*` or `pytorch:e*` names a setup's framework
    and mode; without a version it names every one."""
    whole = pattern if ":" in pattern else f"{pattern}:*"
    name = setup.name if "@" in pattern else setup.framework
    return fnmatch.fnmatchcase(f"{name}:{setup.mode}", whole)


def contestants(
    patterns: Iterable[str], modes: str = "default", lanes: Iterable[Lane] = ("identical",)
) -> list[tuple[str, str, Lane]]:
    """(framework, mode, lane) for every pattern `NAME[@VERSION][:MODE]`, of which each part may be
    a glob.

    Without a mode, `modes` decides: `default` takes a framework's first mode in a lane, `all` every
    one. A version is one that has an environment of its own, and stays with the name of the
    framework: `NAME@VERSION`. Without any pattern, every framework that can take part. What a lane
    does not offer is left out of it; raises UsageError for a pattern that fits nothing in any of
    the lanes. For `lanes` that are empty see `lanes_of`.
    """
    known, lanes = frameworks(), tuple(lanes)
    asked = list(patterns) or [name for name, it in known.items() if absence(it) is None]
    chosen: dict[tuple[str, str, Lane], None] = {}
    for pattern in asked:
        fitting = [
            (name, mode, lane)
            for name in _versions(known, pattern)
            for lane in lanes_of(known[_bare(name)], lanes)
            for mode in _fitting(tuple(modes_of(known[_bare(name)], lane)), pattern, modes)
        ]
        if not fitting and patterns:
            raise _nothing(known, pattern, lanes)
        chosen |= dict.fromkeys(fitting)
    return sorted(chosen, key=lambda it: (lanes or LANES).index(it[2]))


def _bare(pattern: str) -> str:
    """The name of the framework in a pattern, without version and mode."""
    return pattern.partition(":")[0].partition("@")[0]


def _versions(known: Mapping[str, Framework], pattern: str) -> list[str]:
    """The names that a pattern fits, with a version where it asks for one: `tensorflow@2.18.1`.

    The part behind a `+`, which names the build, may be left out. Raises UsageError.
    """
    names = _names(known, pattern)
    _, at, asked = pattern.partition(":")[0].partition("@")
    if not at:
        return names
    made = [it for it in venvs.made() if it.framework in names]
    fitting = [
        it.name
        for it in made
        if fnmatch.fnmatchcase(it.version, asked) or it.version.partition("+")[0] == asked
    ]
    if not fitting:
        version = "VERSION" if re.search(r"[*?[]|^$", asked) else asked
        which = f"{known[names[0]].distributions[0]}=={version}"
        here = f"; there are: {', '.join(it.name for it in made)}" if made else ""
        raise UsageError(
            f"no environment {pattern.partition(':')[0]!r}; make one with: python -m harness env "
            f"add {which}{here}"
        )
    return fitting


def _names(known: Mapping[str, Framework], pattern: str) -> list[str]:
    names = fnmatch.filter(known, _bare(pattern))
    bad = undeclared() if not names else {}
    for name in fnmatch.filter(bad, _bare(pattern)):
        raise UsageError(f"framework {name!r} is left out: {bad[name]}")
    if not names:
        aliases = {
            word: name
            for name, it in known.items()
            for word, meant in it.aliases.items()
            if meant == name
        }
        raise unknown("framework", _bare(pattern), known, aliases)
    return names


def _fitting(offered: Sequence[str], pattern: str, modes: str) -> Sequence[str]:
    _, colon, mode = pattern.partition(":")
    if colon and not mode:
        raise UsageError(f"framework {pattern!r}: a mode must follow the colon")
    if colon:
        return fnmatch.filter(offered, mode)
    return offered if modes == "all" else offered[:1]


def _nothing(known: Mapping[str, Framework], pattern: str, lanes: tuple[Lane, ...]) -> UsageError:
    name, mode = _bare(pattern), pattern.partition(":")[2]
    its = [known[it] for it in _names(known, pattern)]
    offered = {mode for it in its for lane in lanes_of(it, lanes) for mode in modes_of(it, lane)}
    if not offered:
        asked, others = " or ".join(lanes), " or ".join(it for it in LANES if it not in lanes)
        hint = f"; use --lane {others}" if others else ""
        return UsageError(f"framework {name!r} has no mode in the lane {asked}{hint}")
    if name not in known:  # what a glob fits: their aliases may contradict each other
        return unknown(f"mode of {name!r}", mode, offered)
    aliases = {word: it for word, it in known[name].aliases.items() if it in offered}
    return unknown(f"mode of {known[name].title}", mode, offered, aliases)
