"""Planning, running and keeping trials. Imports no framework, ever."""

from pathlib import Path

RESULTS = Path("results")
"""The results directory unless another one is named."""
