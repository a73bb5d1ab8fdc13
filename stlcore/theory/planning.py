r"""Planning a loop: from volumes of data to its risk, its end and its needs.

A plan says how many items each round gets: fresh real ones, as long as a budget
lasts, and synthetic ones. Here it becomes the shares and sizes that
:func:`~stlcore.theory.contamination.risk` and
:func:`~stlcore.theory.contamination.classify` take. Nothing in this module
depends on the truth but through the factor V, the risk of a single draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from stlcore.checks import check_count
from stlcore.cycles import Filter
from stlcore.schedules import Growth, Share, Size
from stlcore.theory.contamination import Verdict, classify, mean_inverse, risk
from stlcore.theory.limits import settled

__all__ = ["KEEP_ALL", "Plan", "effective_size", "fresh_needed"]

#: A filter that keeps every item.
KEEP_ALL = Filter(type1=0.0, type2=1.0)
#: `classify` looks this far ahead where it has to sum.
HORIZON = 1_000_000


def effective_size(drawn, kept, accumulate: bool = False):
    r"""What to put for the sample size when a filter keeps each item with probability ``kept``.

    With :math:`N\sim\mathrm{Bin}(n,q)` given :math:`N\ge1` it is :math:`1/E[1/N]` for a
    round that trains on its own items alone: :func:`~stlcore.theory.contamination.risk` is
    then exactly Theorem D.2 of paper C. A round that adds its items to all earlier
    ones takes the mean :math:`E[N]`, which is exact up to the spread of the pooled number.

    Parameters
    ----------
    drawn : array_like
        Number of items n before the filter, whole.
    kept : array_like
        Probability q that an item is kept; broadcasts against ``drawn``.
    accumulate : bool
        Whether the round trains on all items so far.

    Returns
    -------
    ndarray
        At least 1, and 0 where nothing is drawn or kept.
    """
    drawn, kept = np.broadcast_arrays(np.asarray(drawn, float), np.asarray(kept, float))
    mean = drawn * kept
    sizes = np.zeros(mean.shape)
    some = mean > 0
    if accumulate:
        with np.errstate(divide="ignore"):  # q = 1: the logarithm is minus infinity
            chance = -np.expm1(drawn[some] * np.log1p(-kept[some]))
        sizes[some] = mean[some] / chance
    else:
        many = mean >= 200
        sizes[many] = 1 / _mean_inverse_of_many(drawn[many], kept[many])
        if (few := some & ~many).any():
            given = np.stack([drawn[few], kept[few]])
            pairs, place = np.unique(given, axis=1, return_inverse=True)
            inverse = np.array([mean_inverse(n, q) for n, q in pairs.T])
            sizes[few] = 1 / inverse[place.ravel()]
    return np.where(some, np.maximum(sizes, 1), 0)[()]


def _mean_inverse_of_many(n: np.ndarray, q: np.ndarray) -> np.ndarray:
    r""":math:`E[1/N]` for a mean nq of 200 or more, where :math:`P(N=0)` is below 1e-80.

    From :math:`1/N=\sum_j(j-1)!/((N+1)\cdots(N+j))`, whose terms have means in closed
    form; the mean of term j + 1 is at most j / 200 times that of term j.
    """
    total = np.zeros(n.shape)
    for start in range(0, n.size, 2**14):  # the larger the means, the fewer terms
        part = slice(start, start + 2**14)
        n_, q_ = n[part], q[part]
        term = 1 / ((n_ + 1) * q_)
        for j in range(1, 16):
            total[part] += term
            if not np.any(term > 1e-17 * total[part]):  # no later term changes the sum
                break
            term = term * j / ((n_ + 1 + j) * q_)
    return total


def fresh_needed(
    worth: float, synthetic: int, filter: Filter = KEEP_ALL, pooled: float | None = None
) -> float:
    r"""Fewest fresh real items with which the next round lowers the risk.

    Parameters
    ----------
    worth : float
        :math:`\rho=V/R_t`: the present model is as good as a fit on that many real items.
    synthetic : int
        Synthetic items of the next round, before the filter.
    filter : Filter
        Its error rates.
    pooled : float, optional
        Items that the present model was trained on, if the next round trains on
        them too; None if it trains on its own items alone.

    Returns
    -------
    float
        A whole number from 1 up, or infinity when the filter keeps no real item.

    Raises
    ------
    ValueError
        If ``worth`` is below 1 or ``synthetic`` is negative.

    Notes
    -----
    Derived here. With n new items, a share :math:`\alpha` of them real, and N items to
    train on (N = n without accumulation), :math:`R_{t+1}<R_t` holds if and only if
    :math:`\alpha(2-\alpha n/N)N>\rho-(1-\alpha)^2`. Both sides cross once as fresh
    items are added.
    """
    if not worth >= 1 - 1e-9:
        raise ValueError(f"a model is worth at least one real item, not {worth!r}")
    if not synthetic >= 0:
        raise ValueError(f"the number of synthetic items must not be negative: {synthetic!r}")
    if filter.type1 == 1:
        return math.inf

    def lowers(fresh: int) -> bool:
        real, copied = (1 - filter.type1) * fresh, filter.type2 * synthetic
        if real + copied == 0:
            return False
        alpha, drawn = real / (real + copied), fresh + synthetic
        n = effective_size(drawn, (real + copied) / drawn, pooled is not None)
        total = n + (pooled or 0)
        # The shift: a threshold that is met but for rounding leaves the risk as it is.
        return alpha * (2 - alpha * n / total) * total > (worth - (1 - alpha) ** 2) * (1 + 1e-12)

    return float(_first_true(lowers))


def _first_true(holds: Callable[[int], bool]) -> int:
    """The first whole number from 1 up for which ``holds``, true for all after it."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2  # does not hold, or is 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Plan:
    r"""A loop by its volumes: what every round gets to train on.

    Attributes
    ----------
    first : int
        Real items of round 1.
    fresh, synthetic : Size or None
        Fresh real and synthetic items of round t from 2 on; None for none.
    budget : int or None
        Real items there are in all, those of round 1 among them. What is left is
        handed out until nothing is; None if they never end.
    filter : Filter
        Error rates of the filter that every batch from round 2 on goes through.
    accumulate : bool
        Whether every round trains on all items so far.

    Raises
    ------
    ValueError
        If the budget does not cover the first round, or a rate is outside [0, 1].

    Notes
    -----
    As in paper C, the items of a round are independent draws from the mixture
    whose share is the one of the volumes.
    """

    first: int
    fresh: Size | None
    synthetic: Size | None
    budget: int | None = None
    filter: Filter = KEEP_ALL
    accumulate: bool = False

    def __post_init__(self) -> None:
        check_count("the first real set", self.first)
        if self.budget is not None and check_count("the budget", self.budget) < self.first:
            raise ValueError("the budget must cover the first real set")
        if not all(0 <= rate <= 1 for rate in self.filter):
            raise ValueError(f"the error rates must lie in [0, 1], not {tuple(self.filter)}")

    @property
    def spent(self) -> int | None:
        """The round in which the last real item is used; None if they never end."""
        if self.budget is None or self.fresh is None:
            return None
        rounds = 1
        while np.sum(self._planned(rounds)) < self.budget:
            if rounds >= HORIZON:
                raise ValueError(f"the budget lasts for more than {HORIZON} rounds")
            rounds = min(2 * rounds, HORIZON)
        return 1 + int(np.searchsorted(np.cumsum(self._planned(rounds)), self.budget))

    @property
    def ends(self) -> int | None:
        """The last round that has anything to train on; None if all have."""
        if self.synthetic is not None and self.filter.type2 > 0:
            return None
        return 1 if self.fresh is None or self.filter.type1 == 1 else self.spent

    def _planned(self, rounds: int) -> np.ndarray:
        real = np.zeros(rounds) if self.fresh is None else self.fresh.counts(rounds)
        real[0] = self.first
        return real

    def volumes(self, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Real and synthetic items of rounds 1 to ``rounds``, before the filter."""
        real = self._planned(rounds)
        if self.budget is not None:
            real = np.diff(np.minimum(np.cumsum(real), self.budget), prepend=0)
        synthetic = np.zeros(rounds) if self.synthetic is None else self.synthetic.counts(rounds)
        synthetic[0] = 0
        return real, synthetic

    def batches(self, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        r"""Shares :math:`\alpha'_t` and effective sizes after the filter.

        See :func:`effective_size` for what stands in for the random number of items kept;
        it is 0 in a round that keeps none.
        """
        real, synthetic = self.volumes(rounds)
        drawn = real + synthetic
        real[1:] *= 1 - self.filter.type1
        kept = real + self.filter.type2 * synthetic
        some = kept > 0
        shares = np.divide(real, kept, out=np.zeros(rounds), where=some)
        chance = np.divide(kept, drawn, out=np.zeros(rounds), where=some)
        return shares, effective_size(drawn, np.minimum(chance, 1), self.accumulate)

    def risk(self, rounds: int, V: float) -> np.ndarray:
        r"""Risks :math:`R_1,\dots,R_T`; with nothing to train on, the model stays as it is."""
        active = min(rounds, self.ends or rounds)
        shares, sizes = self.batches(active)
        risks = risk(shares, sizes, V, self.accumulate)
        return np.append(risks, np.full(rounds - active, risks[-1]))

    def needed(self, rounds: int) -> np.ndarray:
        """Fewest fresh items that let round t + 1 lower the risk, for t = 1, ..., ``rounds``."""
        worth = 1 / self.risk(rounds, 1.0)
        _, sizes = self.batches(rounds)
        pooled = np.cumsum(sizes) if self.accumulate else [None] * rounds
        _, synthetic = self.volumes(rounds + 1)
        return np.array(
            [
                fresh_needed(w, s, self.filter, p)
                for w, s, p in zip(worth, synthetic[1:], pooled, strict=True)
            ]
        )

    def verdict(self, V: float, *, unlimited: bool = False) -> Verdict:
        """Where the loop ends up, by :func:`~stlcore.theory.contamination.classify`.

        Parameters
        ----------
        V : float
            Risk of a single draw, in (0, 1).
        unlimited : bool
            True for the plan as it would be if the real data never ended.

        Raises
        ------
        ValueError
            If the limit is too close to the first risk to tell which is larger,
            or the budget lasts for more than a million rounds.
        """
        plan = replace(self, budget=None) if unlimited else self
        if plan.ends is None:
            return classify(_PlannedShare(plan=plan), _PlannedSize(plan=plan), V, self.accumulate)
        limit, first = float(plan.risk(plan.ends, V)[-1]), V / self.first
        reason = (
            f"after round {plan.ends} there is nothing to train on, so the model stays as it is"
        )
        return settled(limit, first, V, reason)

    def _growth(self) -> tuple[Growth, Growth]:
        """Leading orders of the real and the synthetic items that pass the filter."""
        nothing = Growth(0.0, 0.0, 0.0)
        real = nothing if self.fresh is None or self.spent else self.fresh.growth
        synthetic = nothing if self.synthetic is None else self.synthetic.growth
        return (
            real._replace(scale=real.scale * (1 - self.filter.type1)),
            synthetic._replace(scale=synthetic.scale * self.filter.type2),
        )


@lru_cache(maxsize=1)
def _batches(plan: Plan, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and sizes of a plan, of which `classify` asks for one after the other."""
    return plan.batches(rounds)


@dataclass(frozen=True)
class _PlannedShare(Share):
    """The shares of a plan, for `classify`."""

    plan: Plan | None = None

    def __post_init__(self) -> None:
        """The plan has been checked."""

    def curve(self, rounds: int) -> np.ndarray:
        return _batches(self.plan, rounds)[0].copy()

    @property
    def growth(self) -> Growth:
        real, synthetic = self.plan._growth()
        return real.over(real.plus(synthetic)) if real.scale else real

    def bound(self, rounds: int) -> Growth:
        # Rounding up makes of r at most r + 1 real items.
        real = self.plan.fresh.counts(rounds)[-1] if self.plan.fresh else math.inf
        return self.growth._replace(scale=self.growth.scale * (1 + 1 / max(real - 1, 1)))


@dataclass(frozen=True)
class _PlannedSize(Size):
    """The effective sizes of a plan, for `classify`."""

    plan: Plan | None = None

    def __post_init__(self) -> None:
        """The plan has been checked."""

    def counts(self, rounds: int) -> np.ndarray:
        return _batches(self.plan, rounds)[1].copy()

    def values(self, rounds: int) -> np.ndarray:
        return self.counts(rounds)

    @property
    def growth(self) -> Growth:
        total = Growth.plus(*self.plan._growth())
        if total.power == total.log_power == 0:
            # A size that stays as it is counts as what stands in for it.
            total = total._replace(scale=float(self._settled()))
        return total

    def _settled(self) -> float:
        plan = self.plan
        real = 0 if plan.fresh is None or plan.spent else plan.fresh.counts(2)[1]
        synthetic = 0 if plan.synthetic is None else plan.synthetic.counts(2)[1]
        if synthetic and plan.filter.type2 == 0 and plan.synthetic.growth.power > 0:
            synthetic = 1e15  # ever more of them, and all dropped: a Poisson number is kept
        kept = (1 - plan.filter.type1) * real + plan.filter.type2 * synthetic
        return effective_size(real + synthetic, kept / (real + synthetic), plan.accumulate)
