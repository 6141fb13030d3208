"""TensorFlow with planted faults: each is a mode; see `harness.proof.planted.real`."""

from harness.proof.planted.real import declared

FRAMEWORK = declared("tensorflow")
