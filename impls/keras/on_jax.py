"""Keras on JAX."""

from __future__ import annotations

from pathlib import Path

import jax

from harness.adapter import Options, Setting, Unsupported
from impls.keras.rows import Loader as Loader


def configure(options: Options) -> None:
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    # By default GPUs round factors to fewer digits than float32 has.
    jax.config.update("jax_default_matmul_precision", "highest")
    if options.device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # no other is initialised
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
