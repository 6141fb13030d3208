"""A framework that ends its worker where and how BROKEN says, such as `sample segv`."""

from harness.adapter import Framework

FRAMEWORK = Framework(
    title="Broken",
    distributions=("numpy",),
    install="pip install numpy",
    modes={"mode": "see the variable"},
    color="#000000",
    devices=("cpu",),
)
