"""A run whose names and messages try to be more than text."""

from __future__ import annotations

from harness.records import Run, Unavailable
from tests.builders import TASK, make_failure, make_run, make_setup, measured

STRIKES = (
    "<script>window.struck = 1</script>",
    "</script><script>window.struck = 1</script>",
    "<!--<script>",
    "--><img src=x onerror=window.struck=1>",
    "\"'><svg onload=window.struck=1>",
    '" onmouseover="window.struck=1" x=\'',
    "javascript:window.struck=1",
    "</style></title></textarea><iframe srcdoc='<script>parent.struck=1</script>'>",
    "\\u003cscript>\\'\\\"\u2028\u2029",
    "{{ 7*7 }} ${window.struck=1}",
)
LONG = "long" * 75
TURNED = "\u202egnp.exe\u202c \u2066עברית\u2069"
EMOJI = "👩‍🔬🏳️‍🌈 日本語"
KEYS = ("__proto__", "constructor", "toString")
"""Names that an object of JavaScript has already."""


def run() -> Run:
    # No user can give a task such a name: it is refused. The page must not rely on that.
    names = [STRIKES[0], LONG, TURNED + EMOJI, "__proto__"]
    tasks = [TASK.model_copy(update={"name": it, "probes": STRIKES[1]}) for it in names]
    labels = [f"{it}:{STRIKES[4]}" for it in (*KEYS, *STRIKES[:3], LONG, EMOJI)]
    text = " ".join(STRIKES)
    records = measured(tasks[:1], labels, blocks=2, rounds=2)
    for task in tasks[1:]:
        records += measured([task], labels[:2], blocks=2, rounds=2)
    records += [
        make_failure(make_setup(tasks[0], f"{it}:x"), error=it, stderr_tail=text) for it in STRIKES
    ]
    return make_run(
        records,
        tasks,
        stopped_by=text,
        unavailable=[Unavailable(what=text, reason=LONG)],
        name=text,
        command=("python", text, LONG),
        config={it: it for it in (*STRIKES, LONG)},
        machine={"cpu": text, LONG: LONG},
        environment={"XLA_FLAGS": text},
        commit=text,
    )
