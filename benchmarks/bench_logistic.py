"""Logistic fits for 100 repetitions: stlcore's batch against a loop over scikit-learn.

Run ``python benchmarks/bench_logistic.py``. Both sides get the same items, start from
zero coefficients and use no penalty, on one thread. The peer is LogisticRegression with its
default solver and with its fastest one for few features, each at a tolerance at which
the coefficients agree to 1e-5 (the default, 1e-4, does not reach that; its time is shown too).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import platform
import time
from collections.abc import Callable, Iterator

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

from stlcore.cycles import fresh_mixture, full_synthetic
from stlcore.learners import Logistic
from stlcore.loop import run
from stlcore.schedules import Share, Size
from stlcore.streams import stream

SEED, REPETITIONS, TRIES = 20260231, 100, 5
TRUTH = [0.5, 1.0, -1.0, 0.5, 0.0, -0.5]
SIZES = (100, 200, 500, 1000, 2000, 5000)
PEERS = (("lbfgs", 1e-4), ("lbfgs", 1e-8), ("newton-cholesky", 1e-8))
LOOP_SIZE, LOOP_ROUNDS = 100, 50


def seconds(work: Callable[[], object], tries: int) -> float:
    """Processor time of one call, the least of a few."""
    spent = []
    for _ in range(tries):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def by_scikit(items, labels, solver: str, tolerance: float) -> np.ndarray:
    """Coefficients, one row for each repetition."""
    rows = []
    for x, y in zip(items, labels, strict=True):
        peer = LogisticRegression(C=np.inf, solver=solver, tol=tolerance, max_iter=1000).fit(x, y)
        rows.append(np.concatenate([peer.intercept_, peer.coef_[0]]))
    return np.array(rows)


def compare(n: int) -> list[str]:
    """The rows of the table for one sample size."""
    learner, size = Logistic(TRUTH), np.full(REPETITIONS, n)
    sample = learner.sample([learner.truth], np.ones(1), size, stream(SEED, n))
    fit = learner.fit(sample)
    sound = ~fit.separable  # the others have no fit to compare
    items = np.ascontiguousarray(sample.features.swapaxes(1, 2))  # the peer's own layout
    ours = seconds(lambda: learner.fit(sample), TRIES)
    rows = []
    for solver, tolerance in PEERS:
        peer = by_scikit(items, sample.signs, solver, tolerance)
        gap = np.abs(peer - fit.coefficients)[sound].max()
        theirs = seconds(
            lambda s=solver, t=tolerance: by_scikit(items, sample.signs, s, t), max(TRIES - 2, 1)
        )
        rows.append(
            f"{n:>6}{ours:>10.4f}  {solver:<16}{tolerance:>8g}{theirs:>10.3f}"
            f"{theirs / ours:>8.1f}{gap:>10.1e}{int((~sound).sum()):>11}"
        )
    return rows


def loop_times() -> Iterator[str]:
    """Whole loops."""
    cycles = {
        "full synthetic": full_synthetic(),
        "share 1/sqrt(t)": fresh_mixture(Share.power(0.5)),
        "accumulated": full_synthetic().accumulated(),
    }
    for label, cycle in cycles.items():
        rng = stream(SEED, label)
        start = time.process_time()
        frame = run(Logistic(TRUTH), cycle, Size.power(LOOP_SIZE, 1), LOOP_ROUNDS, REPETITIONS, rng)
        spent = time.process_time() - start
        yield (
            f"{label:<17}{spent:>8.1f}{frame['separable'].mean():>11.1e}"
            f"{frame['unconverged'].mean():>13.1e}"
        )


def main() -> None:
    """Print both tables."""
    print(f"numpy {np.__version__}, scikit-learn {sklearn.__version__}, {platform.machine()},")
    print(f"one thread, processor seconds, {REPETITIONS} repetitions, 5 features.\n")
    print(
        f"{'n':>6}{'seconds':>10}  {'peer':<16}{'tol':>8}{'seconds':>10}"
        f"{'ratio':>8}{'apart':>10}{'separable':>11}"
    )
    for n in SIZES:
        for row in compare(n):
            print(row, flush=True)
    print(f"\nLoops: {LOOP_ROUNDS} rounds, n_t = {LOOP_SIZE} t, {REPETITIONS} repetitions.\n")
    print(f"{'cycle':<17}{'seconds':>8}{'separable':>11}{'unconverged':>13}")
    for row in loop_times():
        print(row, flush=True)


if __name__ == "__main__":
    main()
