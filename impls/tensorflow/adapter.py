"""A task in TensorFlow: a Keras `Sequential`, `GradientTape`, and a Keras optimizer."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported, Work, common
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.tensorflow.building import LOSSES, build_model
from impls.tensorflow.optimizers import exact


class Batch(NamedTuple):
    inputs: tf.Tensor
    targets: tf.Tensor


class Adapter:
    """See `harness.adapter.Adapter`; a `Batch` is a pair of tensors, a handle is a tensor."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        # On by default, on GPUs that have it; float32 means float32 here.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        # XLA in the modes that say so, and in no other: TF_XLA_FLAGS may turn it on for all.
        tf.config.optimizer.set_jit(False)
        keras.config.set_floatx(options.dtype)
        keras.config.set_dtype_policy(options.dtype)
        self._device = _device(options.device)
        self._on_cpu = options.device == "cpu"
        self._dtype = options.dtype
        self._targets = options.dtype if task.data.shape.kind != "classes" else "int64"
        self._mode = options.mode
        self._loss = LOSSES[task.loss]

        with tf.device(self._device):
            self._start = [values.astype(options.dtype) for values in start.weights.values()]
            self._names = list(start.weights)
            self._model = build_model(task)
            self._optimizer = exact(task.optimizer)
            self._optimizer.build(self._model.trainable_variables)
        self._slots = dict(zip(task.optimizer.slots, self._optimizer.slots(), strict=True))

        compiled = self._compiled if options.mode != "eager" else lambda function: function
        self._train = compiled(self._train_eagerly)
        self._predict = compiled(lambda inputs: self._model(inputs, training=False))
        self._gradients = compiled(lambda *batch: self._loss_and_gradients(*batch)[1])
        self._products = compiled(bare_products)
        self.reset()

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return tf.function(function, jit_compile=self._mode == "xla", autograph=False)

    def _loss_and_gradients(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss(targets, self._model(inputs, training=True))
        return loss, tape.gradient(loss, self._variables())

    def _train_eagerly(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._loss_and_gradients(inputs, targets)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss

    def _variables(self) -> list[tf.Variable]:
        return [variable.value for variable in self._model.trainable_variables]

    def stage(self, inputs: Array, targets: Array) -> Batch:
        with tf.device(self._device):
            return Batch(
                self._owned(np.asarray(inputs, self._dtype)),
                self._owned(np.asarray(targets, self._targets)),
            )

    def _owned(self, values: Array) -> tf.Tensor:
        """A tensor in TensorFlow's own memory.

        On the CPU it would otherwise lie in NumPy's wherever that happens to be aligned: uncounted,
        and copied by the first step that writes to it.
        """
        tensor = tf.convert_to_tensor(values)
        return tf.raw_ops.DeepCopy(x=tensor) if self._on_cpu else tf.identity(tensor)

    def reset(self) -> None:
        with tf.device(self._device):
            for variable, values in zip(self._variables(), self._start, strict=True):
                variable.assign(self._owned(values))
        for variable in self._optimizer.variables:
            # The learning rate is one of the optimizer's variables; it stays.
            if variable is not self._optimizer._learning_rate:
                variable.assign(tf.zeros_like(variable.value))

    def train_step(self, batch: Batch) -> tf.Tensor:
        return self._train(batch.inputs, batch.targets)

    def predict(self, batch: Batch) -> tf.Tensor:
        return self._predict(batch.inputs)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        return self._canonical(self._gradients(batch.inputs, batch.targets))

    def state(self) -> State:
        slots: dict[str, Array] = {}
        for slot, variables in self._slots.items():
            slots |= {f"{slot}/{name}": it for name, it in self._canonical(variables).items()}
        return State(self._canonical(self._variables()), slots)

    def _canonical(self, tensors: Iterable[Any]) -> dict[str, Array]:
        # Keras stores a weight as the shared start does, (in, out).
        return {
            name: self.to_numpy(tensor) for name, tensor in zip(self._names, tensors, strict=True)
        }

    def to_numpy(self, handle: Any) -> Array:
        return np.array(handle)

    def synchronize(self) -> None:
        # On the CPU, TensorFlow returns only when it is done.
        if not self._on_cpu:
            tf.test.experimental.sync_devices()

    def reset_device_memory(self) -> bool:
        if not self._on_cpu:
            tf.config.experimental.reset_memory_stats(self._device.strip("/"))
        return not self._on_cpu

    def device_memory(self) -> DeviceMemory | None:
        if self._on_cpu:
            return None
        info = tf.config.experimental.get_memory_info(self._device.strip("/"))
        return DeviceMemory(info["current"], info["peak"], None)

    def logical_peak(self, work: Work) -> int | None:
        """The second of two runs is counted, when everything is traced.

        On the CPU only one of TensorFlow's allocators counts every tensor, and it must be chosen
        before the first one is made: by the environment in the framework's `accounting`. None
        with any other.
        """
        device = self._device.strip("/")
        work.run()
        self.synchronize()
        gc.collect()
        if not self._counts(device):
            return None
        tf.config.experimental.reset_memory_stats(device)
        work.run()
        self.synchronize()
        return tf.config.experimental.get_memory_info(device)["peak"]

    def _counts(self, device: str) -> bool:
        """Whether the device's allocator has an account, and a small tensor shows up in it."""
        try:
            before = tf.config.experimental.get_memory_info(device)["current"]
        except ValueError:
            return False
        small = self.tensor(np.zeros(256))
        after = tf.config.experimental.get_memory_info(device)["current"]
        return after - before >= small.shape[0] * small.dtype.size

    def tensor(self, values: Array) -> tf.Tensor:
        with tf.device(self._device):
            return self._owned(np.asarray(values, self._dtype))

    def products(self, pairs: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> list[tf.Tensor]:
        return self._products(pairs)

    def settings(self) -> dict[str, Setting]:
        if self._mode != "eager" and tf.config.functions_run_eagerly():
            raise Unsupported("TensorFlow traces nothing here: run_functions_eagerly is on")
        weights = self._variables()
        settings: dict[str, Setting] = {
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "dtype": common(it.dtype.name for it in weights),
            "device": _name(self.tensor(np.zeros((1, 1))).device),
            "devices_of_weights": common(_name(it.device) for it in weights),
            "onednn": _onednn(),
            "xla": self._mode == "xla",
            "compile": None if self._mode == "eager" else "tf.function",
        }
        if not self._on_cpu:
            gpu = tf.config.list_physical_devices("GPU")[int(self._device.rpartition(":")[2])]
            settings["gpu"] = tf.config.experimental.get_device_details(gpu).get("device_name")
            settings["tf32"] = tf.config.experimental.tensor_float_32_execution_enabled()
        if self._mode != "eager":
            settings["train_traces"] = self._train.experimental_get_tracing_count()
            settings["predict_traces"] = self._predict.experimental_get_tracing_count()
        return settings


def bare_products(pairs: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> list[tf.Tensor]:
    return [tf.linalg.matmul(left, right) for left, right in pairs]


def _device(name: str) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if name == "cpu":
        return "/CPU:0"
    index = int(name.removeprefix("gpu:"))
    if index >= len(gpus):
        raise Unsupported(f"TensorFlow sees {len(gpus)} GPU(s) (a CPU build, or no driver)")
    return f"/GPU:{index}"


def _name(device: str) -> str:
    """What the harness calls a device that TensorFlow calls `/job:…/device:GPU:0`."""
    kind, index = device.split(":")[-2:]
    return f"gpu:{index}" if kind == "GPU" else kind.lower()


def _onednn() -> bool | None:
    """Whether oneDNN's kernels are compiled in and on; None where this build does not say."""
    try:
        port = importlib.import_module("tensorflow.python.util._pywrap_util_port")
        return bool(port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None
