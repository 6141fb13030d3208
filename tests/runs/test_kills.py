"""The runner, killed at random moments; a hundred of them are in `benchmarks/studies/kills.py`."""

from __future__ import annotations

import random

from benchmarks.studies.kills import Play

MOMENTS = 6


def test_nothing_is_lost_when_the_runner_is_killed(tmp_path):
    play, chance = Play(), random.Random()
    (tmp_path / "whole").mkdir()
    whole = play.seconds(tmp_path / "whole")
    for number in range(MOMENTS):
        (tmp_path / str(number)).mkdir()
        killed = play.kill(tmp_path / str(number), chance.uniform(0, whole))
        assert killed.fine, killed
