"""Making environments with other versions of frameworks: the folders that `harness.venvs` reads.

uv installs where it is present and pip has no configuration that uv would not read; else the pip
of the running interpreter does. Its constraints and indexes hold as for any other installation.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.adapter import Framework
from harness.errors import CAUSE, InstallFailed, UsageError, unknown
from harness.frameworks import frameworks, older, version
from harness.privacy import clean
from harness.venvs import NAMED, REQUESTED, Venv, directory, made

NEEDS = ("numpy>=2.0", "psutil>=5.9", "pydantic>=2.12", "scipy>=1.12", "threadpoolctl>=3.5")
"""What workers and provers import beside the framework, as pyproject.toml asks for it."""
UNFINISHED = ".making-"
"""How a folder begins that is still being filled; the number of its process follows."""
LAST_LINES = 50


def add(words: Sequence[str], show: Callable[[str], None]) -> Venv:
    """Make an environment from requirements, of which the first is a framework's.

    `show` gets what the installer prints, line by line. An unfinished environment is removed.
    Raises UsageError for a wrong request, InstallFailed where nothing can be installed.
    """
    requirements = [_requirement(word) for word in words]
    name, framework = _framework(requirements[0])
    if requirements[0].name == name and name not in framework.distributions:
        requirements[0].name = framework.distributions[0]
    exact = _exact(requirements[0])
    _refuse_old(name, framework, exact)
    _refuse_made(name, exact)
    folder = directory()
    begun = Venv(name, "0", folder / f"{UNFINISHED}{os.getpid()}")
    command = [*_installer(str(begun.interpreter)), *map(str, requirements), *NEEDS]
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder)
    try:
        venv.EnvBuilder(symlinks=os.name != "nt").create(begun.folder)
        _install(command, requirements[0], show)
        installed = version(framework, begun)
        if installed is None or not NAMED.fullmatch(f"{name}@{installed}"):
            raise InstallFailed(f"{requirements[0]} has no {name} of a known version in it")
        _refuse_old(name, framework, installed)
        _refuse_made(name, installed)
        asked = "".join(f"{it}\n" for it in requirements)
        (begun.folder / REQUESTED).write_text(asked, encoding="utf-8")
        finished = Venv(name, installed, folder / f"{name}@{installed}")
        begun.folder.rename(finished.folder)  # at once whole: a killed process leaves no half
    finally:
        shutil.rmtree(begun.folder, ignore_errors=True)
    return finished


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(it.lstat().st_size for it in folder.rglob("*") if not it.is_dir())


def _requirement(word: str) -> Requirement:
    try:
        return Requirement(word)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"{word!r} is no requirement such as tensorflow==2.18.1: {why}") from None


def _framework(requirement: Requirement) -> tuple[str, Framework]:
    """The framework that a requirement names, by its own name or by that of a distribution."""
    known = frameworks()
    names = {canonicalize_name(of): name for name, it in known.items() for of in it.distributions}
    names |= {canonicalize_name(name): name for name in known}
    name = names.get(canonicalize_name(requirement.name))
    if name is None:
        raise unknown("framework or distribution of one", requirement.name, {*names, *known})
    return name, known[name]


def _exact(requirement: Requirement) -> str | None:
    """The one version that a requirement allows, where it names one."""
    pins = (it for it in requirement.specifier if it.operator in ("==", "==="))
    return next((it.version for it in pins if not it.version.endswith("*")), None)


def _refuse_old(name: str, framework: Framework, number: str | None) -> None:
    if number and older(number, framework.least):
        raise UsageError(f"{name} {number} is too old: {framework.least} or later is needed")


def _refuse_made(name: str, number: str | None) -> None:
    for existing in made():
        if (existing.framework, existing.version) == (name, number):
            raise UsageError(
                f"{existing.name} exists already, in {existing.folder}; to make it again, first: "
                f"python -m harness env remove {existing.name}"
            )


def _remove_unfinished(folder: Path) -> None:
    """Remove the folders that killed processes have left."""
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        pid = unfinished.name.removeprefix(UNFINISHED)
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(unfinished, ignore_errors=True)


def _installer(python: str) -> list[str]:
    """How a command that installs for an interpreter begins. Raises UsageError."""
    pip, uv = [sys.executable, "-m", "pip"], shutil.which("uv")
    has_pip = importlib.util.find_spec("pip") is not None
    if uv and not (has_pip and _configured(pip)):
        return [uv, "pip", "install", "--python", python]
    if not has_pip:
        raise UsageError(f"neither uv nor the pip of {sys.executable} is here to install with")
    return [*pip, "--python", python, "install"]


def _configured(pip: Sequence[str]) -> bool:
    """Whether pip has indexes, constraints or the like from its own files or variables."""
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True)
    return bool(done.stdout.strip())


def _variables() -> Mapping[str, str]:
    """pip in another environment reads the same files, with that of this environment added."""
    variables = dict(os.environ)
    if (configuration := Path(sys.prefix) / "pip.conf").is_file():
        variables.setdefault("PIP_CONFIG_FILE", str(configuration))
    if constraint := variables.get("PIP_CONSTRAINT"):
        variables.setdefault("UV_CONSTRAINT", constraint)
    return variables


def _install(command: Sequence[str], what: Requirement, show: Callable[[str], None]) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_variables(),
        start_new_session=True,  # pip goes on in a child; both end together
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last.append(line)
                show(clean(line.rstrip()))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise InstallFailed(f"{what} could not be installed: {_last_words(last)}")


def _last_words(lines: Iterable[str]) -> str:
    """The last line that names an error, else the last one; pip ends a conflict with a link."""
    texts = [it for it in lines if it.strip() and "ResolutionImpossible" not in it]
    errors = [it for it in texts if CAUSE.search(it)] or texts or ["the installer gave no reason"]
    return clean(errors[-1].removeprefix("ERROR: "))
