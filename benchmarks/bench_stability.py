"""Stability of every example: implicit differentiation against leave-one-out retraining.

Run ``python benchmarks/bench_stability.py``. Logistic regression with 10 features and soft
synthetic labels, 30 % real data used again, 10 generations. For each sample size both sides
take all n examples, on one thread, from the same trajectory of the loop, which is not timed.
Retraining starts at that trajectory and takes Newton steps, 32 examples at a time. At n = 800
the aim is 50 times the speed at a relative error under 0.1 and a correlation over 0.99.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import platform
import time

import numpy as np
import torch

from stlcore.stability import implicit_differences, leave_one_out, logistic_loop
from stlcore.streams import stream

SEED, FEATURES, SHARE, GENERATIONS, TRIES = 20260308, 10, 0.3, 10, 5
SIZES = (200, 400, 800)


def seconds(work, tries: int) -> tuple[float, np.ndarray]:
    """Processor time of one call, the least of a few, and what it gives."""
    spent = []
    for _ in range(tries):
        start = time.process_time()
        found = work()
        spent.append(time.process_time() - start)
    return min(spent), found


def compare(n: int) -> dict[str, float]:
    """The row of the table for one sample size; errors and correlations of the worst generation."""
    loop = logistic_loop(n, FEATURES, SHARE, GENERATIONS, stream(SEED, n))
    examples, trajectory = np.arange(n), loop.trajectory()
    fast, implicit = seconds(lambda: implicit_differences(loop, examples, trajectory), TRIES)
    slow, exact = seconds(lambda: leave_one_out(loop, examples, trajectory), 1)
    error = np.linalg.norm(implicit - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    lengths = np.linalg.norm(implicit, axis=2), np.linalg.norm(exact, axis=2)
    correlation = [np.corrcoef(*pair)[0, 1] for pair in zip(*lengths, strict=True)]
    return {
        "n": n,
        "retraining": slow,
        "implicit": fast,
        "ratio": slow / fast,
        "error": error.max(),
        "correlation": min(correlation),
    }


def main() -> None:
    """Print the table, and whether the aim is met."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.machine()}, one thread, processor seconds.\n")
    print(f"{'n':>5}{'retraining':>12}{'implicit':>10}{'ratio':>8}{'error':>8}{'correlation':>13}")
    for n in SIZES:
        row = compare(n)
        print(
            f"{n:>5}{row['retraining']:>12.2f}{row['implicit']:>10.4f}{row['ratio']:>8.0f}"
            f"{row['error']:>8.3f}{row['correlation']:>13.4f}",
            flush=True,
        )
    met = row["ratio"] >= 50 and row["error"] < 0.1 and row["correlation"] > 0.99
    print(f"\nAt n = {row['n']} the aim is {'met' if met else 'NOT met'}.")


if __name__ == "__main__":
    main()
