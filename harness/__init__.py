"""samestep: the same MLP in every framework, proved the same, then measured."""

__version__ = "0.1.0"
