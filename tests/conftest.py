"""What holds for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A shared machine may stand still for a second: no test asserts on a time, nor does hypothesis.
settings.register_profile(
    "samestep", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("samestep")
collect_ignore = ["plugin_package"]
"""A project of its own, with tests of its own: `test_plugins.py` runs them."""


@pytest.fixture(scope="session", autouse=True)
def _a_lock_of_their_own(tmp_path_factory):
    """No test waits for somebody who measures on this machine, and nobody for a test."""
    before = os.environ.get("SAMESTEP_LOCK")
    os.environ["SAMESTEP_LOCK"] = str(tmp_path_factory.mktemp("lock") / "samestep.lock")
    yield
    if before is None:
        del os.environ["SAMESTEP_LOCK"]
    else:
        os.environ["SAMESTEP_LOCK"] = before
