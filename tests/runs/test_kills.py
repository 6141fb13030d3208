"""The runner, killed at random moments; a hundred of them are in `benchmarks/studies/kills.py`."""

from __future__ import annotations

import random

import pytest

from benchmarks.studies.kills import Play


@pytest.mark.parametrize("moments", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_nothing_is_lost_when_the_runner_is_killed(tmp_path, moments):
    play, chance = Play(), random.Random()
    (tmp_path / "whole").mkdir()
    whole = play.seconds(tmp_path / "whole")
    for number in range(moments):
        (tmp_path / str(number)).mkdir()
        killed = play.kill(tmp_path / str(number), chance.uniform(0, whole))
        assert killed.fine, killed
