"""ONNX Runtime: a graph of standard operators, optimised once and run in one session."""

from harness.adapter import Framework, Tuning

FRAMEWORK = Framework(
    title="ONNX Runtime",
    distributions=("onnxruntime", "onnxruntime-gpu"),
    install="pip install 'samestep[onnxruntime]'",
    least="1.18",
    modes={"session": "the graph optimised once, fused and with packed weights"},
    phases=("predict",),
    color="#8A63D2",
    # It would send how it is used, from a thread that its import starts.
    environment={"ORT_DISABLE_TELEMETRY": "1"},
    aliases={
        **dict.fromkeys(("onnx", "ort"), "onnxruntime"),
        **dict.fromkeys(("graph", "inference"), "session"),
    },
    tuning=Tuning(import_varies=False),
)
