"""Where a learner's tensors live, and how their matrices are multiplied."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache

import numpy as np

from stlcore.lazy import extra

with extra("torch"):
    import torch

__all__ = ["fast_products", "pick_device"]


def pick_device(name: str) -> torch.device:
    """The device that a name means on this machine.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where there is one; "cpu" and "cuda" insist.

    Raises
    ------
    ValueError
        If the name is none of these, or a GPU is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"the device must be auto, cpu or cuda, not {name!r}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("a GPU is asked for (device='cuda'), but PyTorch finds none here")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


@contextmanager
def fast_products(device: torch.device, *, rounded: bool):
    """Multiply float32 matrices the fastest way, inside a ``with`` block.

    Parameters
    ----------
    device : torch.device
        On a CPU the products keep the error of float32.
    rounded : bool
        Whether a GPU may round the factors to TF32.
    """
    before = torch.get_float32_matmul_precision()
    on_gpu = "high" if rounded else "highest"
    torch.set_float32_matmul_precision(on_gpu if device.type == "cuda" else _cpu_precision())
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _cpu_precision() -> str:
    """'medium', which is oneDNN, where its error is that of float32; some CPUs would round."""
    before = torch.get_float32_matmul_precision()
    left, right = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 256, 256)))
    torch.set_float32_matmul_precision("medium")
    error = left.float() @ right.float() - left @ right
    torch.set_float32_matmul_precision(before)
    return "medium" if error.abs().max() < 1e-3 else "highest"
