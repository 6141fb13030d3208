"""Imported before a process forks others."""

import os

PROCESS = os.getpid()
