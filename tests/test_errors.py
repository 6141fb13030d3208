"""Exceptions of any kind as the one line that is kept of them."""

from __future__ import annotations

import pytest

from harness.errors import in_one_line

COMMAND = "g++ " + "-Wno-error=all -include /a/long/path/of/a/header.h " * 40


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "ValueError"),
        ("two\n\n  lines", "ValueError: two lines"),
        ("x" * 488, "ValueError: " + "x" * 488),
    ],
)
def test_a_short_message_is_kept_whole(message, line):
    assert in_one_line(ValueError(message)) == line


def test_a_message_of_ours_stands_without_its_type():
    assert in_one_line(ValueError("says it all"), named=False) == "says it all"


@pytest.mark.parametrize(
    "output",
    [
        "g++: fatal error: input file 'a' is the same as output file\ncompilation terminated.",
        "In file included from x.h:3,\nx.cpp:1:10: error: omp.h: No such file\n    1 | #include",
        "Traceback (most recent call last):\nOSError: [Errno 28] No space left on device",
        "nothing that is called so",
        "error: " + "far too much " * 90,
    ],
)
def test_a_long_message_keeps_its_beginning_and_its_cause(output):
    advice = "" if output.startswith("nothing") else "\n\nSet VERBOSE=1 for more."
    line = in_one_line(RuntimeError(f"C++ compile error\n\n{COMMAND}\n\n{output}{advice}"))
    assert len(line) <= 500
    assert line.startswith("RuntimeError: C++ compile error g++ ")
    cause = next((it for it in output.splitlines() if "rror: " in it), output)
    assert line.endswith(f" … {cause[:250]}")
