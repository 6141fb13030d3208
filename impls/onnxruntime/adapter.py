"""A task in ONNX Runtime: its model as a graph with the weights inside, run by one session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from harness.adapter import AdapterDefaults, Array, Options, Setting, State, Unsupported
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.onnxruntime.graph import INPUTS, OUTPUTS, build_model, products_model

CUDA = "CUDAExecutionProvider"
DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}
SPINNING = "session.intra_op.allow_spinning"
ONLY_PREDICTS = "ONNX Runtime only predicts; its package for training has ended"
LIMIT_OF_A_GRAPH = 2**31
"""Bytes of a protocol buffer; it holds the weights too."""


class Adapter(AdapterDefaults):
    """See `harness.adapter.Adapter`; batches and handles are arrays, on a GPU `OrtValue`s."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._options = options
        self._gpu = None if options.device == "cpu" else _gpu(options.device)
        self._weights = {name: it.astype(options.dtype) for name, it in start.weights.items()}
        if sum(it.nbytes for it in self._weights.values()) >= LIMIT_OF_A_GRAPH:
            raise Unsupported("an ONNX graph with its weights inside has at most 2 GiB")
        self._session = self._opened(build_model(task, self._weights, options.dtype))
        self._products: dict[int, onnxruntime.InferenceSession] = {}

    def _opened(self, model: ModelProto) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._options.threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take cores from the process whose turn is next.
        options.add_session_config_entry(SPINNING, "0")
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=self._providers()
            )
        except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
            what = str(error).partition("implementation for ")[2].split("(")[0] or str(error)
            dtype = self._options.dtype
            raise Unsupported(f"ONNX Runtime has no {what.strip()} in {dtype}") from error

    def _providers(self) -> list[Any]:
        if self._gpu is None:
            return ["CPUExecutionProvider"]
        return [(CUDA, {"device_id": self._gpu, "use_tf32": 0})]

    def _run(
        self, session: onnxruntime.InferenceSession, outputs: list[str], given: dict[str, Any]
    ) -> list[Any]:
        # On the CPU an OrtValue would only make the call slower.
        if self._gpu is None:
            return session.run(outputs, given)
        binding = session.io_binding()
        for name, value in given.items():
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, "cuda", self._gpu)
        session.run_with_iobinding(binding)
        return binding.get_outputs()

    def stage(self, inputs: Array, targets: Array) -> Any:
        return self.tensor(inputs)

    def reset(self) -> None:
        """Nothing changes between runs."""

    def train_step(self, batch: Any) -> Any:
        raise Unsupported(ONLY_PREDICTS)

    def predict(self, batch: Any) -> Any:
        return self._run(self._session, [OUTPUTS], {INPUTS: batch})[0]

    def gradients(self, batch: Any) -> dict[str, Array]:
        raise Unsupported(ONLY_PREDICTS)

    def state(self) -> State:
        return State({name: it.copy() for name, it in self._weights.items()}, {})

    def to_numpy(self, handle: Any) -> Array:
        return np.array(handle if self._gpu is None else handle.numpy())

    def tensor(self, values: Array) -> Any:
        values = np.array(values, self._options.dtype, order="C")
        if self._gpu is None:
            return values
        return onnxruntime.OrtValue.ortvalue_from_numpy(values, "cuda", self._gpu)

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        count, given = len(pairs), dict[str, Any]()
        if count not in self._products:
            self._products[count] = self._opened(products_model(self._options.dtype, count))
        for number, (left, right) in enumerate(pairs):
            given |= {f"left{number}": left, f"right{number}": right}
        return self._run(self._products[count], [f"{OUTPUTS}{it}" for it in range(count)], given)

    def settings(self) -> dict[str, Setting]:
        used, (provider, *_) = self._session.get_session_options(), self._session.get_providers()
        settings: dict[str, Setting] = {
            "threads": used.intra_op_num_threads,
            "inter_op_threads": used.inter_op_num_threads,
            "dtype": DTYPES[self._session.get_inputs()[0].type],
            "device": _device(self.tensor(np.zeros((1, 1)))),
            "devices_of_weights": f"gpu:{self._gpu}" if provider == CUDA else "cpu",
            "provider": provider,
            "optimisation": used.graph_optimization_level.name,
            "spinning": used.get_session_config_entry(SPINNING) == "1",
        }
        if provider == CUDA:
            settings["tf32"] = self._session.get_provider_options()[CUDA].get("use_tf32") != "0"
        return settings


def _gpu(device: str) -> int:
    if CUDA not in onnxruntime.get_available_providers():
        raise Unsupported("this ONNX Runtime has no CUDA provider; onnxruntime-gpu has one")
    return int(device.removeprefix("gpu:"))


def _device(value: Any) -> str:
    """What the harness calls the device where a value lies."""
    if isinstance(value, np.ndarray) or value.device_name() == "cpu":
        return "cpu"
    return f"gpu:{value._ortvalue.device_id()}"
