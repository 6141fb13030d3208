"""The reference with planted faults as a framework: each is a mode."""

from harness.adapter import Framework, Own
from harness.proof.faults import FAULTS

FRAMEWORK = Framework(
    title="Planted faults",
    distributions=("numpy",),
    install="pip install numpy",
    modes={"nothing": "the reference as it is"}
    | {name: it.line for name, it in FAULTS.items() if not it.idiomatic},
    color="#000000",
    devices=("cpu",),
    idioms={"nothing-own": Own("the reference in a loop of its own")}
    | {name: Own(it.line) for name, it in FAULTS.items() if it.idiomatic},
)
