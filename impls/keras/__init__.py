"""Keras 3 as its users write it: `compile`, `fit` and `predict`; a mode is a backend."""

import os

from harness.adapter import Framework, Own, Tuning

STOCK = (
    "Keras keeps ε inside: Adam adds it to √v before the bias correction, so that it counts "
    "1/√(1 − β₂ᵗ) times as much, RMSprop under the root; and β, μ and the decay are those that "
    "float32 holds"
)
FRAMEWORK = Framework(
    title="Keras",
    distributions=("keras",),
    install="pip install 'samestep[keras]'",
    least="3.6",
    modes={},
    idioms={
        "tensorflow": Own("compile, fit and predict on TensorFlow, fed by tf.data", STOCK),
        "jax": Own("compile, fit and predict on JAX, fed by a PyDataset", STOCK),
        "torch": Own("compile, fit and predict on PyTorch, fed by a PyDataset", STOCK),
    },
    color="#56B4E9",
    aliases={"tf.keras": "keras", "keras3": "keras", "tf": "tensorflow", "pytorch": "torch"},
    environment={
        "KERAS_BACKEND": "{mode}",
        "KERAS_NNX_ENABLED": "false",
        # A debugging aid that ends `fit` and `predict` early; 0 is no limit.
        "KERAS_MAX_EPOCHS": "0",
        "KERAS_MAX_STEPS_PER_EPOCH": "0",
        # Below a file there is no folder: Keras reads no settings of the user and writes none.
        "KERAS_HOME": os.devnull,
        # As TensorFlow and JAX need it; see their own folders.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "PJRT_NPROC": "{threads}",
        "NPROC": "{threads}",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
    tuning=Tuning(
        beneath=("tensorflow", "tensorflow-cpu", "jax", "jaxlib", "torch"),
        caches=("JAX_COMPILATION_CACHE_DIR",),
        accounting={"TF_CPU_ALLOCATOR_USE_BFC": "1"},
    ),
)
