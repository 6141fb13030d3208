"""A task in Keras with the fault that the mode names."""

from harness.proof.faults.planted_keras import seams
from harness.proof.faults.real import adapters

Idiom = adapters("keras", "Idiom", seams)
