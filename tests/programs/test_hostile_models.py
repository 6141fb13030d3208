"""ONNX and Keras files that are broken, hostile or no MLP are refused in one clear line.

All files of a kind go through one process. None may run code, in it or elsewhere.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.__main__ import served
from harness.errors import UsageError
from harness.programs.importing import imported
from harness.programs.process import OpenProgram
from tests.sweeps import needs

h5py = pytest.importorskip("h5py")
onnx = pytest.importorskip("onnx")
needs("keras")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

MARKER = Path(tempfile.gettempdir()) / f"samestep-code-has-run-{os.getpid()}"
FEATURES, HIDDEN, CLASSES = 64, 5, 10
SHAPES = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
ARRAYS = [np.random.default_rng(0).normal(size=it) for it in SHAPES]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenProgram]:
    """One process for all files that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "numpy")  # the one that is imported soonest
        program = OpenProgram(tmp_path_factory.mktemp("scratch"))
    yield program
    program.close()
    assert not MARKER.exists()


def import_(program: OpenProgram, path: Path) -> None:
    program.read(str(path))
    imported(program.description, program.weights, "digits", "net", "cross-entropy", "sgd")


def line_of(program: OpenProgram, path: Path) -> str:
    """Why a file is no task, in one line."""
    with pytest.raises(UsageError) as error:
        import_(program, path)
    line = str(error.value)
    assert error.value.exit_code == 2
    assert len(line) < 600
    assert "Traceback" not in line
    assert "\n" not in line
    return line


def cuts(content: bytes) -> dict[str, bytes]:
    """The beginning of a file."""
    size = len(content)
    ends = {"a quarter": size // 4, "half": size // 2, "three quarters": size * 3 // 4}
    return {f"cut to {k}": content[:end] for k, end in ends.items()} | {"cut by 1": content[:-1]}


# ONNX.


def node(operator: str, *names: str, **more: Any) -> Any:
    """From all names but the last to the last one."""
    return helper.make_node(operator, [*names[:-1]], [names[-1]], **more)


RELU, LAST = node("Relu", "z", "h"), node("Gemm", "h", "w1", "b1", "y")
FIRST = node("Gemm", "x", "w0", "b0", "z")


def model(
    *nodes: Any,
    shape: tuple[Any, ...] = (None, FEATURES),
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
    axes: int = 2,
    change: Callable[[Any], Any] = lambda graph: None,
    **arrays: Any,
) -> bytes:
    """An ONNX file; `arrays` replace its constants, or add to them; None leaves one out."""
    constants: dict[str, Any] = dict(zip(("w0", "b0", "w1", "b1"), ARRAYS, strict=True)) | arrays
    double = onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        list(nodes or (FIRST, RELU, LAST)),
        "net",
        [helper.make_tensor_value_info(it, double, shape) for it in inputs],
        [helper.make_tensor_value_info(it, double, [None] * axes) for it in outputs],
        [numpy_helper.from_array(it, k) for k, it in constants.items() if it is not None],
    )
    opsets = [helper.make_opsetid(it, v) for it, v in (("", 20), ("evil", 1))]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    change(made)
    return bytes(made.SerializeToString())


def external(**entries: str) -> Callable[[Any], None]:
    """The first weights lie in another file."""

    def change(made: Any) -> None:
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return change


def first_weights(**fields: Any) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        tensor = made.graph.initializer[0]
        for name, value in fields.items():
            tensor.ClearField(name)
            if isinstance(value, list):
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return change


W0, B0, W1, B1 = ARRAYS
RELU_OF_G = node("Relu", "g", "h")
SECOND = node("Gemm", "g", "w1", "b1", "y")
PRODUCTS = node("MatMul", "x", "w0", "z"), RELU, node("MatMul", "h", "w1", "y")
NOTHING = {"w0": np.zeros((FEATURES, 0)), "b0": np.zeros(0), "w1": np.zeros((0, CLASSES))}
TEXT = np.full(SHAPES[0], "x", object)
BRANCH = helper.make_graph([node("Relu", "z", "h")], "b", [], [])
ONNX: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "ir_version"),
    "text": (b"import os\n" * 99, "not a readable .onnx file"),
    "zeros": (bytes(1000), "not a readable .onnx file"),
    "pickle": (pickle.dumps({"w": W0}), "not a readable .onnx file"),
    **{k: (it, "not a readable .onnx file") for k, it in cuts(model()).items()},
    "no graph": (model(change=lambda made: made.ClearField("graph")), "graph"),
    "no node": (model(change=lambda made: made.graph.ClearField("node")), "not a readable"),
    "no version": (model(change=lambda made: made.ClearField("opset_import")), "opset"),
    "of the future": (
        model(change=lambda made: setattr(made, "ir_version", 999)),
        "ir_version 999",
    ),
    "two inputs": (model(inputs=("x", "u")), "2 inputs and 1 outputs"),
    "two outputs": (model(outputs=("y", "h")), "1 inputs and 2 outputs"),
    "unknown operator": (model(FIRST, node("Frob", "z", "h"), LAST), "Frob"),
    "operator of others": (
        model(FIRST, node("Relu", "z", "h", domain="evil"), LAST),
        "layer 2 is evil.Relu",
    ),
    "convolution": (model(node("Conv", "x", "w0", "y"), shape=(1, 1, FEATURES)), "Conv"),
    "branch": (
        model(FIRST, node("If", "z", "h", then_branch=BRANCH, else_branch=BRANCH), LAST),
        "not a readable",
    ),
    "sum of two": (model(FIRST, RELU, node("Add", "z", "h", "g"), SECOND), "2 nodes take 'z'"),
    "doubled": (model(FIRST, node("Add", "z", "z", "h"), LAST), "layer 2 is Add"),
    "no bias": (
        model(node("MatMul", "x", "w0", "z"), node("Add", "z", "z", "g"), RELU_OF_G, LAST),
        "node Add has no constant bias",
    ),
    "cycle": (model(node("Gemm", "h", "w0", "b0", "z"), RELU, LAST), "not a readable"),
    "no weight": (model(w0=None), "not a readable"),
    "weight from outside": (model(inputs=("x", "w1"), w1=None), "2 inputs"),
    "product of three axes": (
        model(node("MatMul", "x", "w0", "y"), axes=3, w0=W0[None]),
        "(1, 64, 5)",
    ),
    "input of three axes": (model(*PRODUCTS, axes=3, shape=(2, 3, 64)), "its input has 3 axes"),
    "unknown axes": (model(*PRODUCTS, axes=3, shape=("a", "b", "c")), "its input has 3 axes"),
    "input of other width": (model(shape=(None, 7)), "not a readable"),
    "weights are texts": (model(w0=TEXT), "not a readable"),
    "weights are complex": (model(w0=W0 * 1j), "not a readable"),
    "weights are integers": (model(w0=W0.astype(np.int32)), "not a readable"),
    "weights are NaN": (model(w0=W0 * np.nan), "layer0.weight is empty, or holds"),
    "weights are infinite": (model(b1=B1 * np.inf), "layer1.bias is empty, or holds"),
    "weights are empty": (model(**NOTHING), "layer0.weight is empty, or holds"),
    "too few numbers": (model(change=first_weights(raw_data=b"12345678")), "not a readable"),
    "negative size": (model(change=first_weights(dims=[-64, 5])), "not a readable"),
    "declared huge": (model(change=first_weights(dims=[10**7, 10**7])), "not a readable"),
    "unknown type": (model(change=first_weights(data_type=99)), "not a readable"),
    "bias too wide": (model(b0=np.zeros(7)), "a bias has shape (7,)"),
    "bias of rows": (model(b0=np.zeros((16, 1)), shape=(16, FEATURES)), "a bias has shape (16, 1)"),
    "input turned": (
        model(node("Gemm", "x", "w0", "b0", "z", transA=1), RELU, LAST, shape=(FEATURES, None)),
        "transposes or scales its input",
    ),
    "input scaled": (model(node("Gemm", "x", "w0", "b0", "z", alpha=2.0), RELU, LAST), "scales"),
    "bias scaled": (model(node("Gemm", "x", "w0", "b0", "z", beta=2.0), RELU, LAST), "its bias"),
    "softmax over rows": (
        model(FIRST, RELU, node("Gemm", "h", "w1", "b1", "g"), node("Softmax", "g", "y", axis=0)),
        "layer 4 is Softmax",
    ),
    "dropout": (model(FIRST, node("Dropout", "z", "h"), LAST), "layer 2 is Dropout"),
    "no file beside it": (model(change=external(location="absent.bin")), "absent.bin"),
    "file elsewhere": (model(change=external(location="/etc/passwd")), "not a readable"),
    "file above": (model(change=external(location="../../../../etc/passwd")), "not a readable"),
    "more than its file has": (
        model(change=external(location="beside.bin", length=str(8 * W0.size))),
        "not a readable",
    ),
    "huge file beside it": (
        model(change=external(location="huge.bin")),
        "it holds 3,221,225,472 bytes; at most 1,073,741,824",
    ),
}


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("name", ONNX)
def test_a_hostile_onnx_file(name: str, worker: OpenProgram, tmp_path: Path) -> None:
    content, expected = ONNX[name]
    (tmp_path / "net.onnx").write_bytes(content)
    (tmp_path / "beside.bin").write_bytes(bytes(80))
    sparse(tmp_path / "huge.bin", 3 * 2**30)
    assert expected in line_of(worker, tmp_path / "net.onnx")


def test_the_onnx_file_that_they_are_made_of_is_a_task(worker: OpenProgram, tmp_path: Path) -> None:
    raw = np.ascontiguousarray(W0).tobytes()
    (tmp_path / "weights.bin").write_bytes(raw)
    for change in (lambda made: None, external(location="weights.bin", length=str(len(raw)))):
        (tmp_path / "net.onnx").write_bytes(model(change=change))
        worker.read(str(tmp_path / "net.onnx"))
        assert np.array_equal(worker.weights["layer0.weight"], W0)


# Keras.


def layer(kind: str, module: str = "keras.layers", **options: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": options, "registered_name": None}


def dense(units: Any, activation: Any = "linear", **options: Any) -> dict[str, Any]:
    return layer("Dense", units=units, activation=activation, **options)


def sequential(*layers: Any, shape: Any = (None, FEATURES)) -> dict[str, Any]:
    first = layer("InputLayer", batch_shape=shape, dtype="float32", name="x")
    return layer("Sequential", "keras", name="net", layers=[first, *layers])


def code() -> dict[str, Any]:
    """A function as Keras saves it, which leaves a file behind when it runs."""
    names: dict[str, Any] = {}
    exec(f"def run(x):\n    open({str(MARKER)!r}, 'w').close()\n    return x", names)
    text = base64.encodebytes(marshal.dumps(names["run"].__code__)).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


class Harm:
    def __reduce__(self) -> Any:
        return open, (str(MARKER), "w")


PICKLED = base64.b64encode(pickle.dumps(Harm())).decode()
HEAD, TAIL = dense(HIDDEN, "relu", name="dense"), dense(CLASSES, name="dense_1")
NET = sequential(HEAD, TAIL)
ACTIVATION = {"module": "os", "class_name": "function", "config": "system"}
CONFIGURATIONS: dict[str, tuple[Any, str]] = {
    "list": ([], ""),
    "null": (None, ""),
    "number": (3, ""),
    "text": ("net", ""),
    "no content": ({"class_name": "Sequential", "module": "keras"}, ""),
    "content is a list": ({**NET, "config": [1]}, ""),
    "unknown class": (sequential(layer("Frob")), "Frob"),
    "class of others": (sequential(layer("Popen", "subprocess", args="x")), "of module subprocess"),
    "function of others": (sequential(dense(3, ACTIVATION)), "of module os"),
    "Lambda": (
        sequential(layer("Lambda", function=code(), output_shape=None, arguments={})),
        "it holds code (Lambda)",
    ),
    "lambda": (sequential(dense(3, code())), "it holds code (__lambda__)"),
    "pickle": (
        sequential({**layer("TorchModuleWrapper"), "config": {"module": PICKLED}}),
        "it holds code (TorchModuleWrapper)",
    ),
    "SavedModel": (sequential(layer("TFSMLayer", filepath="/tmp")), "it holds code (TFSMLayer)"),
    "units are text": (sequential(dense("five"), TAIL), "file (TypeError: Received an invalid"),
    "units are negative": (sequential(dense(-3), TAIL), ""),
    "units are no whole number": (sequential(dense(2.5), TAIL), ""),
    "units are too many": (sequential(dense(10**12), TAIL), ""),
    "unknown activation": (sequential(dense(HIDDEN, "frob"), TAIL), "frob"),
    "unknown initializer": (sequential(dense(HIDDEN, kernel_initializer="frob"), TAIL), "frob"),
    "unknown dtype": (sequential(dense(HIDDEN, dtype="float7"), TAIL), "float7"),
    "unknown option": (sequential(dense(HIDDEN, frob=1), TAIL), "frob"),
    "input is text": (sequential(HEAD, TAIL, shape="wide"), ""),
    "dropout": (sequential(HEAD, layer("Dropout", rate=0.5), TAIL), "layer 3 is Dropout"),
    "no layer": (sequential(), ""),
    "layer and no model": (HEAD, ""),
}


def stored(arrays: Mapping[str, Any]) -> bytes:
    """An HDF5 file; what is no array is called with the file and the name."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, values in arrays.items():
            put(file, name, values)
    return content.getvalue()


def put(group: Any, name: str, values: Any) -> None:
    if callable(values):
        values(group, name)
    else:
        group[name] = values


def packed(
    configuration: Any = NET, first: Any = ARRAYS[0], more: Mapping[str, Any] | None = None
) -> bytes:
    """A `.keras` file with other first weights, or with `more` members (None leaves one out)."""
    names = ("dense/vars/0", "dense/vars/1", "dense_1/vars/0", "dense_1/vars/1")
    weights = zip(names, (first, *ARRAYS[1:]), strict=True)
    members = {
        "metadata.json": b'{"keras_version": "3.0.0"}',
        "config.json": json.dumps(configuration).encode(),
        "model.weights.h5": stored({f"layers/{k}": it for k, it in weights}),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in (members | dict(more or {})).items():
            if member is not None:
                file.writestr(name, member)
    return content.getvalue()


def legacy(configuration: Any = NET, first: Any = ARRAYS[0], **attributes: Any) -> bytes:
    """An `.h5` file."""
    names = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"dense", b"dense_1"]
        for name, values in zip(names, (first, *ARRAYS[1:]), strict=True):
            put(group, name, values)
        for name in ("dense", "dense_1"):
            group[name].attrs["weight_names"] = [b"kernel", b"bias"]
        file.attrs["model_config"] = json.dumps(configuration)
        for name, value in attributes.items():
            file.attrs[name] = value
    return content.getvalue()


def bomb(group: Any, name: str) -> None:
    """8 GiB of zeros, of which nothing is stored."""
    group.create_dataset(name, (2**15, 2**15), "f8", chunks=(2**10, 2**10), compression="gzip")


def in_another_file(group: Any, name: str) -> None:
    group.create_dataset(name, SHAPES[0], "f8", external=[("/etc/passwd", 0, 8 * ARRAYS[0].size)])


def linked(link: Any) -> Callable[[Any, str], None]:
    def write(group: Any, name: str) -> None:
        group[name] = link

    return write


def virtual(group: Any, name: str) -> None:
    layout = h5py.VirtualLayout(SHAPES[0], "f8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", SHAPES[0])
    group.create_virtual_dataset(name, layout)


def declared(content: bytes, size: int) -> bytes:
    """A zip file whose first member claims to unpack to `size` bytes."""
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, x=np.array([Harm()], object))
    return content.getvalue()


ODD_WEIGHTS: dict[str, tuple[Any, str]] = {
    "weights of another shape": (np.zeros((3, 3)), ""),
    "weights are NaN": (ARRAYS[0] * np.nan, "layer0.weight is empty, or holds"),
    "weights are texts": ([b"x"] * 3, ""),
    "bomb": (bomb, "it holds 8,589,9"),
    "weights in another file": (in_another_file, ""),
    "external link": (linked(h5py.ExternalLink("/tmp/other.h5", "/x")), ""),
    "soft link": (linked(h5py.SoftLink("/nowhere")), ""),
    "virtual": (virtual, ""),
}
KERAS: dict[str, tuple[bytes, str]] = {
    **{f".json {k}": (json.dumps(it).encode(), e) for k, (it, e) in CONFIGURATIONS.items()},
    **{f".json {k}": (it, "JSONDecodeError") for k, it in cuts(json.dumps(NET).encode()).items()},
    ".json empty": (b"", "JSONDecodeError"),
    ".json no UTF-8": (b'{"class_name": "\xff\xfe\xfa"}', "UnicodeDecodeError"),
    ".json deep": (b"[" * 10**5, "RecursionError"),
    ".json NaN": (json.dumps(sequential(dense(float("nan")))).encode(), ""),
    **{f".keras {k}": (packed(it), e) for k, (it, e) in CONFIGURATIONS.items()},
    **{f".keras {k}": (it, "not a readable .keras file") for k, it in cuts(packed()).items()},
    **{f".keras {k}": (packed(first=it), e) for k, (it, e) in ODD_WEIGHTS.items()},
    ".keras empty": (b"", "not a zip file"),
    ".keras of HDF5": (legacy(), "not a zip file"),
    ".keras without configuration": (packed(more={"config.json": None}), "config.json"),
    ".keras without weights": (packed(more={"model.weights.h5": None}), "model.weights.h5"),
    ".keras with pickles": (
        packed(more={"model.weights.h5": None, "model.weights.npz": npz()}),
        "model.weights.h5",
    ),
    ".keras with no JSON": (packed(more={"config.json": b"net"}), "JSONDecodeError"),
    ".keras with no HDF5": (packed(more={"model.weights.h5": b"net"}), "not a readable"),
    ".keras zip bomb": (declared(packed(), 2**31), "it holds 2,147,"),
    **{f".h5 {k}": (legacy(it), e) for k, (it, e) in CONFIGURATIONS.items()},
    **{f".h5 {k}": (it, "not a readable .h5 file") for k, it in cuts(legacy()).items()},
    **{f".h5 {k}": (legacy(first=it), e) for k, (it, e) in ODD_WEIGHTS.items()},
    ".h5 empty": (b"", "not a readable .h5 file"),
    ".h5 of zip": (packed(), "not a readable .h5 file"),
    ".h5 of weights": (stored({"x": ARRAYS[0]}), "No model config"),
    ".h5 with no JSON": (legacy(model_config="net"), "JSONDecodeError"),
    ".h5 with a number": (legacy(model_config=3.5), "TypeError"),
    ".h5 with code to train by": (
        legacy(training_config=json.dumps({"loss": code()})),
        "it holds code (__lambda__)",
    ),
}


@pytest.mark.parametrize("name", KERAS)
def test_a_hostile_keras_file(name: str, worker: OpenProgram, tmp_path: Path) -> None:
    content, expected = KERAS[name]
    path = tmp_path / f"net{name.partition(' ')[0]}"
    path.write_bytes(content)
    assert expected in line_of(worker, path)
    assert not MARKER.exists()


@pytest.mark.parametrize("suffix", [".json", ".keras", ".h5", ".onnx"])
def test_a_file_that_is_too_large_is_not_read(
    suffix: str, worker: OpenProgram, tmp_path: Path
) -> None:
    line = line_of(worker, sparse(tmp_path / f"net{suffix}", 2 * 2**30))
    assert line == f"net{suffix}: it holds 2,147,483,648 bytes; at most 1,073,741,824"


def test_the_keras_files_that_they_are_made_of_are_tasks(
    worker: OpenProgram, tmp_path: Path
) -> None:
    for suffix, content in (
        (".json", json.dumps(NET).encode()),
        (".keras", packed()),
        (".h5", legacy()),
    ):
        (tmp_path / f"net{suffix}").write_bytes(content)
        worker.read(str(tmp_path / f"net{suffix}"))
        if suffix != ".json":
            assert np.allclose(worker.weights["layer0.weight"], ARRAYS[0], rtol=1e-6)


def test_there_are_enough_of_each_kind() -> None:
    kinds = [name.partition(" ")[0] for name in KERAS]
    assert min(len(ONNX), *(kinds.count(it) for it in (".json", ".keras", ".h5"))) >= 20


def test_the_command_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.onnx").write_bytes(ONNX["dropout"][0])
    words = ["task", "import", str(tmp_path / "net.onnx"), "--data", "digits"]
    assert served([*words, "--loss", "cross-entropy", "--optimizer", "sgd"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [printed.err.strip()]
    assert "layer 2 is Dropout" in printed.err
