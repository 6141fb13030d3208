"""Git: what it prints, or in its own words why it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path


class GitFailed(Exception):
    """The message is git's own reason, with the way out where git names one."""


def git(root: Path, *words: str) -> bytes:
    """What git prints in the checkout at a folder. Raises GitFailed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, timeout=60)
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise GitFailed(f"git: {error}") from None
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split())
        raise GitFailed(told.removeprefix("fatal: ") or f"git ended with code {done.returncode}")
    return done.stdout
