"""What makes a block noisy: counters of the machine, and the same work taking other times."""

from __future__ import annotations

import pytest

from harness.analysis.noise import SCATTER_LIMIT, block_noise
from tests.builders import LABELS, make_record, make_setup

STEADY = [1e-3, 1.01e-3, 0.99e-3, 1e-3, 1.02e-3, 1e-3]
TORN = [1e-3, 1.7e-3, 1e-3, 1.7e-3, 1.7e-3, 1e-3]
ONE_OUTLIER = [1e-3, 1e-3, 9e-3, 1e-3, 1e-3, 1e-3]


def block(*times):
    """A block of one worker for each series of step times."""
    return [
        make_record(make_setup(label=label), 0, {"train": steps, "predict": steps})
        for label, steps in zip(LABELS, times, strict=False)
    ]


@pytest.mark.parametrize(
    ("workers", "scatters"),
    [
        ([STEADY] * 3, False),
        ([TORN] * 3, True),
        # What hits most workers comes from outside; one may be like that by itself.
        ([TORN, TORN, STEADY], True),
        ([TORN, STEADY, STEADY], False),
        ([ONE_OUTLIER] * 3, False),
        # A block that is slow throughout says nothing of noise.
        ([[1.7 * it for it in STEADY]] * 3, False),
    ],
)
def test_the_same_work_that_takes_other_times_is_noise(workers, scatters):
    noise = block_noise(block(*workers))
    assert noise.scatter is not None
    assert (noise.scatter > SCATTER_LIMIT) == scatters
    assert ("varied by" in noise.reason) == scatters
    assert (noise.score > 1) == bool(noise.reason)


def test_too_few_rounds_say_nothing():
    noise = block_noise(block([1e-3, 2e-3, 1e-3], [2e-3, 1e-3, 3e-3]))
    assert noise.scatter is None
    assert "varied" not in noise.reason


def test_one_block_at_a_time():
    with pytest.raises(ValueError, match="one block"):
        block_noise([*block(STEADY), make_record(make_setup(), 1, {"train": STEADY})])
