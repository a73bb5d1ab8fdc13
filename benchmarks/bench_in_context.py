"""Pretraining in context: tokens a second, against PyTorch's own encoder of equal size.

Run ``python benchmarks/bench_in_context.py``. Both sides make the same step: the same new
tasks, the mean squared error of every label predicted from the pairs before it, AdamW.
A prompt of n pairs is n pair tokens and n query tokens on both sides. The peer is
``torch.nn.TransformerEncoder`` (norm first, GELU, no dropout) over all 2n tokens, with the
mask that says who sees whom; it has 1 to 2% more weights, the biases of its attention.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import time

import torch
from torch import Tensor, nn

from stlcore.learners.in_context import Architecture
from stlcore.learners.in_context.network import Transformer
from stlcore.learners.in_context.pretraining import draw_tasks, train_step

SEED, NOISE, TRIES = 20260261, 0.5, 3
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Name: shape, prompts in a step, timed steps.
CASES = {
    f"d=4, n=40, width 32, layers {k}": (Architecture(4, 40, "softmax", k, 4, 32), 16, 30)
    for k in (1, 2, 3)
} | {
    "d=20, n=256, width 256, layers 12": (
        Architecture(20, 256, "softmax", 12, 4, 256),
        *((64, 10) if DEVICE == "cuda" else (1, 1)),
    )
}


class Peer(nn.Module):
    """PyTorch's encoder on pairs and queries, side by side in one sequence."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.pairs = nn.Linear(shape.dimension + 1, shape.width)
        self.queries = nn.Linear(shape.dimension, shape.width)
        layer = nn.TransformerEncoderLayer(
            shape.width,
            shape.heads,
            4 * shape.width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, 1))
        n = shape.length
        before = torch.ones(n, n).tril(-1).bool()
        here = torch.eye(n).bool()
        sees = torch.cat(
            [
                torch.cat([before | here, torch.zeros(n, n).bool()], dim=1),  # pairs
                torch.cat([before, here], dim=1),  # queries: pairs before, and themselves
            ]
        )
        self.register_buffer("mask", ~sees)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = self.pairs(torch.cat([x, y[..., None]], dim=-1))
        hidden = self.encoder(torch.cat([pairs, self.queries(x)], dim=1), mask=self.mask)
        return self.out(hidden[:, x.shape[1] :])[..., 0]


def peer_step(network: Peer, optimizer, x: Tensor, y: Tensor) -> None:
    """The step of ``train_step`` for the peer."""
    loss = (network(x, y) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def seconds(network, step, shape: Architecture, batch: int, steps: int) -> float:
    """Processor time of a step, or wall time on a GPU."""
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    generator = torch.Generator(DEVICE).manual_seed(SEED)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for repeat in range(steps + 3):
        if repeat == 3:  # the first steps pay for what is set up once
            _finish()
            start = clock()
        step(
            network, optimizer, *draw_tasks(batch, shape.length, shape.dimension, NOISE, generator)
        )
    _finish()
    return (clock() - start) / steps


def _finish() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print the table."""
    torch.manual_seed(SEED)
    print(f"torch {torch.__version__}, {DEVICE}, threads: {torch.get_num_threads()}.\n")
    print(f"{'network':<36}{'weights':>9}{'peer':>9}{'tokens/s':>11}{'peer':>11}{'ratio':>7}")
    for name, (shape, batch, steps) in CASES.items():
        ours, peer = Transformer(shape).to(DEVICE), Peer(shape).to(DEVICE)
        # The sides alternate, and the best of three tries counts for each.
        tries = [
            (
                seconds(ours, train_step, shape, batch, steps),
                seconds(peer, peer_step, shape, batch, steps),
            )
            for _ in range(TRIES)
        ]
        fast, slow = (min(column) for column in zip(*tries, strict=True))
        tokens = 2 * batch * shape.length
        sizes = (sum(w.numel() for w in side.parameters()) for side in (ours, peer))
        print(
            f"{name:<36}{next(sizes):>9}{next(sizes):>9}"
            f"{tokens / fast:>11.0f}{tokens / slow:>11.0f}{slow / fast:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
