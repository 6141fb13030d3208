"""Student's t distribution, by SciPy.

SciPy is imported where it first computes: even its smallest part takes a third of a second, which
who only draws need not wait for. Not scipy.stats, which takes as much again.
"""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=4096)
def quantile(freedom: float, probability: float) -> float:
    """What a t of so many degrees of freedom is below with this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
