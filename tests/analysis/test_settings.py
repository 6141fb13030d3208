"""Who may be ranked, by the settings in the records."""

from __future__ import annotations

import pytest

from harness.analysis.settings import disagreements, effective, setup_faults, side_by_side
from harness.certificates import Finding
from harness.records import Limits
from tests.builders import make_failure, make_record, make_setup

SETTINGS = {
    "threads": 1,
    "inter_op_threads": 2,
    "dtype": "float32",
    "device": "cpu",
    "devices_of_weights": "cpu",
    "onednn": True,
}
EXACT = Limits(matmul_error=5e-7, flushes_denormals=False)


def records(label="pytorch:eager", limits=EXACT, blocks=2, setup=(), before=None, **settings):
    """Blocks of one setup; `before` are settings that were others after the warm-up."""
    told = {**SETTINGS, **settings}
    return [
        make_record(
            make_setup(label=label, **dict(setup)),
            block,
            settings=told,
            settings_before={**told, **(before or {})},
            limits=limits,
        )
        for block in range(blocks)
    ]


OURS = records()
THEIRS = records("tensorflow:graph", inter_op_threads=1, onednn=False, xla=False, train_traces=1)
REFERENCE = records("reference:replay", inter_op_threads=None, onednn=None, train_traces=2)


def test_work_that_was_not_done_bars_a_setup_once_for_each_check():
    wrong = [
        Finding(check="predict", ok=False, detail=f"call {block}, outputs differ")
        for block in (1, 2)
    ]
    ours = [
        it.model_copy(update={"checks": (found, Finding(check="train", ok=True))})
        for it, found in zip(OURS, wrong, strict=True)
    ]
    assert setup_faults(ours) == ("predict: call 1, outputs differ",)


def test_frameworks_as_they_are_may_be_ranked():
    for one, other in ((OURS, THEIRS), (THEIRS, REFERENCE), (REFERENCE, OURS), (OURS, OURS)):
        assert setup_faults(one) == ()
        assert disagreements(one, other) == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threads": 2}, ("threads 2", "not 1")),
        ({"dtype": "float64"}, ("dtype float64", "not float32")),
        ({"dtype": "mixed: float32, float64"}, ("mixed: float32, float64",)),
        ({"device": "gpu:0"}, ("device gpu:0", "not cpu")),
        ({"devices_of_weights": "mixed: cpu, gpu:0"}, ("devices_of_weights mixed: cpu, gpu:0",)),
    ],
)
def test_what_was_not_asked_for(settings, words):
    (fault,) = setup_faults(records(**settings))
    for each in ("pytorch:eager", *words):
        assert each in fault


def test_one_bad_block_is_enough():
    assert len(setup_faults([*records(), *records(threads=2, blocks=1)])) == 1


@pytest.mark.parametrize(
    ("error", "dtype", "fine"),
    [
        (5e-7, "float32", True),
        (1e-15, "float32", True),
        (4e-4, "float32", False),
        (3e-3, "float32", False),
        (1e-15, "float64", True),
        (5e-7, "float64", False),
    ],
)
def test_measured_precision(error, dtype, fine):
    found = records(limits=Limits(matmul_error=error), setup={"dtype": dtype}, dtype=dtype)
    faults = setup_faults(found)
    assert len(faults) == (0 if fine else 1)
    if not fine:
        assert f"{error:.1e}" in faults[0]
        assert dtype in faults[0]


def test_less_precision_is_a_choice_in_the_idiomatic_lane_but_must_be_shared():
    lane = {"lane": "idiomatic"}
    coarse = Limits(matmul_error=4e-4)
    ours = records(limits=coarse, setup=lane)
    same = records("tensorflow:fit", limits=coarse, setup=lane)
    exact = records("tensorflow:fit", setup=lane)
    assert setup_faults(ours) == ()
    assert disagreements(ours, same) == ()
    (reason,) = disagreements(ours, exact)
    for words in ("matmul_precision", "tf32-like in pytorch:eager", "float32 in tensorflow:fit"):
        assert words in reason


def test_settings_that_must_agree():
    gpu = {"device": "gpu:0"}
    places = {"device": "gpu:0", "devices_of_weights": "gpu:0"}
    on, off = (
        records(label, setup=gpu, tf32=flag, **places)
        for label, flag in (("tensorflow:graph", True), ("pytorch:eager", False))
    )
    assert disagreements(on, off) == ("tf32: True in tensorflow:graph, False in pytorch:eager",)
    assert disagreements(off, records("reference:eager", setup=gpu, **places)) == ()


def test_cores_must_agree():
    one, all_ = records("tensorflow:graph", cores="1"), records(cores="0-1")
    assert disagreements(one, all_) == ("cores: 1 in tensorflow:graph, 0-1 in pytorch:eager",)
    assert disagreements(one, THEIRS) == ()  # not told by an earlier version


@pytest.mark.parametrize("name", ["train_traces", "predict_traces", "graphs", "threads", "onednn"])
def test_what_changes_while_timed(name):
    changed = records("tensorflow:graph", **{name: 1}, before={name: 3})
    (fault,) = setup_faults(changed)
    for words in ("tensorflow:graph", name, "3 before", "1 after"):
        assert words in fault


def test_what_may_change():
    assert setup_faults(records(blas="openblas, 2 threads", before={"blas": "mkl"})) == ()
    assert (
        setup_faults(records(predict_32_arena_bytes=7, before={"predict_32_arena_bytes": 5})) == ()
    )
    appeared = records(train_traces=1)
    appeared = [it.model_copy(update={"settings_before": {}}) for it in appeared]
    assert setup_faults(appeared) == ()


def test_old_stores_and_failures_are_silent():
    old = [make_record(make_setup(), block) for block in range(2)]
    assert setup_faults(old) == ()
    assert disagreements(old, records(threads=1)) == ()
    failed = [make_failure(make_setup())]
    assert disagreements(failed, THEIRS) == disagreements([], []) == ()


def test_effective_settings_include_what_was_measured():
    found = effective(OURS[0])
    assert found["matmul_precision"] == "float32"
    assert found["flushes_denormals"] is False
    assert "matmul_precision" not in effective(make_record(make_setup(), 0))


def test_side_by_side():
    rows = side_by_side(
        {
            "pytorch:eager": OURS,
            "tensorflow:graph": records("tensorflow:graph", onednn=False, blas="mkl", loader="x"),
            "reference:eager": [*records(onednn=None), *records(threads=2, onednn=None)],
        }
    )
    by_name = {row.name: row for row in rows}
    assert list(by_name)[:4] == ["threads", "dtype", "device", "devices_of_weights"]
    assert list(by_name)[-1] == "loader"
    threads = by_name["threads"]
    assert threads.values == {
        "pytorch:eager": 1,
        "tensorflow:graph": 1,
        "reference:eager": "1 / 2",
    }
    assert threads.differs
    assert threads.must_agree
    assert by_name["onednn"].values["reference:eager"] is None
    assert by_name["onednn"].differs
    assert not by_name["onednn"].must_agree
    assert not by_name["dtype"].differs
    assert not by_name["blas"].differs  # only one has it
    assert by_name["blas"].meaning
    assert by_name["loader"].meaning == ""
    assert by_name["matmul_precision"].values["pytorch:eager"] == "float32"
    assert side_by_side({}) == ()
