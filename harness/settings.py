"""Names of effective settings: what a worker really ran with, in words that all frameworks share.

An adapter reports under these names what it reads back from its framework; the worker adds what
holds for the whole process, and measures what no flag tells. A setting that a framework does not
have, or that means nothing where it runs, is left out or None: it agrees with everything. Other
names may be reported too; they describe one framework only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """One line; whether cells may be ranked against each other only where they agree in it; and
    whether it may not change while a worker is timed."""

    line: str
    must_agree: bool = False
    constant: bool = True


THREADS, DTYPE, DEVICE, WEIGHTS = "threads", "dtype", "device", "devices_of_weights"
CORES = "cores"
PRECISION, TF32, DENORMALS = "matmul_precision", "tf32", "flushes_denormals"

SETTINGS: Mapping[str, Meaning] = {
    THREADS: Meaning("threads that one operation may use", must_agree=True),
    CORES: Meaning("cores that the process's threads may use", must_agree=True),
    DTYPE: Meaning("dtype of every weight", must_agree=True),
    DEVICE: Meaning("device on which tensors are made", must_agree=True),
    WEIGHTS: Meaning("device of every weight", must_agree=True),
    PRECISION: Meaning("precision of matrix products, measured against float64", must_agree=True),
    TF32: Meaning("whether float32 products may be rounded to TF32", must_agree=True),
    "gpu": Meaning("the GPU, as the framework names it"),
    "float32_matmul_precision": Meaning("the framework's own flag for float32 products"),
    "inter_op_threads": Meaning("operations that may run at the same time"),
    "blas": Meaning("BLAS and OpenMP libraries of the process (threads of each)", constant=False),
    "onednn": Meaning("whether oneDNN's kernels are used"),
    "xla": Meaning("whether XLA compiles the step"),
    "compile": Meaning("what runs in place of the step's Python"),
    DENORMALS: Meaning("whether results too small to be normal become zero, measured"),
    "train_traces": Meaning("how often the training step was traced or captured"),
    "predict_traces": Meaning("how often the prediction was traced or captured"),
    "graphs": Meaning("graphs that were compiled, over all functions"),
}
MUST_AGREE = tuple(name for name, it in SETTINGS.items() if it.must_agree)

PRECISIONS: tuple[tuple[str, float], ...] = (
    ("float64", 1e-11),
    ("float32", 1e-5),
    ("tf32-like", 1.2e-3),
)
"""Classes of matrix products and the error below which a product belongs to them; see below."""


def precision_class(error: float) -> str:
    """The class of a product by its largest error, relative to the largest entry.

    A sum of 512 products of normal numbers, each factor rounded to p bits and summed exactly, is
    off by about 2⁻ᵖ of its scale: 4e-4 for the 11 bits of TF32 and of float16, 3e-3 for the 8 bits
    of bfloat16, which is `half-like`, as are sums in half precision. In float32 and float64 all is
    in the summing: 5e-7 and 1e-15 (all measured). The bounds lie between, far from either where
    there is room.
    """
    return next((name for name, bound in PRECISIONS if error < bound), "half-like")
