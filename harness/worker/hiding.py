"""What is installed for the harness alone is not there for a framework."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

from harness.adapter import Framework


def hide_from(framework: Framework) -> None:
    """From now on what it is to be unaware of cannot be imported, as if it were not installed.

    What this process has imported already stays.
    """
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    for name in framework.unaware_of:
        modules.setdefault(name, None)
