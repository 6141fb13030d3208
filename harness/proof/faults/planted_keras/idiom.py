"""The idiom of Keras with the fault that the mode names."""

from harness.proof.faults.real import adapters

Idiom = adapters("keras", "Idiom")
