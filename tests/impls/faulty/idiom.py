"""The same in a loop of its own."""

from __future__ import annotations

from impls.faulty.adapter import Adapter


class Idiom(Adapter):
    def loader(self, inputs, targets, order):
        return [len(rows) for rows in order]

    def fit(self, loader, steps):
        return [self.train_step(loader[step % len(loader)]) for step in range(steps)][-1]

    def infer(self, loader, steps):
        return [self.predict(loader[step % len(loader)]) for step in range(steps)][-1]
