"""Keras on JAX."""

from __future__ import annotations

from pathlib import Path

import jax

from harness.adapter import Options, Setting, Unsupported
from impls.keras.rows import Loader as Loader


def configure(options: Options) -> None:
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    # GPUs round factors otherwise; float32 means float32 here.
    jax.config.update("jax_default_matmul_precision", "highest")
    if options.device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # no other is even looked for
    if jax.config.jax_disable_jit:
        raise Unsupported("JAX compiles nothing here: JAX_DISABLE_JIT is on")


def gpus() -> int:
    return sum(it.platform == "gpu" for it in jax.devices())


def facts() -> dict[str, Setting]:
    # JAX does not say how many threads share an operation, so they are counted.
    names = (it.read_text() for it in Path("/proc/self/task").glob("*/comm"))
    return {
        "threads": sum(it.startswith("tf_XLAEigen") for it in names),
        "compile": "jax.jit",
        "tf32": jax.config.jax_default_matmul_precision != "highest",
    }
