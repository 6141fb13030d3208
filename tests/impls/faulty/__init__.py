"""A framework that computes nothing and fails on request, in a real process."""

from harness.adapter import Framework, Own, Tuning

FRAMEWORK = Framework(
    title="Faulty",
    distributions=("numpy",),
    install="pip install numpy",
    modes={
        "fine": "nothing goes wrong",
        "fine-too": "nor here",
        "raise": "an exception while building",
        "unsupported": "says that it cannot",
        "crash": "SIGSEGV in a training step",
        "exit": "exit 3 in a training step",
        "vanish": "exit 0 without an answer",
        "hang": "sleeps for ever in a training step, with a child that does too",
        "diverge": "a NaN loss from the second epoch on",
        "greedy": "MemoryError in a training step",
        "pinned": "binds itself to one core",
        "noisy": "megabytes of binary on both outputs",
        "lazy": "does not go back to the start",
        "together": "is not built before two others are being built too",
        "compiling": "writes what it compiles into its cache",
        "ahead": "says which process imported the module that is to be there ahead",
        "steady": "2 ms a step",
        "pauses": "1 ms a step, and 120 ms at every 41st",
        "processes": "says who started the process that its module starts when it is imported",
        "threads": "waits for a thread that was started when its module was imported",
    },
    idioms={"fine": Own("a loop of its own")},
    color="#000000",
    devices=("cpu",),
    tuning=Tuning(
        ahead={
            "ahead": "impls.faulty.ahead",
            "processes": "impls.faulty.processes",
            "threads": "impls.faulty.threads",
        },
        import_varies=False,
        caches=("FAULTY_CACHE",),
    ),
)
