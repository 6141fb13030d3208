"""The reference, slowed down by a known share of its own work. See the adapter."""

from harness.adapter import Framework

FRAMEWORK = Framework(
    title="Slowed reference",
    distributions=("numpy",),
    install="pip install numpy",
    modes={
        "plain": "the reference's replay as it is",
        "slower-3": "every 33rd training step is taken twice: 1/33 = 3.03 % more work",
        "slower-5": "every 20th training step is taken twice: 1/20 = 5.00 % more work",
    },
    color="#6B6B6B",
    devices=("cpu",),
)
