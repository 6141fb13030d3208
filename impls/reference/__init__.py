"""The reference: reverse-mode differentiation in NumPy, with a dynamic and a static graph."""

from harness.adapter import Framework

FRAMEWORK = Framework(
    title="Reference",
    distributions=("numpy",),
    install="pip install numpy",
    modes={
        "eager": "a tape recorded anew at every step: a dynamic graph",
        "replay": "one step captured once, then replayed in buffers of its own: a static graph",
    },
    color="#009E73",
)
