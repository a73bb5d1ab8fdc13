"""EM for 100 repetitions: stlcore's batch against a loop over scikit-learn's GaussianMixture.

Run ``python benchmarks/bench_mixture.py``. Both sides get the same points, start from
the true law, stop by the same rule (change of the mean log-likelihood below the
tolerance) and run without regularisation, on one thread. A row says how many EM steps each
took and how far apart the mean log-likelihoods of a repetition end, at most.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import platform
import time
from collections.abc import Callable, Iterator

import numpy as np
import sklearn
from sklearn.mixture import GaussianMixture

from stlcore.cycles import fresh_mixture, full_synthetic
from stlcore.learners import GaussianMixture1D
from stlcore.learners.mixture import log_likelihood
from stlcore.loop import run
from stlcore.schedules import Share, Size
from stlcore.streams import stream

SEED, REPETITIONS, TOLERANCE, STEPS, TRIES = 20260231, 100, 1e-6, 1000, 3
SIZES = (100, 200, 500, 1000, 2000, 5000)
TRUTHS = {
    "apart": ([0.3, 0.4, 0.3], [-3.0, 0.0, 3.0], [1.0, 0.5, 1.0]),
    "overlapping": ([0.3, 0.4, 0.3], [-2.0, 0.0, 2.5], [1.0, 1.0, 1.0]),
}
LOOP_SIZE, LOOP_ROUNDS = 100, 50


def seconds(work: Callable[[], object], tries: int = 1) -> float:
    """Processor time of one call, the least of a few."""
    spent = []
    for _ in range(tries):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def by_scikit(values: np.ndarray, truth) -> list[GaussianMixture]:
    """One estimator for each row of ``values``."""
    weights, means, variances = truth
    return [
        GaussianMixture(
            len(weights),
            tol=TOLERANCE,
            max_iter=STEPS,
            reg_covar=0,
            init_params="random",
            weights_init=weights,
            means_init=np.reshape(means, (-1, 1)),
            precisions_init=1 / np.reshape(variances, (-1, 1, 1)),
        ).fit(row[:, None])
        for row in values
    ]


def compare(name: str, n: int) -> str:
    """One row of the table."""
    learner = GaussianMixture1D(*TRUTHS[name], tolerance=TOLERANCE, steps=STEPS)
    size = np.full(REPETITIONS, n)
    sample = learner.sample([learner.truth], np.ones(1), size, stream(SEED, name, n))
    fit, peers = learner.fit(sample), by_scikit(sample.values, TRUTHS[name])
    scores = [p.score(row[:, None]) for p, row in zip(peers, sample.values, strict=True)]
    gap = np.abs(log_likelihood(sample, fit) - scores).max()
    ours = seconds(lambda: learner.fit(sample), TRIES)
    theirs = seconds(lambda: by_scikit(sample.values, TRUTHS[name]))
    steps = np.mean([peer.n_iter_ for peer in peers])
    return (
        f"{name:<13}{n:>6}{fit.steps.mean():>8.1f}{steps:>9.1f}"
        f"{ours:>10.4f}{theirs:>10.3f}{theirs / ours:>8.1f}{gap:>10.1e}"
    )


def loop_times() -> Iterator[str]:
    """Whole loops at the learner's default tolerance."""
    cycles = {
        "full synthetic": full_synthetic(),
        "share 1/sqrt(t)": fresh_mixture(Share.power(0.5)),
        "accumulated": full_synthetic().accumulated(),
    }
    for name, truth in TRUTHS.items():
        for label, cycle in cycles.items():
            rng, learner = stream(SEED, name, label), GaussianMixture1D(*truth)
            start = time.process_time()
            frame = run(learner, cycle, Size.power(LOOP_SIZE, 1), LOOP_ROUNDS, REPETITIONS, rng)
            spent = time.process_time() - start
            yield (
                f"{name:<13}{label:<17}{spent:>8.1f}{frame['steps'].mean():>8.1f}"
                f"{frame['unconverged'].mean():>13.1e}{frame['lost'].mean():>10.1e}"
            )


def main() -> None:
    """Print both tables."""
    print(f"numpy {np.__version__}, scikit-learn {sklearn.__version__}, {platform.machine()},")
    print(f"one thread, processor seconds, {REPETITIONS} repetitions, tolerance {TOLERANCE:g}.\n")
    print(
        f"{'components':<13}{'n':>6}{'steps':>8}{'sklearn':>9}"
        f"{'seconds':>10}{'sklearn':>10}{'ratio':>8}{'apart':>10}"
    )
    for name in TRUTHS:
        for n in SIZES:
            print(compare(name, n), flush=True)
    print(f"\nLoops: {LOOP_ROUNDS} rounds, n_t = {LOOP_SIZE} t, {REPETITIONS} repetitions.\n")
    print(
        f"{'components':<13}{'cycle':<17}{'seconds':>8}{'steps':>8}{'unconverged':>13}{'lost':>10}"
    )
    for row in loop_times():
        print(row, flush=True)


if __name__ == "__main__":
    main()
