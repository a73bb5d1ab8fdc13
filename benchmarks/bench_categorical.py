"""What figure 2 of paper C costs: the loop, the bare draws, and one token at a time.

Run ``python benchmarks/bench_categorical.py``; `README.md` beside this file
explains the three lines it prints.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import platform
import time
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from stlcore.cycles import Cycle, fresh_mixture
from stlcore.learners import Categorical
from stlcore.loop import run
from stlcore.pages import as_array
from stlcore.schedules import Share, Size
from stlcore.streams import stream

SEED, CLASSES, SIZE, ROUNDS, REPETITIONS = 20260231, 50, 100, 200, 100
SHARES = (Share.fixed(0.1), Share.power(0.5), Share.power(1), Share.power(2))
SIZES = (Size.fixed(SIZE), Size.power(SIZE, 1), Size.power(SIZE, 2), Size.log(SIZE))
TRIES = 3


class Curve(NamedTuple):
    """One of the 32 settings of the figure."""

    share: Share
    size: Size
    accumulate: bool

    @property
    def cycle(self) -> Cycle:
        """Its data cycle."""
        cycle = fresh_mixture(self.share)
        return cycle.accumulated() if self.accumulate else cycle


CURVES = [Curve(*setting) for setting in product(SHARES, SIZES, (False, True))]


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, to which other programs on the machine add little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def loop(curve: Curve, truth: np.ndarray, observe=None):
    """One curve of the figure, as the page C-10 runs it."""
    rng = stream(SEED, "benchmark", str(curve))
    result = run(
        Categorical(truth), curve.cycle, curve.size, ROUNDS, REPETITIONS, rng, observe=observe
    )
    return as_array(result, "squared_error")


def laws_of(curve: Curve, truth: np.ndarray) -> list[np.ndarray]:
    """The laws from which the rounds of ``loop(curve, truth)`` draw, each (repetitions, K)."""
    share = curve.share.values(ROUNDS)
    laws = [np.tile(truth, (REPETITIONS, 1))]

    def keep(t: int, model: np.ndarray) -> None:
        if t < ROUNDS:
            laws.append(share[t] * truth + (1 - share[t]) * model)

    loop(curve, truth, observe=keep)
    return laws


def bare_draws(curve: Curve, laws: list[np.ndarray]) -> None:
    """The multinomial draws of a curve and nothing else."""
    rng = stream(SEED, "bare", str(curve))
    for size, law in zip(curve.size.values(ROUNDS), laws, strict=True):
        rng.multinomial(size, law)


def token_by_token(curve: Curve, truth: np.ndarray) -> None:
    """One repetition of a curve without accumulation: draw each token, then count."""
    rng = stream(SEED, "tokens", str(curve))
    law = truth
    shares = np.append(curve.share.values(ROUNDS)[1:], 0)  # of the round to come
    for size, share in zip(curve.size.values(ROUNDS), shares, strict=True):
        tokens = rng.choice(CLASSES, size, p=law)
        law = share * truth + (1 - share) * np.bincount(tokens, minlength=CLASSES) / size


def figure_times(truth: np.ndarray) -> tuple[float, float]:
    """Seconds for all curves by the loop and by the bare draws.

    The two alternate curve by curve, and the best of a few tries counts.
    """
    totals = np.zeros(2)
    for curve in CURVES:
        laws = laws_of(curve, truth)
        tries = [
            (
                seconds(lambda c=curve: loop(c, truth)),
                seconds(lambda c=curve, w=laws: bare_draws(c, w)),
            )
            for _ in range(TRIES)
        ]
        totals += np.min(tries, axis=0)
    return tuple(totals)


def token_times(truth: np.ndarray) -> list[tuple[Size, int, float]]:
    """For each sample size: tokens drawn in one repetition of one curve, and seconds."""
    rows = []
    for size in SIZES:
        curve = Curve(SHARES[2], size, accumulate=False)
        spent = seconds(lambda c=curve: token_by_token(c, truth))
        rows.append((size, int(size.values(ROUNDS).sum()), spent))
    return rows


def main() -> None:
    """Measure all three in one run and print the table."""
    truth = stream(SEED, "truth").dirichlet(np.ones(CLASSES))
    loop_time, bare_time = figure_times(truth)
    rows = token_times(truth)
    copies = len(CURVES) // len(SIZES) * REPETITIONS
    token_time = copies * sum(spent for *_, spent in rows)

    print(f"Figure 2 of paper C: {len(CURVES)} curves, {ROUNDS} rounds, {REPETITIONS} repetitions,")
    print(f"{CLASSES} classes. numpy {np.__version__}, {platform.machine()}, one thread.")
    print(f"Processor seconds, the best of {TRIES} tries for (a) and (b).\n")
    print(f"{'what':<44}{'seconds':>12}{'times (b)':>12}")
    for what, spent in (
        ("(a) stlcore's loop", loop_time),
        ("(b) bare multinomial draws, same sizes, laws", bare_time),
        ("(c) token by token, EXTRAPOLATED", token_time),
    ):
        print(f"{what:<44}{spent:>12.2f}{spent / bare_time:>12.2f}")

    print("\n(c) was measured on one repetition of one share (1/t, data replaced) for each sample")
    print(
        f"size, all {ROUNDS} rounds, and multiplied by {copies}: the shares, both ways to train and"
    )
    print("all repetitions draw equally many tokens. Measured:")
    print(f"{'sample size':<24}{'tokens':>14}{'seconds':>10}{'ns a token':>12}")
    for size, tokens, spent in rows:
        print(f"{size.latex:<24}{tokens:>14,}{spent:>10.3f}{spent / tokens * 1e9:>12.1f}")


if __name__ == "__main__":
    main()
