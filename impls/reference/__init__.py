"""The reference: NumPy with a tape of its own (`eager`), or one captured step (`replay`)."""

from harness.adapter import Framework, Own, Tuning

FRAMEWORK = Framework(
    title="NumPy reference",
    distributions=("numpy",),
    install="pip install samestep",
    least="2.0",
    modes={
        "replay": "one step captured as a flat program, run in memory that is allocated once",
        "eager": "the tape is rebuilt at every step",
    },
    idioms={"replay": Own("one captured step, fed by rows gathered by index")},
    color="#009E73",
    aliases={"numpy": "reference", "np": "reference", "compiled": "replay", "tape": "eager"},
    role="reference",
    tuning=Tuning(
        import_varies=False,
        # OpenBLAS gives smaller products to a single thread (its `interface/gemm.c`:
        # SMP_THRESHOLD_MIN × GEMM_MULTITHREAD_THRESHOLD).
        spins_beyond=65536 * 4,
        beneath=("cupy-cuda13x", "cupy-cuda12x"),
    ),
)
