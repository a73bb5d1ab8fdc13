"""Brute force: the risk of a small loop by summing over every possible outcome.

Independent of the recurrences it is held against: no expectation is taken by
hand, each training set is listed with its probability.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import binom

from stlcore.cycles import filtered_share

__all__ = ["compositions", "risk_by_enumeration"]


def compositions(size: int, classes: int) -> np.ndarray:
    """All vectors of ``classes`` counts that sum to ``size``, one a row."""
    if classes == 1:
        return np.array([[size]])
    return np.vstack(
        [
            np.insert(compositions(size - head, classes - 1), 0, head, axis=1)
            for head in range(size + 1)
        ]
    )


def _multinomial(counts: np.ndarray, laws: np.ndarray) -> np.ndarray:
    """Probability of each row of counts (columns) under each row of laws (rows)."""
    size = counts[0].sum()
    log_ways = gammaln(size + 1) - gammaln(counts + 1).sum(axis=1)
    return np.exp(log_ways + xlogy(counts[None, :, :], laws[:, None, :]).sum(axis=2))


def risk_by_enumeration(
    truth,
    shares,
    sizes,
    *,
    accumulate: bool = False,
    filter: tuple[float, float] | None = None,
) -> np.ndarray:
    r"""Exact risks of a small categorical loop, outcome by outcome.

    Parameters
    ----------
    truth : array_like, shape (K,)
        The true law.
    shares, sizes : sequence, length T
        :math:`\alpha_t` (the first is 1) and :math:`n_t`; keep the sizes below
        about 10, for the number of outcomes grows fast.
    accumulate : bool
        Whether a round trains on all data so far.
    filter : (eta, nu), optional
        Error rates of a filter from round 2 on; an empty batch is drawn again.

    Returns
    -------
    ndarray, shape (T,)
    """
    truth = np.asarray(truth, dtype=float)
    pooled, chance = np.zeros((1, len(truth)), dtype=int), np.ones(1)
    law, risks = truth[None, :], []
    for t, (share, size) in enumerate(zip(shares, sizes, strict=True)):
        numbers, of_number = np.array([size]), np.ones(1)
        if filter is not None and t > 0:
            share, kept = filtered_share(share, *filter)
            numbers = np.arange(1, size + 1)
            of_number = binom.pmf(numbers, size, kept) / (1 - (1 - kept) ** size)
        mixture = share * truth + (1 - share) * law
        totals, joint = [], []
        for number, weight in zip(numbers, of_number, strict=True):
            counts = compositions(int(number), len(truth))
            joint.append((weight * chance[:, None] * _multinomial(counts, mixture)).ravel())
            before = pooled if accumulate else np.zeros_like(pooled)
            totals.append((before[:, None, :] + counts[None, :, :]).reshape(-1, len(truth)))
        pooled, place = np.unique(np.vstack(totals), axis=0, return_inverse=True)
        chance = np.bincount(place.ravel(), np.concatenate(joint), len(pooled))
        law = pooled / pooled.sum(axis=1, keepdims=True)
        risks.append(chance @ ((law - truth) ** 2).sum(axis=1))
    return np.array(risks)
