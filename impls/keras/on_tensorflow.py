"""Keras on TensorFlow, fed by `tf.data`."""

from __future__ import annotations

import functools

import tensorflow as tf

from harness.adapter import Array, Options, Setting, Unsupported


def configure(options: Options) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    # By default GPUs that have TF32 round factors to it.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # XLA where Keras says so, and nowhere else: TF_XLA_FLAGS may turn it on for all.
    tf.config.optimizer.set_jit(False)


def gpus() -> int:
    return len(tf.config.list_physical_devices("GPU"))


class Loader:
    """Rows in host memory, where `tf.data` works, and the row indices of every batch."""

    KIND = "tf.data: rows gathered by index, prefetched where there is a thread for it"

    def __init__(self, rows: tuple[Array, Array], order: Array, options: Options) -> None:
        self.order = order
        # Prefetching takes a thread of its own: with one thread it would be a second.
        self._ahead = options.threads > 1 or options.device != "cpu"
        with tf.device("/CPU:0"):
            self._rows = tuple(map(tf.constant, rows))
            self._indices = tf.data.Dataset.from_tensor_slices(order)
        self.batches = functools.cache(self._dataset)

    def _dataset(self, steps: int, *, targets: bool = True) -> tf.data.Dataset:
        """So many batches, the first again after the last.

        It is finite: from an infinite one, Keras takes a multiple of `steps_per_execution`.
        """
        arrays = self._rows if targets else self._rows[:1]

        @tf.autograph.experimental.do_not_convert
        def gathered(chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tuple(tf.gather(it, chosen) for it in arrays)

        dataset = self._indices.repeat().take(steps).map(gathered)
        return dataset.prefetch(tf.data.AUTOTUNE) if self._ahead else dataset


def facts() -> dict[str, Setting]:
    if tf.config.functions_run_eagerly():
        raise Unsupported("TensorFlow traces nothing here: run_functions_eagerly is on")
    return {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "compile": "tf.function",
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
    }
