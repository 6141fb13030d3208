"""A task in PyTorch as its experts write it: `DataLoader`, fused optimizer, `torch.compile`.

The formulas are those of the identical lane. Reduced matrix precision (TF32) is an expert's choice
on a GPU too, but another mathematics, so it stays off; and so does the fused Adam there in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from harness.adapter import Array, Setting
from harness.tasks.spec import Adam, AdamW, RMSprop, Task
from impls.pytorch.adapter import Adapter, Batch
from impls.pytorch.building import stock_optimizer


class Idiom(Adapter):
    """See `harness.adapter.Idiom`; a loader is a `DataLoader`, `fit` returns the last step's loss.

    The modes mean what they mean in the identical lane; the optimizer is fused in both, where that
    changes no formula.
    """

    def _optimizer_of(self, task: Task) -> torch.optim.Optimizer:
        without = isinstance(task.optimizer, RMSprop) or (
            # CUDA's kernel takes 1 − β₂ in float32, off by 1.3e-5 at 0.999; `foreach` does not.
            isinstance(task.optimizer, (Adam, AdamW))
            and self._device.type == "cuda"
            and self._dtype == torch.float32
        )
        return stock_optimizer(task.optimizer, self._parameters, None if without else True)

    def loader(self, inputs: Array, targets: Array, order: Array) -> DataLoader[Batch]:
        """All rows lie on the device; a batch is one indexing operation, not a row at a time."""
        rows = torch.tensor(order, device=self._device).unbind()
        dataset = TensorDataset(*self.stage(inputs, targets))
        # Without a batch size, what the sampler gives goes to the data set as it is.
        return DataLoader(dataset, sampler=rows, batch_size=None, collate_fn=Batch._make)

    def fit(self, loader: DataLoader[Batch], steps: int) -> Tensor:
        for batch in _cycle(loader, steps):
            loss = self.train_step(batch)
        return loss

    def infer(self, loader: DataLoader[Batch], steps: int) -> Tensor:
        for batch in _cycle(loader, steps):
            outputs = self.predict(batch)
        return outputs

    @torch.inference_mode()
    def predict(self, batch: Batch) -> Tensor:
        return self._forward(batch.inputs)

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {
            "fused": bool(self._optimizer.defaults.get("fused")),
            "loader": "DataLoader of whole batches, without workers",
        }


def _cycle(loader: DataLoader[Batch], steps: int) -> Iterator[Batch]:
    """So many batches, beginning with the loader's first, and again with it after the last."""
    return itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps)
