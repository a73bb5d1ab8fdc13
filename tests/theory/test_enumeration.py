"""The brute force itself, held against a slower one: every single token, in fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from stlcore.theory.enumeration import compositions, risk_by_enumeration


@pytest.mark.parametrize(("size", "classes"), [(0, 3), (1, 1), (5, 2), (4, 3), (6, 4)])
def test_compositions(size, classes):
    rows = compositions(size, classes)
    assert len(rows) == math.comb(size + classes - 1, classes - 1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert np.all(rows >= 0)
    assert np.all(rows.sum(axis=1) == size)


def token_by_token(truth, shares, sizes, accumulate=False, filter=None):
    """Risks in exact fractions, by listing each token's origin, value and fate.

    In a round every token is real or synthetic, has a class, and passes the filter
    or not; a batch of which nothing passes is drawn again.
    """
    classes = range(len(truth))
    states = {(0,) * len(truth): Fraction(1)}  # counts trained on -> probability
    risks = []
    for t, (share, size) in enumerate(zip(shares, sizes, strict=True)):
        type1, type2 = filter if filter is not None and t > 0 else (Fraction(0), Fraction(1))
        following = {}
        for counts, chance in states.items():
            total = sum(counts)
            law = [Fraction(c, total) for c in counts] if t else truth
            fates = {}  # class of a token that passes, or None -> probability
            for k in classes:
                fates[k] = share * truth[k] * (1 - type1) + (1 - share) * law[k] * type2
            fates[None] = 1 - sum(fates.values())
            some = 1 - fates[None] ** size
            for tokens in itertools.product(fates, repeat=size):
                new = tuple(tokens.count(k) for k in classes)
                if not any(new):
                    continue
                weight = chance * math.prod(fates[token] for token in tokens) / some
                kept = tuple(map(sum, zip(counts, new, strict=True))) if accumulate else new
                following[kept] = following.get(kept, 0) + weight
        states = following
        assert sum(states.values()) == 1
        risks.append(
            sum(
                chance
                * sum(
                    (Fraction(c, sum(counts)) - p) ** 2 for c, p in zip(counts, truth, strict=True)
                )
                for counts, chance in states.items()
            )
        )
    return risks


F = Fraction


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("filter", [None, (F(1, 5), F(1, 3)), (F(0), F(1, 10)), (F(1), F(1, 2))])
@pytest.mark.parametrize(
    ("truth", "shares", "sizes"),
    [
        ((F(1, 2), F(1, 2)), (F(1), F(1, 2)), (1, 1)),
        ((F(1, 5), F(4, 5)), (F(1), F(1, 3), F(0)), (3, 2, 4)),
        ((F(1, 2), F(3, 10), F(1, 5)), (F(1), F(3, 10), F(1, 10)), (2, 3, 1)),
    ],
)
def test_every_token_agrees(truth, shares, sizes, accumulate, filter):
    slow = token_by_token(truth, shares, sizes, accumulate, filter)
    fast = risk_by_enumeration(
        [float(p) for p in truth],
        [float(a) for a in shares],
        sizes,
        accumulate=accumulate,
        filter=None if filter is None else tuple(map(float, filter)),
    )
    assert fast == pytest.approx([float(r) for r in slow], abs=1e-13)


def test_classes_that_do_not_occur():
    with_empty = risk_by_enumeration([0.4, 0, 0.6], [1, 0.5], [3, 2])
    assert with_empty == pytest.approx(risk_by_enumeration([0.4, 0.6], [1, 0.5], [3, 2]), abs=1e-13)
    assert np.all(risk_by_enumeration([0, 1], [1, 0.5], [3, 2]) == 0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        risk_by_enumeration([0.5, 0.5], [1, 0.5], [3])
