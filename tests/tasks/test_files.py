"""A user's own tasks from TOML: the same validation, and one line for every mistake."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.tasks.spec import SGD
from harness.tasks.variants import MAX_BYTES, read_task_file, read_toml

GOOD = """\
[[task]]
name = "my-net"
data = { name = "digits" }
model = { hidden = [128, 64], activation = "gelu" }
loss = "cross-entropy"
optimizer = { name = "sgd", learning_rate = 0.1, momentum = 0.9 }
batch_size = 64
epochs = 10
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "tasks.toml"


def attempt(path, content):
    """The tasks, or the error, whose one line names the file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        return read_task_file(path), None
    except UsageError as caught:
        error = caught
    assert str(error).startswith(f"{path}: ")
    assert len(str(error).splitlines()) == 1
    return None, str(error)


def test_a_good_file(path):
    (task,), error = attempt(path, GOOD)
    assert error is None
    assert task.name == "my-net"
    assert task.model.hidden == (128, 64)
    assert task.optimizer == SGD(learning_rate=0.1, momentum=0.9)
    assert (task.batch_size, task.epochs, task.target) == (64, 10, None)


def test_the_example_in_the_documentation_is_valid(path):
    import harness.tasks.variants as module

    tasks, error = attempt(path, "[[" + module.__doc__.partition("[[")[2])
    assert error is None
    assert tasks[0].name == "my-net"


def test_several_tasks_and_windows_line_ends(path):
    tasks, _ = attempt(path, (GOOD + GOOD.replace("my-net", "other")).replace("\n", "\r\n"))
    assert [task.name for task in tasks] == ["my-net", "other"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "expected one or more [[task]] tables and nothing else"),
        ("[task]\nname = 'x'", "expected one or more [[task]]"),
        ("task = []", "expected one or more [[task]]"),
        ("task = 3", "expected one or more [[task]]"),
        (GOOD + "[other]\n", "expected one or more [[task]]"),
        ("task = [3]", "task 1: Input should be a valid dictionary"),
        (GOOD.replace("epochs = 10", "epochs = ="), "not valid TOML: Invalid value (at line 8"),
        (
            GOOD + "[[task\n",
            "not valid TOML: Expected ']]' at the end of an array declaration (at line 9",
        ),
        (GOOD + "epochs = 11\n", "not valid TOML: Cannot overwrite a value (at line 9"),
        (GOOD + GOOD, "task 2: the name 'my-net' is taken"),
        (GOOD.replace("my-net", "mnist-mlp"), "task 1: the name 'mnist-mlp' is taken"),
        (GOOD.replace("epochs = 10", "epochs = 0"), "task 1: epochs: Input should be greater"),
        (GOOD.replace("epochs = 10", "epochs = nan"), "task 1: epochs: "),
        (
            GOOD.replace("0.1", "nan"),
            "task 1: optimizer.sgd.learning_rate: Input should be a finite",
        ),
        (GOOD.replace("batch_size = 64", "batch_size = 5000"), "more than the 1437 training"),
        (GOOD.replace("digits", "imagenet"), "task 1: data: Input tag 'imagenet'"),
        (GOOD.replace("epochs", "epoch"), "task 1: epochs: Field required"),
        (GOOD + '"two\\nlines" = 1\n', r"task 1: 'two\nlines': Extra inputs"),
        (GOOD.replace("10", "9" * 5000), "not valid TOML"),
        ("a = " + "[" * 100_000, "not valid TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"#" * (MAX_BYTES + 1), "larger than 1,000,000 bytes"),
        (b"\x00", "not valid TOML"),
    ],
)
def test_mistakes_are_one_line(path, content, problem):
    tasks, error = attempt(path, content)
    assert tasks is None
    assert problem in error


@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_other_editors_add_is_read(path, begin, end):
    tasks, _ = attempt(path, (begin + GOOD.replace("\n", end)).encode())
    assert [it.name for it in tasks] == ["my-net"]


def test_absent_files_directories_and_endless_devices(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.toml: No such file or directory"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="Is a directory"):
        read_toml(tmp_path)
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="larger than"):
        read_toml(tmp_path / "endless.toml")


WORDS = st.sampled_from(
    [
        *("[[task]]", "[", "]", "{", "}", "=", ",", ".", "#", "-", '"', "'''", "\n", "\r"),
        *("name", "data", "digits", "optimizer", "é", "\\u0000"),
        *("1e999", "0x", "nan", "true", "1979-05-27"),
    ]
)


@settings(max_examples=300)
@given(content=st.binary(max_size=80) | st.text(max_size=80) | st.lists(WORDS).map(" ".join))
@example("task=[{name='''\n'''}]")
def test_arbitrary_content_gives_tasks_or_one_line(path, content):
    try:
        encoded = content if isinstance(content, bytes) else content.encode()
    except UnicodeEncodeError:
        return
    attempt(path, encoded)


@settings(max_examples=300)
@given(
    place=st.integers(0, len(GOOD) - 1), length=st.integers(0, 12), put=WORDS | st.text(max_size=3)
)
def test_a_good_file_with_something_changed(path, place, length, put):
    content = GOOD[:place] + put + GOOD[place + length :]
    try:
        encoded = content.encode()
    except UnicodeEncodeError:
        return
    tasks, error = attempt(path, encoded)
    assert (tasks is None) != (error is None)
