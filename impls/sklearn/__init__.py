"""scikit-learn: its multilayer perceptrons as their users train them, batch by batch."""

from harness.adapter import Framework, Own, Tuning

FRAMEWORK = Framework(
    title="scikit-learn",
    distributions=("scikit-learn",),
    install="pip install samestep",
    least="1.4",
    modes={},
    idioms={
        "mlp": Own(
            "MLPClassifier or MLPRegressor, partial_fit with the rows of each batch",
            stock="scikit-learn keeps ε of Adam inside: it is added to √v before the bias "
            "correction, so that it counts 1/√(1 − β₂ᵗ) times as much",
            truth="impls.reference.uncorrected",
        )
    },
    color="#E69F00",
    devices=("cpu",),
    aliases={"scikit-learn": "sklearn", "scikit": "sklearn", "partial_fit": "mlp", "fit": "mlp"},
    # It is the framework here; the others are the harness's.
    tuning=Tuning(unaware_of=("PIL", "matplotlib", "pandas"), beneath=("numpy", "scipy")),
)
