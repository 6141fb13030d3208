"""The tasks on which faults are planted: small, and none needs a download."""

from __future__ import annotations

from typing import Any

from harness.tasks.catalogue import CATALOGUE
from harness.tasks.data import Known, Teacher
from harness.tasks.optimizers import AdamW, RMSprop
from harness.tasks.spec import Model, Task

DIGITS = CATALOGUE["digits-mlp"]
"""Classes, ReLU, Adam; its first two layers are square."""
DIABETES = CATALOGUE["diabetes-regression"]
"""Real targets, tanh, SGD with momentum."""
CANCER = CATALOGUE["cancer-binary"]
"""One logit, sigmoid layers, Adam."""


def small(name: str, **parts: Any) -> Task:
    """Four synthetic classes, 16-16-16-4, unless `parts` say otherwise."""
    usual: dict[str, Any] = {
        "data": Teacher(features=16, classes=4, train=512, test=64),
        "model": Model(hidden=(16, 16)),
        "loss": "cross-entropy",
        "optimizer": AdamW(),
        "batch_size": 16,
        "epochs": 1,
    }
    return Task(name=name, **usual | parts)


ADAMW = small("small-adamw")
RMSPROP = small("small-rmsprop", optimizer=RMSprop())
GELU = small("small-gelu", model=Model(hidden=(16, 16), activation="gelu"))
AUTOENCODER = small("small-autoencoder", data=Known(name="digits", target="inputs"), loss="mse")
LARGE_BATCH = small(
    "small-large-batch",
    model=Model(hidden=(384, 384)),
    batch_size=512,
    epochs=20,
)
"""So expensive that most steps are compared with fewer rows than are measured."""
PROBABILITIES = small(
    "small-probabilities",
    model=Model(hidden=(16, 16), output="softmax"),
    loss="cross-entropy-of-probabilities",
)
