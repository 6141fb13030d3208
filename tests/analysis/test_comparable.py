"""One answer to whether two fingerprints are those of one machine, for all who ask."""

from __future__ import annotations

import pytest

from harness.analysis.run_comparison import differing_facts, same_machine

HERE = {
    "cpu": "one",
    "cores": 2,
    "cores_of_machine": 4,
    "memory_bytes": 8_000_000_000,
    "gpus": None,
    "architecture": "x86_64",
    "system": "Linux 1",
    "virtual": True,
}


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"system": "Linux 2"}, []),
        ({"memory_bytes": 8_070_000_000}, []),
        ({"memory_bytes": 8_100_000_000}, ["memory_bytes"]),
        ({"cores": 1}, ["cores"]),
        ({"cores_of_machine": 8}, ["cores_of_machine"]),
        ({"gpus": "big", "virtual": False}, ["gpus", "virtual"]),
    ],
)
def test_facts_that_tell_machines_from_each_other(changes, differing):
    assert differing_facts(HERE, HERE | changes) == differing
    assert differing_facts(HERE | changes, HERE) == differing
    assert same_machine(HERE, HERE | changes) == (not differing)


def test_what_an_older_fingerprint_lacks_tells_nothing():
    older = {name: HERE[name] for name in ("cpu", "cores", "gpus", "architecture")}
    assert same_machine(HERE, older)
    assert differing_facts(HERE, older | {"cores": 1}) == ["cores"]
