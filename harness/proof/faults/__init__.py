"""Planted faults: the reference with one thing wrong, to see whether the proof notices.

The table is `harness.proof.faults.fault.FAULTS`, filled by the modules of this package, one a
theme. Each fault is a mode of a framework `planted`, whose folder lies inside this one and is added
to `impls` by the self-test only; so it goes through the same processes and checks as any framework.
"""
