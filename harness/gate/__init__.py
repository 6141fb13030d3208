"""The regression gate: baselines, older code beside this one, and what may be said of the two."""
