"""PyTorch: a dynamic graph, run as written (`eager`) or compiled by TorchInductor (`compile`)."""

from harness.adapter import Framework, Own, Tuning

FRAMEWORK = Framework(
    title="PyTorch",
    distributions=("torch",),
    install="pip install 'samestep[pytorch]'",
    least="2.4",
    modes={
        "eager": "the graph is rebuilt at every step",
        "compile": "forward, loss and backward compiled by torch.compile",
    },
    idioms={
        "compile": Own("DataLoader, fused optimizer, torch.compile"),
        "eager": Own("DataLoader and fused optimizer, nothing compiled"),
    },
    color="#D55E00",
    aliases={
        "torch": "pytorch",
        **dict.fromkeys(("compiled", "jit", "inductor", "dynamo"), "compile"),
    },
    tuning=Tuning(
        # Every optimizer imports torch._dynamo when it is made, which takes as long as PyTorch.
        ahead={"eager": "torch._dynamo", "compile": "impls.pytorch.ahead"},
        import_varies=False,
        caches=("TORCHINDUCTOR_CACHE_DIR",),
    ),
)
