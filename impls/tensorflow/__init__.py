"""TensorFlow with Keras: op by op (`eager`), a static graph (`graph`), or compiled (`xla`)."""

from harness.adapter import Framework

FRAMEWORK = Framework(
    title="TensorFlow",
    distributions=("tensorflow", "tensorflow-cpu"),
    install="pip install -c constraints.txt 'samestep[tensorflow]'",
    modes={
        "graph": "one step traced once into a static graph by tf.function",
        "eager": "every operation dispatched from Python",
        "xla": "the traced step compiled by XLA",
    },
    color="#0072B2",
    # Import chatter hides what matters in a worker's stderr; memory growth keeps TensorFlow from
    # taking the whole GPU.
    environment={"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
)
