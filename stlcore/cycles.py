r"""Data cycles: what the training set of a round is made of.

A cycle gives, for every round t, weights over {the fresh truth, the first real
set, generation k < t}. The schemes of all three papers are such weights:

=========================  ==========================================  ===========
cycle                      training law of round t >= 2                paper
=========================  ==========================================  ===========
``fresh_mixture(share)``   share of truth, the rest generation t-1     C, Sec. 2
``full_synthetic()``       generation t-1                              B, C
``balanced()``             1/t of truth and of every generation        B
``general(alpha, beta)``   any weights                                 B
``fixed_real(share)``      a share of the *first* real set, re-used    A
``coevolving(...)``        a truth that follows the models, and t-1    none
=========================  ==========================================  ===========

Four modifiers apply to all of them: :meth:`Cycle.accumulated` (train on everything drawn
so far, on the last rounds of it, or on a subsample), :meth:`Cycle.filtered` (a classifier
with given error rates throws items away before training), :meth:`Cycle.selected` (the
items with the best scores are kept) and :meth:`Cycle.exact` (every source gives its share
exactly; without it the items are i.i.d. from the mixture).

A cycle of one's own is a subclass of :class:`Cycle` with the method ``mixture``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from stlcore.checks import check_count, check_share
from stlcore.schedules import Share, as_share

__all__ = [
    "Cycle",
    "Filter",
    "Selection",
    "Weights",
    "balanced",
    "coevolving",
    "filtered_share",
    "fixed_real",
    "fresh_mixture",
    "full_synthetic",
    "general",
]


class Weights(NamedTuple):
    """Law of one round's training data; all entries together sum to 1.

    Attributes
    ----------
    fresh : float
        Weight of new draws from the truth.
    first : float
        Weight of the real data of round 1, used again.
    generations : ndarray, shape (t - 1,)
        Weights of the generations 1, ..., t - 1.
    """

    fresh: float
    first: float
    generations: np.ndarray


class Filter(NamedTuple):
    """A classifier that looks at each item but not at its label (paper C, App. D).

    Only its error rates count; for a choice by the content of the items see
    :class:`Selection`.
    """

    type1: float
    """Probability that a real item is thrown away."""
    type2: float
    """Probability that a synthetic item is kept."""


class Selection(NamedTuple):
    """Keep the items of a round with the best scores."""

    keep: float
    """Share of the candidates that is kept, at least one of them."""
    among: Literal["synthetic", "all"]
    """Whether the synthetic items of a round are the candidates, or all its new ones."""


def filtered_share(share, type1: float, type2: float):
    r"""Share of real data and fraction kept after a filter (paper C, Sec. 3).

    Parameters
    ----------
    share : float or array_like
        Share :math:`\alpha` of real items before the filter.
    type1, type2 : float
        Error rates :math:`\eta` and :math:`\nu`, see :class:`Filter`.

    Returns
    -------
    share, kept : float or ndarray
        :math:`\alpha'=\alpha(1-\eta)/q` and :math:`q=\alpha(1-\eta)+(1-\alpha)\nu`.

    Raises
    ------
    ValueError
        If the share or a rate is outside [0, 1], or the filter keeps nothing at all.
    """
    share = check_share(share, "a share")
    for name, rate in (("type-I", type1), ("type-II", type2)):
        if not 0 <= rate <= 1:
            raise ValueError(f"the {name} error rate must lie in [0, 1], not {rate!r}")
    real = share * (1 - type1)
    kept = real + (1 - share) * type2
    if np.any(kept <= 0):
        raise ValueError("the filter keeps nothing: no real item passes and no synthetic one")
    return (real / kept)[()], kept[()]


@dataclass(frozen=True)
class Cycle(ABC):
    """A data cycle; see the module's table for the ready-made ones.

    A subclass gives ``mixture(t)``. If that looks further back than the last generation,
    it also sets ``lookback``.

    Attributes
    ----------
    pooled : bool
        Whether a round trains on data of earlier rounds, too.
    budget : int or None
        Most items that a round trains on, a random part of all.
    window : int or None
        How many of the last rounds' data a round trains on; None for all.
    filter : Filter or None
        The classifier applied from round 2 on.
    selection : Selection or None
        The choice by scores made from round 2 on.
    shared_out : bool
        Whether every source gives its share of a round exactly, not at random.
    """

    pooled: bool = False
    budget: int | None = None
    window: int | None = None
    filter: Filter | None = None
    selection: Selection | None = None
    shared_out: bool = False

    #: How many past generations a round may draw from; None for all of them.
    lookback = 1
    #: Whether the first real set is used again.
    reuses_first = False

    @abstractmethod
    def mixture(self, t: int) -> Weights:
        """Weights of round t >= 2 before any filter."""

    def weights(self, t: int) -> Weights:
        """Weights of round ``t`` (from 1), after the filter where there is one."""
        t = check_count("the round", t)
        if t == 1:
            return Weights(1.0, 0.0, np.zeros(0))
        mixture = self.mixture(t)
        self._check(mixture, t)
        if self.filter is None:
            return mixture
        real, synthetic = _real(mixture), mixture.generations.sum()
        share, _ = filtered_share(real, *self.filter)
        to_real = share / real if real else 0.0
        to_synthetic = (1 - share) / synthetic if synthetic else 0.0
        return Weights(
            mixture.fresh * to_real, mixture.first * to_real, mixture.generations * to_synthetic
        )

    def kept(self, t: int) -> float:
        """Probability that an item of round ``t`` passes the filter (1 without one)."""
        if self.filter is None or t == 1:
            return 1.0
        return float(filtered_share(_real(self.mixture(t)), *self.filter)[1])

    def _check(self, mixture: Weights, t: int) -> None:
        """Refuse weights that are no law over what round t may draw from."""
        name = type(self).__name__
        if not isinstance(mixture, Weights):
            raise TypeError(f"{name}.mixture must return Weights, not {type(mixture).__name__}")
        generations = mixture.generations
        if len(generations) != t - 1:
            raise ValueError(
                f"the weights of round {t} must name {t - 1} generations, not {len(generations)}"
            )
        total = mixture.fresh + mixture.first + generations.sum()
        if not (abs(total - 1) <= 1e-9 and min(mixture.fresh, mixture.first) >= 0):
            raise ValueError(f"the weights of round {t} of {name} sum to {total:g}, not 1")
        if generations.min() < 0:
            raise ValueError(f"the weights of round {t} of {name} must not be negative")
        if self.lookback is not None and generations[: -self.lookback].any():
            raise ValueError(
                f"round {t} of {name} draws from generation "
                f"{1 + np.flatnonzero(generations)[0]}, but its lookback is {self.lookback}: "
                "set lookback = None to keep all generations"
            )
        if mixture.first and not self.reuses_first:
            raise ValueError(
                f"round {t} of {name} uses the first real set again, so it must set "
                "reuses_first = True"
            )

    def check_rounds(self, rounds: int) -> None:
        """Raise ValueError if the cycle is not defined for that many rounds."""
        if rounds > 1:
            self.weights(rounds)

    def accumulated(self, *, budget: int | None = None, window: int | None = None) -> Self:
        """The same cycle, training on everything drawn so far, each item once.

        Parameters
        ----------
        budget : int, optional
            Train on a random part of that many items, drawn anew in every round; on all
            as long as there are no more.
        window : int, optional
            Train on what the last ``window`` rounds drew, this one included.
        """
        for name, number in (("the budget", budget), ("the window", window)):
            if number is not None:
                check_count(name, number)
        return replace(self, pooled=True, budget=budget, window=window)

    def filtered(self, type1: float, type2: float) -> Self:
        """The same cycle behind a filter that errs at these rates, whatever the items say.

        For a choice by scores see :meth:`selected`.
        """
        filtered_share(0.5, type1, type2)  # checks the rates
        return replace(self, filter=Filter(type1, type2))

    def selected(self, keep: float, among: Literal["synthetic", "all"] = "synthetic") -> Self:
        """The same cycle, training from round 2 on on the items with the best scores.

        Parameters
        ----------
        keep : float
            Share of the candidates that is kept, rounded to the nearest whole number
            (ties to even) and at least one.
        among : {"synthetic", "all"}
            Candidates: the synthetic items of a round, or all its new ones. Real items that
            are used again are always kept.
        """
        if not check_share(keep, "the share to keep") > 0:
            raise ValueError("a selection must keep something")
        if among not in ("synthetic", "all"):
            raise ValueError(f"a selection is made among 'synthetic' or 'all', not {among!r}")
        return replace(self, selection=Selection(float(keep), among))

    def exact(self) -> Self:
        """The same cycle with exact counts: a round's size is shared out by its weights.

        Without it every item comes from a source chosen at random by the weights. See
        :func:`stlcore.learners.base.split` for the rounding.
        """
        return replace(self, shared_out=True)


def _real(mixture: Weights) -> float:
    return min(mixture.fresh + mixture.first, 1.0)  # weights may exceed 1 by rounding


def _previous_only(t: int, weight: float) -> np.ndarray:
    generations = np.zeros(t - 1)
    generations[-1] = weight
    return generations


@dataclass(frozen=True)
class _FreshMixture(Cycle):
    share: Share = field(default_factory=lambda: Share.fixed(1))

    def mixture(self, t: int) -> Weights:
        share = self.share.values(t)[-1]
        return Weights(share, 0.0, _previous_only(t, 1 - share))


@dataclass(frozen=True)
class _FixedReal(_FreshMixture):
    reuses_first = True

    def mixture(self, t: int) -> Weights:
        share = self.share.values(t)[-1]
        return Weights(0.0, share, _previous_only(t, 1 - share))


@dataclass(frozen=True)
class _Balanced(Cycle):
    lookback = None

    def mixture(self, t: int) -> Weights:
        return Weights(1 / t, 0.0, np.full(t - 1, 1 / t))


@dataclass(frozen=True)
class _Coevolving(Cycle):
    share: float = 1.0
    kappa: float = 0.0
    archive: float = 0.0

    lookback = None

    def mixture(self, t: int) -> Weights:
        old = (1 - self.kappa) ** np.arange(t - 1)[::-1]  # of what each generation left behind
        generations = self.share * self.kappa * old
        generations[-1] += 1 - self.share
        fresh = self.share * (1 - self.kappa) ** (t - 1)
        return Weights(
            self.archive + (1 - self.archive) * fresh, 0.0, (1 - self.archive) * generations
        )


@dataclass(frozen=True)
class _General(Cycle):
    alpha: tuple[float, ...] = ()
    beta: tuple[tuple[float, ...], ...] = ()

    lookback = None

    def mixture(self, t: int) -> Weights:
        if t - 2 >= len(self.alpha):
            raise ValueError(
                f"the cycle has weights for {len(self.alpha) + 1} rounds, but {t} are asked for"
            )
        return Weights(self.alpha[t - 2], 0.0, np.array(self.beta[t - 2]))


def fresh_mixture(share: Share | float) -> Cycle:
    r"""Round t draws from :math:`\alpha_t p^* + (1-\alpha_t) p_{\hat\theta_{t-1}}`.

    Parameters
    ----------
    share : Share or float
        The share of fresh real data; a number means a fixed share.

    Notes
    -----
    Paper C, Section 2. Draws are i.i.d. from the mixture, so the number of
    real items is itself random; with :meth:`Cycle.exact` it is the share of the size.
    """
    return _FreshMixture(share=as_share(share))


def full_synthetic() -> Cycle:
    """Every round from 2 on draws from the previous generation alone (papers B and C)."""
    return fresh_mixture(0.0)


def balanced() -> Cycle:
    """Round t draws in equal parts from the truth and from every generation (paper B)."""
    return _Balanced()


def general(alpha: Sequence[float], beta: Sequence[Sequence[float]]) -> Cycle:
    r"""The general data cycle of paper B.

    Parameters
    ----------
    alpha : sequence of float
        ``alpha[i - 1]`` is :math:`\alpha_i`, the weight of fresh real data in
        the training law of generation i + 1.
    beta : sequence of sequences of float
        ``beta[i - 1][k - 1]`` is :math:`\beta_i^k`, the weight of generation
        k there; row i has i entries.

    Raises
    ------
    ValueError
        If a row has the wrong length, a negative entry, or a sum other than 1.
    """
    alpha = tuple(float(a) for a in alpha)
    beta = tuple(tuple(float(b) for b in row) for row in beta)
    if len(alpha) != len(beta):
        raise ValueError(f"alpha has {len(alpha)} entries but beta has {len(beta)} rows")
    for i, (a, row) in enumerate(zip(alpha, beta, strict=True), start=1):
        if len(row) != i:
            raise ValueError(f"row {i} of beta must have {i} entries, not {len(row)}")
        if not min(a, *row) >= 0:
            raise ValueError(f"the weights of generation {i + 1} must not be negative")
        if not abs(a + sum(row) - 1) <= 1e-12:
            raise ValueError(f"the weights of generation {i + 1} sum to {a + sum(row):g}, not 1")
    return _General(alpha=alpha, beta=beta)


def fixed_real(share: Share | float) -> Cycle:
    r"""Round t re-uses :math:`\alpha n` points of the first real set (paper A).

    The counts are exact by themselves: :math:`\alpha n_t` rounded to the nearest whole
    number (ties to even) comes from the first set, all else from the previous
    generation. Accumulated, the first set is in the pool already, so a round adds only
    its synthetic items.
    """
    return _FixedReal(share=as_share(share))


def coevolving(share: float, kappa: float, archive: float = 0.0) -> Cycle:
    r"""Real data come from a truth that follows the models, for people read what they write.

    The truth moves as :math:`\theta^*_t=(1-\kappa)\theta^*_{t-1}+\kappa m_{t-1}`, and round t
    draws from :math:`\alpha\theta^*_t+(1-\alpha)m_{t-1}`. Written out, this is a mixture of
    the first truth, with weight :math:`\alpha(1-\kappa)^{t-1}`, and of all generations.

    Parameters
    ----------
    share : float
        :math:`\alpha`, the share of what the present truth writes.
    kappa : float
        How far the truth moves towards the last model in a round.
    archive : float
        A share of every round that is drawn from the first truth instead.

    Raises
    ------
    ValueError
        If one of them is outside [0, 1].
    """
    return _Coevolving(
        share=float(check_share(share)),
        kappa=float(check_share(kappa, "kappa")),
        archive=float(check_share(archive, "the archive's share")),
    )
