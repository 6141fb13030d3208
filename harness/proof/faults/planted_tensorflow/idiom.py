"""A task in TensorFlow with the fault that the mode names."""

from harness.proof.faults.planted_tensorflow import seams
from harness.proof.faults.real import adapters

Idiom = adapters("tensorflow", "Idiom", seams)
