"""Keras on PyTorch."""

from __future__ import annotations

import torch

from harness.adapter import Options, Setting
from impls.keras.rows import Loader as Loader


def configure(options: Options) -> None:
    torch.set_num_threads(options.threads)
    if torch.get_num_interop_threads() != options.threads:  # it can be set once only
        torch.set_num_interop_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False


def gpus() -> int:
    return torch.cuda.device_count()


def facts() -> dict[str, Setting]:
    return {
        "threads": torch.get_num_threads(),
        "inter_op_threads": torch.get_num_interop_threads(),
        "compile": None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
