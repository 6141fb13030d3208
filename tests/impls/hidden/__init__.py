"""The reference with something besides its steps, in a real process."""

from harness.adapter import Framework, Tuning

FRAMEWORK = Framework(
    title="Hidden",
    distributions=("numpy",),
    install="pip install numpy",
    modes={
        "honest": "nothing",
        "thread": "a thread that never rests",
        "lingering": "a thread that works from a step until the steps are waited for",
        "child": "a process that never rests",
        "escaped": "a process of another session, whose parent has ended",
        "growing": "200 kB are kept of every step",
    },
    color="#000000",
    devices=("cpu",),
    tuning=Tuning(import_varies=False),
)
