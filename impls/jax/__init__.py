"""JAX with optax: one step that XLA compiles as a whole (`jit`), or op by op (`eager`)."""

from harness.adapter import Framework, Own, Tuning

FRAMEWORK = Framework(
    title="JAX",
    distributions=("jax",),
    install="pip install 'samestep[jax]'",
    least="0.6",
    modes={
        "jit": "one step compiled as a whole by XLA, its state donated",
        "eager": "every operation dispatched from Python",
    },
    idioms={
        "jit": Own("optax; rows gathered on the device, all steps of a fit in one compiled loop")
    },
    color="#CC79A7",
    aliases={
        **dict.fromkeys(("flax", "haiku", "equinox", "optax", "jaxlib"), "jax"),
        **dict.fromkeys(("compile", "compiled", "xla"), "jit"),
    },
    environment={
        # XLA makes its threads for the CPU when the first array is made, and asks no flag.
        "PJRT_NPROC": "{threads}",
        "NPROC": "{threads}",
        # Or JAX takes three quarters of the GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
    tuning=Tuning(
        import_varies=False,
        beneath=("jaxlib", "optax"),
        caches=("JAX_COMPILATION_CACHE_DIR",),
    ),
)
