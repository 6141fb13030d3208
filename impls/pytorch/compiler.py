"""The C++ compiler that torch.compile needs on a CPU; looked for without importing torch."""

from __future__ import annotations

import os
import shutil
import sys


def without_compiler() -> str:
    """Why torch.compile cannot work on the CPU, for which it writes C++; empty where it can."""
    named = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(named):
        return ""
    return f"torch.compile needs a C++ compiler and finds no {named!r}; install g++ or set CXX"
