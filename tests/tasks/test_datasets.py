"""The data sets: shapes, splits and scales as promised, checksums enforced, staging exact."""

import gzip
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.tasks import datasets
from harness.tasks import datasets as embedded
from harness.tasks import datasets as teacher
from harness.tasks import mnist as images
from harness.tasks.datasets import (
    Arrays,
    data_directory,
    load,
    missing,
    open_staged,
    write_staged,
)
from harness.tasks.mnist import File, Published, TruncatedError, content_sum, header
from harness.tasks.spec import DOWNLOADED, KNOWN, Known, Teacher

EMBEDDED = sorted(set(KNOWN) - set(DOWNLOADED))
NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def mnist():
    directory = data_directory(None)
    if reason := missing(Known(name="mnist"), directory):
        pytest.skip(f"needs MNIST (set SAMESTEP_DATA): {reason}")
    return load(Known(name="mnist"), directory)


def check_promises(data, arrays):
    """What the docstring of `Arrays` says, and the sizes of `data.shape`."""
    shape = data.shape
    for inputs, targets, rows in (
        (arrays.x_train, arrays.y_train, shape.train),
        (arrays.x_test, arrays.y_test, shape.test),
    ):
        assert inputs.shape == (rows, shape.features)
        assert inputs.dtype == np.float32
        assert np.isfinite(inputs).all()
        if shape.kind == "classes":
            assert (targets.shape, targets.dtype) == ((rows,), np.int64)
            assert targets.min() >= 0
            assert targets.max() < shape.outputs
        else:
            assert (targets.shape, targets.dtype) == ((rows, shape.outputs), np.float32)
        if shape.kind == "binary":
            assert set(np.unique(targets)) == {0, 1}


# Where data lie


def test_data_directory_by_option_environment_and_default(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMESTEP_DATA", "~/there")
    assert data_directory(tmp_path) == tmp_path
    assert data_directory(None) == Path.home() / "there"
    monkeypatch.setenv("SAMESTEP_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory(None).name in ("samestep", "Cache")
    assert data_directory(Path("~/here")) == Path.home() / "here"


@pytest.mark.parametrize("name", DOWNLOADED)
def test_missing_says_what_to_type(monkeypatch, tmp_path, name):
    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path))
    line = missing(Known(name=name), tmp_path)
    assert line.endswith(f"is absent: run `python -m harness data fetch {name}` to get it")
    other = missing(Known(name=name), tmp_path / "else where")
    assert f"fetch {name} --data-dir '{tmp_path}/else where'`" in other
    assert "\n" not in line + other


@pytest.mark.parametrize("data", [Teacher(), *(Known(name=name) for name in EMBEDDED)])
def test_embedded_and_synthetic_data_are_never_missing(data):
    assert missing(data, NOWHERE) is None


def test_missing_wants_all_four_files_plain_or_packed(tmp_path):
    (tmp_path / "mnist").mkdir()
    for file in images.PUBLISHED["mnist"].files:
        line = missing(Known(name="mnist"), tmp_path)
        assert file.archive in line
        packed = "images" in file.name
        (tmp_path / "mnist" / (file.archive if packed else file.name)).touch()
    assert missing(Known(name="mnist"), tmp_path) is None


def test_importing_the_module_is_cheap():
    """A worker imports it, so it may bring NumPy and what tasks need, and nothing heavy."""
    code = (
        "import sys, harness.tasks.datasets, harness.tasks.fetch;"
        "print({'sklearn', 'scipy', 'pooch', 'requests', 'pandas', 'tqdm'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert output.stdout.strip() == b"set()"


# Data sets of scikit-learn


@pytest.mark.parametrize("target", ["labels", "inputs"])
@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_are_as_promised(name, target):
    data = Known(name=name, target=target)
    arrays = load(data, NOWHERE)
    check_promises(data, arrays)
    assert all(
        np.array_equal(one, two) for one, two in zip(arrays, load(data, NOWHERE), strict=True)
    )
    if target == "inputs":
        assert arrays.y_train is arrays.x_train
        assert arrays.y_test is arrays.x_test


@pytest.mark.parametrize("name", EMBEDDED)
def test_files_of_scikit_learn_hold_what_its_functions_return(name, monkeypatch, tmp_path):
    columns, target = embedded.read(name)
    monkeypatch.setattr(embedded, "_folder", lambda: tmp_path)
    asked_columns, asked_target = embedded.read(name)
    assert np.array_equal(columns, asked_columns)
    assert np.array_equal(target, asked_target)
    assert columns.dtype == target.dtype == asked_target.dtype == np.float64


def test_embedded_data_need_no_import_of_scikit_learn():
    code = (
        "import sys; from harness.tasks import datasets\n"
        "for it in datasets.SOURCES: datasets.read(it)\n"
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_digits_are_split_once_and_for_all():
    """Every row is in one part, and always in the same one."""
    from sklearn.datasets import load_digits

    arrays = load(Known(name="digits"), NOWHERE)
    assert (arrays.x_train.min(), arrays.x_train.max()) == (0, 1)
    assert arrays.y_test[:12].tolist() == [0, 8, 8, 9, 8, 3, 7, 5, 0, 6, 6, 3]
    pixels, labels = load_digits(return_X_y=True)
    whole = np.c_[pixels / 16, labels]
    parts = np.r_[np.c_[arrays.x_train, arrays.y_train], np.c_[arrays.x_test, arrays.y_test]]
    assert np.array_equal(whole[np.lexsort(whole.T)], parts[np.lexsort(parts.T)])


@pytest.mark.parametrize("name", ["cancer", "diabetes"])
def test_columns_are_standardised_by_the_training_rows(name):
    arrays = load(Known(name=name), NOWHERE)
    standardised = [arrays.x_train] + ([arrays.y_train] if name == "diabetes" else [])
    for columns in standardised:
        assert np.abs(columns.mean(axis=0, dtype=np.float64)).max() < 1e-6
        assert np.abs(columns.std(axis=0, dtype=np.float64) - 1).max() < 1e-6
    assert np.abs(arrays.x_test.mean(axis=0)).max() > 0.01


def test_another_release_with_other_rows_is_refused(monkeypatch):
    short = Arrays(*(array[:9] for array in load(Known(name="digits"), NOWHERE)))
    monkeypatch.setattr(datasets, "_embedded", lambda name: short)
    with pytest.raises(DataError, match="digits: inputs of shapes"):
        load(Known(name="digits"), NOWHERE)


# MNIST


def test_mnist_is_mnist(mnist):
    check_promises(Known(name="mnist"), mnist)
    assert mnist.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(mnist.y_test).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 1)
    assert mnist.x_train.mean(dtype=np.float64) == pytest.approx(0.1306604762)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A data set like MNIST, of four rows, in the place of MNIST."""
    contents = {
        "train-images": np.arange(16, dtype=np.uint8).reshape(4, 2, 2),
        "train-labels": np.array([0, 1, 2, 3], np.uint8),
        "t10k-images": np.full((2, 2, 2), 255, np.uint8),
        "t10k-labels": np.array([4, 5], np.uint8),
    }
    files = tuple(
        File(name, array.shape, content_sum(array), 0, "") for name, array in contents.items()
    )
    monkeypatch.setattr(images, "PUBLISHED", {"mnist": Published((), files)})
    monkeypatch.setattr(datasets, "_check_sizes", lambda *_: None)
    (tmp_path / "mnist").mkdir()
    for name, array in contents.items():
        content = header(array.shape) + array.tobytes()
        (tmp_path / "mnist" / name).write_bytes(content)
    return tmp_path


def test_images_are_flattened_and_scaled(small):
    arrays = load(Known(name="mnist"), small)
    assert np.array_equal(arrays.x_train, np.arange(16, dtype=np.float32).reshape(4, 4) / 255)
    assert arrays.y_train.tolist() == [0, 1, 2, 3]
    assert arrays.x_test.tolist() == [[1] * 4] * 2
    again = load(Known(name="mnist", target="inputs"), small)
    assert again.y_train is again.x_train


def test_corrupt_truncated_and_misplaced_files_are_named(small):
    path = small / "mnist" / "train-images"
    good = path.read_bytes()
    changed = good[:-1] + b"\xff"
    for content, kind, reason in (
        (good[:-1], TruncatedError, "truncated"),
        (good + b"\x00", DataError, "more bytes"),
        (changed, DataError, "its content is not that of mnist"),
        (b"hello", DataError, "not an IDX file"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load(Known(name="mnist"), small)
        message = str(caught.value)
        assert caught.type is kind
        assert message.startswith(f"{path}: ")
        assert reason in message
        assert "run `python -m harness data fetch mnist" in message
        assert "\n" not in message
    path.unlink()
    with pytest.raises(DataError, match="is absent"):
        load(Known(name="mnist"), small)


def test_a_fetched_archive_goes_before_a_plain_file(small):
    plain = small / "mnist" / "train-images"
    plain.with_name("train-images.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.write_bytes(b"corrupt")
    assert load(Known(name="mnist"), small).x_train.shape == (4, 4)


# The teacher


@pytest.mark.parametrize(
    "data",
    [
        Teacher(),
        Teacher(features=1, classes=2, train=5, test=1, teacher_width=1),
        Teacher(features=3, classes=50, train=100, test=300, teacher_width=7, seed=2**63 - 1),
    ],
)
def test_teacher_is_as_promised_and_repeatable(data):
    arrays = load(data, NOWHERE)
    check_promises(data, arrays)
    assert all(
        np.array_equal(one, two) for one, two in zip(arrays, load(data, NOWHERE), strict=True)
    )


def test_teacher_is_pinned():
    """Another platform or release of NumPy that draws other numbers must not pass unseen."""
    arrays = load(Teacher(), NOWHERE)
    assert arrays.x_train[0, :3].tolist() == pytest.approx(
        [0.8756758570671082, 0.6650583744049072, -0.482676237821579], rel=1e-6
    )
    assert arrays.y_train[:12].tolist() == [4, 2, 8, 2, 8, 2, 3, 7, 9, 6, 1, 7]


def test_teacher_seeds_and_parts_differ():
    arrays = load(Teacher(train=2048), NOWHERE)
    assert not np.array_equal(arrays.x_train, arrays.x_test)
    other = load(Teacher(train=2048, seed=1), NOWHERE)
    assert not np.array_equal(arrays.x_train, other.x_train)
    both = np.corrcoef(arrays.x_train.ravel(), arrays.x_test.ravel())[0, 1]
    assert abs(both) < 0.02


def test_more_teacher_rows_are_more_of_the_same_problem():
    few = load(Teacher(train=100, test=50), NOWHERE)
    many = load(Teacher(train=300, test=80), NOWHERE)
    for one, two in zip(few, many, strict=True):
        assert np.array_equal(one, two[: len(one)])


@pytest.mark.parametrize("classes", [2, 4, 10, 100])
def test_teacher_classes_are_balanced(classes):
    labels = load(Teacher(classes=classes, train=20_000), NOWHERE).y_train
    shares = np.bincount(labels, minlength=classes) * classes / len(labels)
    assert shares.min() > 0.5
    assert shares.max() < 2


def test_teacher_can_be_learnt():
    """Least squares on the raw inputs is far better than chance, and not perfect."""
    arrays = load(Teacher(), NOWHERE)
    weights = np.linalg.lstsq(arrays.x_train, np.eye(10)[arrays.y_train], rcond=None)[0]
    accuracy = np.mean((arrays.x_test @ weights).argmax(axis=1) == arrays.y_test)
    assert 0.4 < accuracy < 0.9


def test_teacher_works_in_chunks(monkeypatch):
    data = Teacher(features=16, classes=200, train=50_000, test=10)
    tracemalloc.start()
    try:
        whole = load(data, NOWHERE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held = sum(array.nbytes for array in whole)
    assert peak - held < 3 * 8 * teacher.CHUNK
    monkeypatch.setattr(teacher, "CHUNK", 10_000)
    again = load(data, NOWHERE)
    assert np.array_equal(whole.y_train, again.y_train)


# Staging


@pytest.mark.parametrize(
    "data",
    [Known(name="digits"), Known(name="digits", target="inputs"), Known(name="cancer"), Teacher()],
)
def test_staged_arrays_are_the_same(tmp_path, data):
    arrays = load(data, NOWHERE)
    write_staged(arrays, tmp_path / "new" / "staged")
    staged = open_staged(tmp_path / "new" / "staged")
    for one, two in zip(arrays, staged, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)
        assert type(two) is np.ndarray
        assert not two.flags.writeable
    assert (staged.y_train is staged.x_train) == (arrays.y_train is arrays.x_train)
    files = {path.name for path in (tmp_path / "new" / "staged").iterdir()}
    shared = {"x_train.npy", "x_test.npy", "arrays.json"}
    assert files == (
        shared if arrays.y_train is arrays.x_train else shared | {"y_train.npy", "y_test.npy"}
    )


@pytest.fixture
def staged(tmp_path):
    directory = tmp_path / "staged"
    write_staged(Arrays(*load(Teacher(features=2, train=9, test=4), NOWHERE)), directory)
    return directory


def test_staging_again_replaces_and_spares_who_still_reads(staged):
    before = open_staged(staged)
    kept = before.x_train.copy()
    arrays = load(Teacher(features=3, train=7, test=4), NOWHERE)
    write_staged(arrays, staged)
    assert np.array_equal(before.x_train, kept)
    assert open_staged(staged).x_train.shape == (7, 3)


def test_staging_that_fails_leaves_nothing_to_open(staged, monkeypatch):
    before = sorted(os.listdir(staged))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="cannot stage data: No space left on device"):
        write_staged(load(Teacher(train=9), NOWHERE), staged)
    assert sorted(os.listdir(staged)) == [name for name in before if name != "arrays.json"]
    with pytest.raises(DataError, match="no staged data"):
        open_staged(staged)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot stage data"):
        write_staged(load(Teacher(train=9), NOWHERE), tmp_path / "file")


def _manifest(**changes):
    files = {field: f"{field}.npy" for field in Arrays._fields}
    return json.dumps({**files, **changes})


def _saved(array):
    def write(path):
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=True)

    return write


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("arrays.json", lambda path: path.unlink(), "no staged data: .*arrays.json is absent"),
        ("x_test.npy", lambda path: path.unlink(), "no staged data: .*x_test.npy is absent"),
        ("arrays.json", lambda path: path.write_text("{"), "malformed"),
        ("arrays.json", lambda path: path.write_text("[]"), "does not name the four arrays"),
        ("arrays.json", lambda path: path.write_bytes(b"\xff"), "malformed"),
        ("arrays.json", lambda path: path.write_text(_manifest(more=1)), "does not name"),
        ("arrays.json", lambda path: path.write_text(_manifest(x_test="../x.npy")), "names '../x"),
        ("arrays.json", lambda path: path.write_text(_manifest(x_test=["a"])), "malformed"),
        ("arrays.json", lambda path: path.write_text(_manifest(x_test=3)), "malformed"),
        ("x_train.npy", lambda path: path.write_bytes(b""), "malformed"),
        ("x_train.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), "malformed"),
        ("x_train.npy", lambda path: path.write_bytes(path.read_bytes()[:40]), "malformed"),
        ("x_train.npy", lambda path: path.write_bytes(pickle.dumps([1])), "malformed"),
        ("x_train.npy", _saved(np.array([[None]])), "malformed"),
        ("x_train.npy", _saved(np.zeros((9, 2))), "inputs of shape .* float64"),
        ("x_train.npy", _saved(np.zeros(9, np.float32)), "inputs of shape"),
        ("y_train.npy", _saved(np.zeros(8, np.int64)), "targets of shape"),
        ("y_train.npy", _saved(np.zeros(9, np.int32)), "targets of shape"),
        ("y_train.npy", _saved(np.zeros((9, 1), np.int64)), "targets of shape"),
    ],
)
def test_malformed_staging_is_refused(staged, name, damage, reason):
    path = staged / name
    damage(path)
    with pytest.raises(DataError, match=reason) as caught:
        open_staged(staged)
    assert str(staged) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_of_arrays_is_no_array(staged):
    np.savez(staged / "x_test.npz", np.zeros(3))
    (staged / "x_test.npz").replace(staged / "x_test.npy")
    with pytest.raises(DataError, match=r"x_test\.npy is no single array"):
        open_staged(staged)
