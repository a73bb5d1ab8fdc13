"""A causal transformer that learns linear regression in context.

The network reads pairs (x, y) and predicts the label of a query x; see
:mod:`stlcore.learners.in_context.pretraining` for how it comes to do so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stlcore.checks import check_count
from stlcore.lazy import extra

with extra("torch"):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

__all__ = ["Architecture", "Transformer"]


@dataclass(frozen=True)
class Architecture:
    """Shape of a network.

    Attributes
    ----------
    dimension : int
        Dimension d of the inputs.
    length : int
        Most pairs that a context may have.
    attention : {"softmax", "linear"}
        Weights of the values: a softmax of the scores, or the scores over their number.
    layers, heads, width : int
        Blocks, heads in each, and length of the hidden vectors, a multiple of the heads.

    Raises
    ------
    ValueError
        If a number is no count, the attention unknown, or the width no multiple of the heads.
    """

    dimension: int
    length: int
    attention: str = "softmax"
    layers: int = 1
    heads: int = 1
    width: int = 32

    def __post_init__(self) -> None:
        for name in ("dimension", "length", "layers", "heads", "width"):
            check_count(f"the {name}", getattr(self, name))
        if self.attention not in ATTENTION:
            raise ValueError(f"attention must be 'softmax' or 'linear', not {self.attention!r}")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be split over {self.heads} heads")


# --- the network ----------------------------------------------------------------------


def _softmax(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _linear(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    if not causal:  # keys times values first, so that no n x n matrix is needed
        return query @ (key.mT @ value) / (math.sqrt(query.shape[-1]) * key.shape[-2])
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    seen = torch.arange(1, key.shape[-2] + 1, device=key.device)[: query.shape[-2], None]
    return (scores.tril() / seen) @ value


ATTENTION = {"softmax": _softmax, "linear": _linear}


class Block(nn.Module):
    """Attention to the pairs, then two layers; each adds to its normalised input."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.heads, self.attend = architecture.heads, ATTENTION[architecture.attention]
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def _split(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def read(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the pairs, shapes (..., heads, n, width / heads)."""
        key, value = self.pair(self.before(pairs)).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, hidden: Tensor, read: tuple[Tensor, Tensor], causal: bool) -> Tensor:
        """Let ``hidden`` look at the pairs; if causal, vector j at the first j + 1 only."""
        found = self.attend(self._split(self.query(self.before(hidden))), *read, causal)
        hidden = hidden + self.out(found.transpose(-2, -3).flatten(-2))
        return hidden + self.layers(hidden)


class Transformer(nn.Module):
    """A causal transformer over pairs (x, y) that answers queries.

    A pair sees itself and the pairs before it. A query sees pairs only, so queries
    share one reading of the context. The reading starts with a vector of its own,
    which is all that a query sees of an empty context. There is no code for
    positions: the order enters through the causal mask, and only from two layers on.

    Attributes
    ----------
    architecture : Architecture
        Its shape.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.pairs = nn.Linear(architecture.dimension + 1, architecture.width)
        self.queries = nn.Linear(architecture.dimension, architecture.width)
        self.start = nn.Parameter(torch.zeros(architecture.width))
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.layers))
        self.out = nn.Sequential(nn.LayerNorm(architecture.width), nn.Linear(architecture.width, 1))

    def read(self, x, y) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of every block for contexts (..., n, d) and (..., n).

        Raises
        ------
        ValueError
            If a context is longer than the architecture allows, or of another dimension.
        """
        x, y = self._tensor(x), self._tensor(y)
        length, dimension = x.shape[-2:]
        if length > self.architecture.length:
            raise ValueError(
                f"a context of {length} pairs is longer than the {self.architecture.length} "
                "that the network was trained for"
            )
        if dimension != self.architecture.dimension:
            raise ValueError(
                f"the network reads inputs of dimension {self.architecture.dimension}, "
                f"not {dimension}"
            )
        hidden = self.pairs(torch.cat([x, y[..., None]], dim=-1))
        start = self.start.expand(*hidden.shape[:-2], 1, -1)
        hidden = torch.cat([start, hidden], dim=-2)
        memory = []
        for block in self.blocks:
            memory.append(block.read(hidden))
            if len(memory) < len(self.blocks):  # nobody reads the pairs of the last block
                hidden = block(hidden, memory[-1], causal=True)
        return memory

    def answer(self, memory: list[tuple[Tensor, Tensor]], x, causal: bool = False) -> Tensor:
        """Predicted labels, shape (..., m), of the queries ``x``, shape (..., m, d).

        If ``causal``, query j sees the first j pairs alone, as in pretraining.
        """
        hidden = self.queries(self._tensor(x))
        for block, read in zip(self.blocks, memory, strict=True):
            hidden = block(hidden, read, causal)
        return self.out(hidden)[..., 0]

    def predict(self, context_x, context_y, query_x) -> Tensor:
        """Read and answer at once; differentiable in every argument."""
        return self.answer(self.read(context_x, context_y), query_x)

    def _tensor(self, values) -> Tensor:
        return torch.as_tensor(values, dtype=self.start.dtype, device=self.start.device)
