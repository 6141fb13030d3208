"""`python -m benchmarks.studies.puppet FD PARENT`: a worker whose times are given.

It answers as a worker does, over the same channel, and ends with its runner as a worker does, but
imports next to nothing, so that hundreds are started in a minute.
"""

from __future__ import annotations

import json
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from harness.worker.messages import die_with

TURN_SECONDS = 0.002


def main() -> None:
    die_with(int(sys.argv[2]))
    channel = Connection(int(sys.argv[1]))
    phases: list[str] = []
    while True:
        request = json.loads(channel.recv_bytes())
        phases = request.get("phases", phases)
        time.sleep(TURN_SECONDS)
        channel.send_bytes(json.dumps(reply(request, phases)).encode())


def reply(request: dict[str, Any], phases: list[str]) -> dict[str, Any]:
    match request["ask"]:
        case "load":
            loaded = [_phase(it) for it in phases]
            return {
                "answer": "loaded",
                "import_seconds": 0.1,
                "build_seconds": 0.1,
                "phases": loaded,
            }
        case "prepare":
            prepared = [_phase(it) | {"warmup": [1e-3], "iterations": 2} for it in phases]
            return {"answer": "prepared", "phases": prepared, "settings": {}}
        case "sample":
            turn = {name: request[name] for name in ("round", "turn")}
            counted = dict.fromkeys(("voluntary_switches", "involuntary_switches"), 0)
            timed = {"iterations": 2, "seconds": TURN_SECONDS, "cpu_seconds": TURN_SECONDS}
            return {"answer": "sampled", "sample": turn | counted | timed}
        case "epoch":
            told = {"epoch": request["epoch"], "seconds": 0.1, "loss": 0.1, "quality": 0.9}
            return {"answer": "trained", "epoch": told}
    return {"answer": "finished", "settings": {}}


def _phase(phase: str) -> dict[str, Any]:
    calls = {"first_call": 1e-3, "second_call": 1e-3, "warmup": [], "iterations": 0}
    return {"phase": phase, "staged_batches": 1} | calls


if __name__ == "__main__":
    main()
