"""The array library is a parameter: a stand-in for CuPy here, CuPy itself where there is a GPU."""

from __future__ import annotations

import types

import numpy as np
import pytest

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter, capture_task, network_of, rule_of
from impls.reference.capture import capture
from impls.reference.instructions import NUMPY
from impls.reference.on_gpu import OnGpu
from impls.reference.replay import Replay
from tests.reference.batches import batches


def other_library() -> tuple[types.SimpleNamespace, set[str]]:
    """NumPy under another name, and the names that were asked of it.

    What CuPy does not have it refuses: a `maximum` that reduces, `out` of `matmul` by position.
    """
    asked: set[str] = set()
    own = {
        "maximum": lambda x, y, *, out=None: np.maximum(x, y, out=out),
        "matmul": lambda x, y, *, out=None: np.matmul(x, y, out=out),
    }

    class Library(types.SimpleNamespace):
        __name__ = "numpy"

        def __getattr__(self, name: str):
            asked.add(name)
            return own.get(name) or getattr(np, name)

    return Library(), asked


@pytest.mark.parametrize(
    "name", ["mnist-mlp", "cancer-binary", "mnist-autoencoder", "article-keras"]
)
def test_everything_goes_through_the_namespace(name):
    library, asked = other_library()
    xp = OnGpu(library)
    task = CATALOGUE[name].model_copy(update={"batch_size": 4})
    network, rule = network_of(task), rule_of(task.optimizer)
    inputs, targets = batches(task, 1)[0]
    given = {"inputs": inputs, "targets": targets}
    weights = np.full(task.parameters, 0.01, np.float32)

    def step(xp, **arrays):
        return network.gradients(xp, **arrays)

    program = capture(step, {"weights": weights, **given}, xp)
    found = Replay(program, xp).run(weights=weights, **given)
    expected = network.gradients(NUMPY, weights, **given)
    np.testing.assert_array_equal(found["gradient"], expected["gradient"])
    assert {"matmul", "add", "asarray", "zeros"} <= asked
    assert rule.slots


def test_a_program_does_not_depend_on_the_library():
    task = CATALOGUE["digits-mlp"]
    one, other = (capture_task(task, "train", 32, "float32") for _ in range(2))
    assert one.instructions == other.instructions


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["eager", "replay"])
@pytest.mark.parametrize("name", ["mnist-mlp", "cancer-binary", "article-keras"])
def test_cupy_computes_what_numpy_computes(name, mode):
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no GPU: {error}")
    task = CATALOGUE[name]
    ours, reference = (
        Adapter(task, make_start(task, 0), Options(mode, device, 1, "float64"))
        for device in ("gpu:0", "cpu")
    )
    for batch in batches(task, 3):
        a, b = ours.stage(*batch), reference.stage(*batch)
        np.testing.assert_allclose(
            ours.to_numpy(ours.train_step(a)), reference.train_step(b), rtol=1e-10
        )
        for key, values in reference.gradients(b).items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(ours.gradients(a)[key], values, atol=1e-10 * scale)
    ours.synchronize()
