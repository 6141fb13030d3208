"""HIPS autograd: NumPy code and its gradients, by a tape that is built anew at every step."""

from harness.adapter import Framework

FRAMEWORK = Framework(
    title="HIPS autograd",
    distributions=("autograd",),
    install="pip install samestep-autograd",
    least="1.7",
    modes={"tape": "NumPy code, its tape rebuilt at every step"},
    color="#8C564B",
    devices=("cpu",),
    aliases={"hips": "autograd"},
    adapter_api=1,
)
