"""`merge` from stores on disk to one store and one report that names its machines."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest.mock import Mock

import pytest

from harness import load
from harness.cli.results import merge
from harness.cli.run import plan_to_resume
from harness.errors import ReportError, StoreError, UsageError
from harness.runs.merge import keep
from harness.runs.store import create, open_existing
from tests.builders import make_info
from tests.report.reading import Page
from tests.stores import make_store, named

OTHER = {"machine": make_info().machine | {"cpu": "another"}}
SMALL = {"blocks": 2, "rounds": 2, "trains": False}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A store with the runs of two others, and the path of the run."""
    home = tmp_path_factory.mktemp("home")
    make_store(home / "one", named("same-name", **SMALL))
    make_store(home / "two", named("same-name", info=OTHER, seed=1, **SMALL))
    merge([f"alpha={home / 'one'}", f"beta={home / 'two' / 'same-name'}"], home / "all")
    with open_existing(home / "all") as store:
        (name,) = store.runs()
    return home / "all" / name


def test_the_merged_run_is_one_of_its_store(merged):
    results = load(merged)
    cells = results.frame()
    assert set(cells["machine"]) == {"alpha", "beta"}
    assert set(cells["device"]) == {"cpu"}
    assert len(cells) == 2 * 2 * 3
    assert results.run.stopped_by == "all blocks done"
    assert {it.setup.device for it in results.run.certificates} == {"cpu@alpha", "cpu@beta"}


def test_the_report_names_the_machine_at_every_table(merged):
    page = Page((merged / "report.html").read_text(encoding="utf-8"))
    own = ("Speed: ", "Phase times: ", "Memory: ", "Sameness: ", "Noise: ")
    captions = [it for it in page.tables if it.startswith(own)]
    assert len(captions) >= (3 * 2 + 1) * 2
    assert all(("cpu@alpha" in it) != ("cpu@beta" in it) for it in captions)
    text = (merged / "report.md").read_text(encoding="utf-8")
    for name in ("alpha", "beta"):
        assert f"**Machine {name}:**" in text
    assert "same-name (alpha) and same-name (beta)" in text


def test_a_merged_run_cannot_go_on(merged):
    with pytest.raises(UsageError, match="merged from other runs"):
        plan_to_resume(merged.name, merged.parent)


def test_nothing_is_written_where_something_is_wrong(tmp_path):
    one = make_store(tmp_path / "one", named("a", **SMALL))
    for words, said in (
        ([str(one)], "two runs at least"),
        ([str(one), str(one)], "the same trial"),
        ([str(one), "alpha=never"], "no results here"),
    ):
        with pytest.raises(UsageError, match=said):
            merge(words, tmp_path / "all")
    assert [it.name for it in tmp_path.iterdir()] == ["one"]


def test_a_report_that_cannot_be_written_is_no_wrong_request(tmp_path, monkeypatch, capsys):
    """The merged run is in the store, and its result is in the terminal."""
    for number, name in enumerate("ab"):
        make_store(tmp_path / name, named(name, seed=number, **SMALL))
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("harness.report.write.write_report", Mock(side_effect=full))
    with pytest.raises(ReportError, match="all results are kept") as told:
        merge([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "all")
    assert told.value.exit_code == 4
    with open_existing(tmp_path / "all") as store:
        assert f"harness report {store.runs()[0]} -o" in str(told.value)
    assert "pytorch:eager" in capsys.readouterr().out


def test_a_merged_run_takes_the_place_of_nothing(tmp_path, monkeypatch):
    for number, name in enumerate("ab"):
        make_store(tmp_path / name, named(name, seed=number, **SMALL))
    output = tmp_path / "all"
    begin = datetime.now().astimezone()
    taken = {f"{begin + timedelta(minutes=it):%Y-%m-%d-%H%M}-merged" for it in range(30)}
    output.mkdir()
    for it in taken:
        (output / it).symlink_to("../a")
    merge([str(tmp_path / "a"), str(tmp_path / "b")], output)
    (report,) = output.glob("*/report.html")
    assert report.parent.name.removesuffix("-2") in taken
    assert not list((tmp_path / "a").glob("*.*ml")) + list((tmp_path / "a").glob("figures"))


def test_a_run_is_kept_whole_or_not_at_all(tmp_path):
    run = named("a", **SMALL)
    twice = run.model_copy(update={"records": (*run.records, run.records[0])})
    with create(tmp_path) as store:
        with pytest.raises(StoreError):
            keep(twice, store)
        assert store.runs() == []
        keep(run, store)
        assert store.load("a").records == run.records
