"""Loops of kernel density estimates on 200 random data cycles, against scipy's gaussian_kde.

Run ``python benchmarks/bench_kde.py``. Both sides draw the same cycles, train one Gaussian
kernel estimate a generation with the same bandwidths, evaluate it on the same grid and
measure its total variation distance to the truth, on one thread. Last line: how far apart
the densities of both sides are on the same points.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import platform
import time

import numpy as np
import scipy
from scipy.stats import gaussian_kde

from stlcore.cycles import Cycle, general
from stlcore.laws import GAUSSIAN, NormalMixture, standard_bandwidth
from stlcore.learners import KernelDensity
from stlcore.loop import run
from stlcore.streams import stream

SEED, CYCLES, ROUNDS, PEER_RUNS = 20260231, 200, 8, 20
CASES = ((200, 1), (1000, 1), (1000, 20), (10_000, 1))  # points, repetitions of every cycle
TRUTH = NormalMixture([0.3, 0.7], [-2.0, 1.5], [0.5, 1.0])
GRID = np.linspace(-10, 10, 801)


def random_cycle(rng: np.random.Generator) -> Cycle:
    """A cycle with Dirichlet weights on the truth and all generations."""
    rows = [rng.dirichlet(np.ones(i + 1)) for i in range(1, ROUNDS)]
    return general([row[0] for row in rows], [row[1:] for row in rows])


def by_scipy(cycle: Cycle, n: int, h: float, rng: np.random.Generator) -> list[float]:
    """One trajectory, as a loop over generations."""
    estimates, distances, real = [], [], TRUTH.density(GRID)
    for t in range(1, ROUNDS + 1):
        weights = cycle.weights(t)
        counts = rng.multinomial(n, [weights.fresh, *weights.generations])
        parts = [TRUTH.sample(rng, counts[0])]
        for estimate, count in zip(estimates, counts[1:], strict=True):
            if count:
                parts.append(estimate.resample(count, rng)[0])
        points = np.concatenate(parts)
        estimates.append(gaussian_kde(points, h / points.std(ddof=1)))
        gap = estimates[-1](GRID) - real
        distances.append(np.trapezoid(np.abs(gap), GRID) / 2)
    return distances


def compare(n: int, repetitions: int) -> str:
    """One row of the table."""
    h = float(standard_bandwidth(n, scale=1.06))
    learner = KernelDensity(TRUTH, GAUSSIAN, h, GRID)
    cycles = [random_cycle(stream(SEED, "cycle", c)) for c in range(CYCLES)]

    start = time.process_time()
    frames = [
        run(learner, cycle, n, ROUNDS, repetitions, stream(SEED, "loop", c))
        for c, cycle in enumerate(cycles)
    ]
    ours = time.process_time() - start
    start = time.process_time()
    peers = [by_scipy(cycles[c], n, h, stream(SEED, "peer", c)) for c in range(PEER_RUNS)]
    theirs = (time.process_time() - start) / PEER_RUNS * CYCLES * repetitions
    means = [frame["tv"].mean() for frame in frames[:PEER_RUNS]], np.mean(peers, axis=1)
    return (
        f"{n:>7}{repetitions:>13}{ours:>10.2f}{theirs:>10.1f}{theirs / ours:>8.1f}"
        f"{np.mean(means[0]):>10.4f}{np.mean(means[1]):>10.4f}"
    )


def main() -> None:
    """Print the table."""
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {platform.machine()},")
    print(f"one thread, processor seconds, {CYCLES} cycles of {ROUNDS} generations.")
    print(f"scipy: {PEER_RUNS} trajectories measured, scaled to all. TV: their mean distance.\n")
    print(
        f"{'points':>7}{'repetitions':>13}{'seconds':>10}{'scipy':>10}{'ratio':>8}"
        f"{'TV':>10}{'scipy':>10}"
    )
    for case in CASES:
        print(compare(*case), flush=True)
    points = TRUTH.sample(stream(SEED, "points"), 1000)
    peer = gaussian_kde(points, 0.3 / points.std(ddof=1))(GRID)
    ours = KernelDensity(TRUTH, GAUSSIAN, 0.3, GRID).fit(points[None]).density[0]
    print(f"\nThe same 1000 points: densities apart by {np.abs(ours - peer).max():.1e} at most.")


if __name__ == "__main__":
    main()
