"""Where a learner's tensors live."""

from __future__ import annotations

import torch

__all__ = ["pick_device"]


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
