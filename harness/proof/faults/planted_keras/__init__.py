"""Keras with planted faults: each is a mode; see `harness.proof.faults.real`."""

from harness.proof.faults.real import declared

FRAMEWORK = declared("keras")
