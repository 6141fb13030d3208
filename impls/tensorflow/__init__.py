"""TensorFlow: op by op (`eager`), a static graph (`graph`), or compiled (`xla`)."""

import os

from harness.adapter import Framework, Tuning

FRAMEWORK = Framework(
    title="TensorFlow",
    distributions=("tensorflow", "tensorflow-cpu"),
    install="pip install 'samestep[tensorflow]'",
    least="2.18",
    modes={
        "graph": "one step traced once into a static graph by tf.function",
        "eager": "every operation dispatched from Python",
        "xla": "the traced step compiled by XLA",
    },
    color="#0072B2",
    aliases={
        "tf": "tensorflow",
        **dict.fromkeys(("compile", "compiled", "jit"), "xla"),
        "function": "graph",
    },
    environment={
        # Import chatter hides what matters in a worker's stderr.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Or TensorFlow takes the whole GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        # The adapter is Keras 3 on TensorFlow, whatever the user's other programs are.
        "KERAS_BACKEND": "tensorflow",
        "KERAS_NNX_ENABLED": "false",
        "TF_USE_LEGACY_KERAS": "0",
        # Below a file there is no folder: Keras reads no settings of the user and writes none.
        "KERAS_HOME": os.devnull,
    },
    # The allocator of oneDNN counts large tensors only; this one counts all, and is slower.
    tuning=Tuning(accounting={"TF_CPU_ALLOCATOR_USE_BFC": "1"}),
)
