"""Nothing that a stranger wrote is obeyed by a terminal or a spreadsheet, whatever prints it.

A framework, a run or a store may hold terminal sequences in every text: titles, modes, errors.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from contextlib import redirect_stdout

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.__main__ import served
from harness.cli.console import Console, SafeText
from harness.records import Unavailable
from harness.report.safe_text import sheet, shown
from harness.report.style import UNKNOWN_COLOR, look
from tests.builders import (
    certified,
    make_certificate,
    make_failure,
    make_run,
    make_setup,
    measured,
)
from tests.modules import modules
from tests.stores import make_store
from tests.test_cli import SHORT, harness

ESCAPES = (
    "\x1b]52;c;aGVsbG8=\x1b\\"  # fills the clipboard
    "\x1b[2J\x1b[1A"  # clears the screen, goes up a line
    "\x1b]8;;http://example.invalid\x1b\\click\x1b]8;;\x1b\\"  # a link
    "\x9b2J\x07\x08\r"  # a C1 control, a bell, back
    "\u202edetrever\u2066\u200b\ufeff"  # other directions, no width
)
ACTS = {"\x1b", "\x9b", "\x07", "\x08", "\r", "\u202e", "\u2066", "\u200b", "\ufeff", "\x7f"}


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What the console adds itself."""


def acting(text: str) -> set[str]:
    return ACTS & set(text)


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def printed(console_prints, *, on_terminal: bool = True) -> str:
    """What reaches the descriptor."""
    held = Terminal() if on_terminal else io.BytesIO()
    stream = SafeText(held, encoding="utf-8")
    with redirect_stdout(stream):
        console_prints()
        stream.flush()
    return held.getvalue().decode()


def test_what_is_printed_plainly_is_inert():
    told = printed(lambda: print("before", ESCAPES, "after\tand\nnext"))
    assert not acting(told)
    assert "after\tand\nnext" in told
    assert "click" in told


def renderables():
    table = Table(title=Text(ESCAPES))
    table.add_column(Text(ESCAPES))
    table.add_row(Text(ESCAPES, "red"))
    linked = Text("click", "link http://example.invalid")
    return [Text(ESCAPES, "bold"), table, linked, ESCAPES, Text.assemble(("a\x1b", "red"), "[2J")]


@pytest.mark.parametrize("number", range(len(renderables())))
def test_what_a_console_prints_has_no_sequences_but_its_own(number, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def prints():
        Console(force_terminal=True, width=70).print(renderables()[number])

    told = COLOUR.sub("", printed(prints))
    assert not acting(told)


def test_a_live_display_still_moves_the_cursor_and_prints_inertly(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")

    def prints():
        with Live(console=Console(force_terminal=True), auto_refresh=False) as live:
            live.update(Text(f"one\n{ESCAPES}"), refresh=True)
            print(ESCAPES)
            live.update(Text("two"), refresh=True)

    told = printed(prints)
    assert "\x1b[1A" in told  # its own
    assert "\x1b[2J" not in told
    assert not {"]52;c", "]8;;"} & {told[it : it + 5] for it in range(len(told))}
    assert not acting(told) - {"\x1b", "\r"}


def test_nothing_prints_with_another_console():
    """So that what is added later is inert as well."""
    for name, path in modules("harness").items():
        text = path.read_text(encoding="utf-8")
        calls = [it for it in ast.walk(ast.parse(text)) if isinstance(it, ast.Call)]
        made = {ast.unparse(it.func) for it in calls}
        foreign = "from rich.console import Console" in text and "Console" in made
        assert not foreign, f"{name} makes a console of Rich's; take harness.cli.console's"
        assert not made & {"rich.print", "rich.get_console", "get_console", "sys.stdout.write"}


def strange_run(name="a-run"):
    """A run whose every free text is a stranger's."""
    setup = make_setup(label=f"pytorch:{ESCAPES}")
    records = measured(labels=("pytorch:eager", f"=evil{ESCAPES}:@SUM(A1)"), blocks=3)
    failure = make_failure(
        setup, error=f"=cmd|' /C calc'!A0 {ESCAPES}", stderr_tail=ESCAPES, status="failed"
    )
    return make_run(
        [*records, failure],
        name=name,
        stopped_by=ESCAPES,
        unavailable=(Unavailable(what=ESCAPES, reason=ESCAPES),),
        certificates=(*certified(records), make_certificate(setup, f"-1+1 {ESCAPES}")),
        versions={"pytorch": ESCAPES, "python": ESCAPES},
        environment={"OMP_NUM_THREADS": ESCAPES},
        machine={"cpu": ESCAPES, "cores": 2, "system": ESCAPES},
        commit=ESCAPES,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    other = strange_run("b-run").model_copy(update={"stopped_by": "done"})
    return make_store(tmp_path_factory.mktemp("results"), strange_run(), other)


FRAMES = ("cells", "pairs", "trials", "samples", "trainings", "certificates", "divergence")
COMMANDS = [
    ("show",),
    ("history",),
    ("compare", "a-run", "b-run"),
    *(("compare", "a-run", "b-run", "--format", it) for it in ("markdown", "json")),
    *(("export", "--what", what, "--format", "csv") for what in FRAMES),
    ("export", "--what", "trials", "--format", "json"),
    ("report",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_lets_a_stranger_speak_to_the_terminal(results, capfdbinary, words):
    assert served([*words, "-o", str(results)]) == 0
    told = b"".join(capfdbinary.readouterr()).decode()
    assert "click" in told or words[0] == "report"
    assert not acting(told)


def test_the_files_of_a_report_are_inert_too(results):
    assert served(["report", "a-run", "-o", str(results)]) == 0
    for name in ("report.md", "report.html", "results.csv", "trainings.csv"):
        assert not acting((results / "a-run" / name).read_text()), name


@pytest.mark.parametrize("what", FRAMES)
def test_no_cell_of_a_csv_is_a_formula(results, capfd, what):
    assert served(["export", "a-run", "--what", what, "-o", str(results)]) == 0
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert rows
    numbers = 0
    for cell in (it for row in rows for it in row.values() if it):
        try:
            numbers += float(cell) is not None
        except ValueError:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    assert numbers
    if what == "trials":
        assert any(row["framework"].startswith("'=evil") for row in rows)


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠A")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text(text):
    assert sheet(text)[0] == "'" or text[0] == "\n"


def test_other_texts_stay_as_they_are():
    for text in ("", "a=1", "1-2", "a@b", "x\ny", "日本 עברית 👩\u200d🔬"):
        assert sheet(text) == shown(text) == text


def test_a_json_of_a_stranger_keeps_its_texts(results, capfd):
    words = ["export", "a-run", "--what", "trials", "--format", "json", "-o", str(results)]
    assert served(words) == 0
    rows = json.loads(capfd.readouterr().out)["rows"]
    assert any(ESCAPES in (row["error"] or "") for row in rows)


FRAMEWORK = """
from harness.adapter import Framework
TEXT = {text!r}
FRAMEWORK = Framework(title=TEXT, distributions=("numpy",), install=TEXT, modes={{"only": TEXT}},
                      color="#fff}}</style><script>alert(1)</script>", least={least!r})
"""


@pytest.mark.parametrize("least", ["", "99"])
def test_a_framework_of_a_stranger_cannot_speak_to_the_terminal(tmp_path, least):
    folder = tmp_path / "impls" / "escapes"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(FRAMEWORK.format(text=ESCAPES, least=least))
    (folder / "adapter.py").write_text(f"raise RuntimeError({ESCAPES!r})\n")
    words = ("-f", "escapes", "-t", "digits-mlp", "--threads", "1", "-o", tmp_path / "results")
    run = ("run", *SHORT, *words)
    for command in (("list",), ("info",), ("verify", *words), run):
        told = harness(*command, cwd=tmp_path, SAMESTEP_IMPLS=str(tmp_path / "impls"))
        assert not acting(told.stdout + told.stderr), command
        assert "Traceback" not in told.stderr


def test_a_colour_that_is_none_stands_in_no_page(monkeypatch):
    from harness.adapter import Framework
    from harness.report import style

    known = {"mine": Framework("", ("numpy",), "", {"a": ""}, "red}</style><script>")}
    monkeypatch.setattr(style, "_known", lambda: known)
    assert look(make_setup(label="mine:a")).color == UNKNOWN_COLOR
