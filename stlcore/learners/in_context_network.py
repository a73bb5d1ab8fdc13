"""A causal transformer that learns linear regression in context, and its pretraining.

The network reads pairs (x, y) and predicts the label of a query x. Pretraining
shows it ever new tasks, so that what it learns is an algorithm. Pretrained
networks are kept in the cache folder: ``$STLCORE_CACHE``, or ``~/.cache/stlcore``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stlcore.checkpoints import Checkpoint
from stlcore.data.corpus import cache_folder
from stlcore.learners.base import Diverged
from stlcore.schedules import check_count

__all__ = [
    "Architecture",
    "Pretraining",
    "Transformer",
    "draw_tasks",
    "pretrain",
    "pretrained",
    "train_step",
]

#: Raised whenever the network or its pretraining changes, so that no old file is taken for new.
RULES = 1


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


@dataclass(frozen=True)
class Pretraining:
    """How a network is trained.

    Attributes
    ----------
    noise : float
        Standard deviation of the labels around the linear function.
    steps, batch : int
        Steps of AdamW, and tasks in each, all of them new.
    rate : float
        Largest learning rate; it rises over a tenth of the steps and then falls to 0.
    seed : int
        Of the first weights and of the tasks.

    Raises
    ------
    ValueError
        If a number is no count, or the noise or the rate not positive.
    """

    noise: float = 0.5
    steps: int = 600
    batch: int = 32
    rate: float = 5e-3
    seed: int = 1

    def __post_init__(self) -> None:
        check_count("the number of steps", self.steps)
        check_count("the batch", self.batch)
        if not (self.noise > 0 and self.rate > 0):
            raise ValueError("the noise and the learning rate must be positive")


def draw_tasks(
    count: int, length: int, dimension: int, noise: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Contexts of new tasks: :math:`y=w^{*\top}x+\sigma\epsilon`, the weights :math:`N(0,I/d)`.

    Returns
    -------
    x, y : Tensor, shapes (count, length, d) and (count, length)
        On the generator's device.
    """
    draw = {"generator": generator, "device": generator.device}
    weights = torch.randn(count, dimension, 1, **draw) / math.sqrt(dimension)
    x = torch.randn(count, length, dimension, **draw)
    return x, (x @ weights)[..., 0] + noise * torch.randn(count, length, **draw)


# --- the network ----------------------------------------------------------------------


def _softmax(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _linear(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if not causal:
        return scores @ value / key.shape[-2]
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


# --- pretraining ----------------------------------------------------------------------


def pretrain(
    architecture: Architecture, pretraining: Pretraining, device: str = "auto"
) -> Transformer:
    """Train a new network to predict every label of a context from the pairs before it.

    Parameters
    ----------
    architecture, pretraining : Architecture, Pretraining
        What, and how.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for the GPU where there is one.

    Returns
    -------
    Transformer
        With frozen weights. On one machine the same call gives the same weights.

    Raises
    ------
    Diverged
        If the weights are no longer finite.
    """
    device = _device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(pretraining.seed)
        network = Transformer(architecture).to(device)
    generator = torch.Generator(device).manual_seed(pretraining.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=pretraining.rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    steps = pretraining.steps
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate((step + 0.5) / steps))
    # One label more than the longest context: its prediction has read all the pairs.
    size = (pretraining.batch, architecture.length + 1, architecture.dimension, pretraining.noise)
    for _ in range(steps):
        train_step(network, optimizer, *draw_tasks(*size, generator))
        rates.step()
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise Diverged(f"pretraining diverged at a learning rate of {pretraining.rate:g}")
    return network.eval().requires_grad_(False)


def _rate(done: float) -> float:
    """Learning rate, as a part of the largest, when a fraction ``done`` of the steps is."""
    return done / 0.1 if done < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.1) / 0.9)


def train_step(network: Transformer, optimizer, x: Tensor, y: Tensor) -> None:
    """One step on the mean squared error of all predictions of the labels ``y``."""
    memory = network.read(x[:, :-1], y[:, :-1])
    loss = (network.answer(memory, x, causal=True) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def pretrained(
    architecture: Architecture, pretraining: Pretraining, device: str = "auto"
) -> Transformer:
    """The network of :func:`pretrain`, from the cache folder where that holds it.

    A file that is damaged, or of another architecture or pretraining, is
    replaced, with a warning. Any number of processes may do this at once.
    """
    identity = {"rules": RULES, **asdict(architecture), **asdict(pretraining)}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    place = cache_folder() / f"in_context-{digest}"
    try:
        found = Checkpoint(place, identity).load()
    except ValueError as error:
        warnings.warn(f"the network is trained again, for {error}", stacklevel=2)
        found = None
    if found is not None:
        network = Transformer(architecture).to(_device(device))
        network.load_state_dict({name: torch.from_numpy(a) for name, a in found[0].items()})
        return network.eval().requires_grad_(False)
    network = pretrain(architecture, pretraining, device)
    _keep(place, identity, {name: w.cpu().numpy() for name, w in network.state_dict().items()})
    return network


def _keep(place: Path, identity: dict, weights: dict[str, np.ndarray]) -> None:
    """Write in a folder of this process alone, then move the file to its place."""
    # Without a folder to write to there is no cache, but there is still the network.
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as draft:
            part = Checkpoint(draft, identity)
            part.save(weights, {})
            os.replace(part.path, Checkpoint(place, identity).path)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
