"""How much more measuring would probably decide what a run could not tell."""

from __future__ import annotations

import math

from harness.analysis.advice import Evidence, Finding, weighed
from harness.analysis.intervals import FEWEST, LEAST_EXACT, half_width, least_exact
from harness.analysis.startup import EACH
from harness.analysis.tables import Table
from harness.analysis.verdicts import Pair, least_blocks_for

MOST_BLOCKS = 200
"""Beyond so many a quieter machine is the better way."""
LEAST_EXACT_LEAD = least_exact(EACH)
"""Starts from which on an exact interval of a lead exists."""


def blocks_for(pair: Pair, table: Table) -> int | None:
    """Blocks that would probably decide a pair of the table; None where it takes too many.

    The exact tests of all rows need a number of blocks. Beyond it an interval narrows as the
    square root of their number grows, until it excludes 1 or lies within the margin.
    """
    least = least_blocks_for(sum(it.verdict != "not ranked" for it in table.pairs) or 1)
    half = half_width(pair.speed)
    if pair.n < least or half is None:
        return least
    distance = abs(math.log(pair.speed.estimate))
    reach = max(distance, math.log1p(pair.margin) - distance)
    needed = math.ceil(pair.n * (half / reach) ** 2) if half < reach * MOST_BLOCKS else MOST_BLOCKS
    return max(needed, pair.n + 1) if needed < MOST_BLOCKS else None


def starts_for(finding: Finding, table: Table, evidence: Evidence) -> int | None:
    """Starts of each setup that would probably decide a finding on starts or on memory; None where
    more would not."""
    if evidence == "phases":
        found, exact = (finding.lead.n if finding.lead else 0), LEAST_EXACT_LEAD
    else:
        counts = weighed(table)[1]
        found = min((counts[it].n for it in finding.labels if it in counts), default=0)
        exact = LEAST_EXACT
    return next((it for it in (FEWEST, exact) if it > found), None)
