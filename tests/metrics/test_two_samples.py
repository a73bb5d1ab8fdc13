"""Distances of samples: hand-made sets, brute force, and the law of the permutation p-value."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom

from stlcore.metrics import two_samples
from stlcore.metrics.two_samples import fidelity, mmd_squared, mmd_test, nearest
from stlcore.streams import stream

LEVEL = 1e-5  # false alarm of one statistical test here


def by_loops(x, y, bandwidth):
    """The unbiased estimate pair by pair."""

    def k(a, b):
        return math.exp(-((a - b) ** 2).sum() / (2 * bandwidth**2))

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_the_estimate_is_the_sum_over_pairs():
    rng = stream(1, "pairs")
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((5, 3)) + 0.5
    assert mmd_squared(x, y, 0.8) == pytest.approx(by_loops(x, y, 0.8), rel=1e-12)


def test_the_estimate_is_unbiased():
    """Mean over 1000 samples against the closed form for normal laws, a z-test.

    With i = j among the pairs of one sample it would be off by ten standard errors or more.
    """
    rng, h, shift = stream(1, "unbiased"), 1.0, 0.7
    found = np.array(
        [
            mmd_squared(rng.standard_normal((4, 1)), shift + rng.standard_normal((3, 1)), h)
            for _ in range(1000)
        ]
    )
    # E k(x, y) for x - y ~ N(s, 2): sqrt(h^2/(h^2+2)) exp(-s^2/(2 (h^2+2))).
    same = math.sqrt(h**2 / (h**2 + 2))
    exact = 2 * same * (1 - math.exp(-(shift**2) / (2 * (h**2 + 2))))
    z = (found.mean() - exact) / (found.std() / math.sqrt(len(found)))
    assert abs(z) < 4.5


def test_the_p_value_is_uniform_under_equal_laws():
    """With 19 permutations it is uniform on {1/20, ..., 1}; 600 data sets, binomial tests."""
    rng = stream(1, "uniform")
    p = np.array(
        [
            mmd_test(
                rng.standard_normal((6, 2)),
                rng.standard_normal((9, 2)),
                1.0,
                rng,
                permutations=19,
            ).p_value
            for _ in range(600)
        ]
    )
    for u in (0.05, 0.25, 0.5, 0.75):
        hits = int((p <= u + 1e-9).sum())
        assert binom.cdf(hits, 600, u) > LEVEL
        assert binom.sf(hits - 1, 600, u) > LEVEL


def test_different_laws_are_told_apart():
    rng = stream(1, "power")
    x, y = rng.standard_normal((60, 2)), 1.2 + rng.standard_normal((50, 2))
    result = mmd_test(x, y, 1.5, rng, permutations=199)
    assert result.p_value == pytest.approx(1 / 200)
    assert result.squared == pytest.approx(mmd_squared(x, y, 1.5))


def test_equal_points_give_the_largest_p_value():
    same = np.ones((4, 2))
    assert mmd_test(same, same, 1.0, stream(1, "same"), permutations=9).p_value == 1


@pytest.mark.parametrize("pairs", [20, 137, 2000])
def test_some_rows_at_a_time_give_the_same(monkeypatch, pairs):
    rng = stream(1, "blocks")
    x, y = rng.standard_normal((43, 2)), 0.3 + rng.standard_normal((37, 2))

    def measures():
        test = mmd_test(x, y, 0.8, stream(1, "relabelled"), permutations=30)
        return [*test, mmd_squared(x, y, 0.8), *fidelity(x, y)]

    at_once = measures()
    monkeypatch.setattr(two_samples, "PAIRS", pairs)
    assert measures() == pytest.approx(at_once, rel=1e-9, abs=1e-12)


def test_memory_does_not_grow_with_the_square(monkeypatch):
    """All pairs of 6000 points would take 288 MB; a block of 2^17 of them takes 1 MB."""
    monkeypatch.setattr(two_samples, "PAIRS", 2**17)
    rng = stream(1, "memory")
    x, y = rng.standard_normal((2, 3000, 1))
    tracemalloc.start()
    try:
        mmd_test(x, y, 1.0, rng, permutations=9)
        fidelity(x, y)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 12e6


def test_single_precision_takes_no_second_copy(monkeypatch):
    """2400 points of 500 coordinates are 4.8 MB, and 9.6 MB in double precision."""
    monkeypatch.setattr(two_samples, "PAIRS", 2**16)
    x, y = stream(1, "single").standard_normal((2, 1200, 500), dtype=np.float32)
    tracemalloc.start()
    try:
        found = mmd_squared(x, y, 30.0), *fidelity(x, y)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4.5e6  # tiles, and no second copy
    x, y = x.astype(float), y.astype(float)
    assert found == pytest.approx((mmd_squared(x, y, 30.0), *fidelity(x, y)), abs=1e-9)


def test_nearest_by_hand():
    points = [[0.0], [1.0], [10.0]]
    assert nearest(points).tolist() == [1, 1, 9]
    assert nearest(points, 2).tolist() == [10, 9, 10]
    assert nearest(points, to=[[0.0], [7.0]]).tolist() == [0, 1, 3]  # 0 itself counts here
    assert nearest(points, 2, to=[[0.0], [7.0]]).tolist() == [7, 6, 10]
    for k, to in ((3, None), (3, [[0.0], [7.0]]), (0, None), (1, [[0.0, 1.0]])):
        with pytest.raises(ValueError, match=r"at least|same dimension|whole number"):
            nearest(points, k, to=to)


def test_neighbours_by_hand():
    # Balls with k = 1: real 0 and 1 reach 1, real 10 reaches 9; generated 0.5 and 2 reach
    # 1.5, generated 30 reaches 28.
    real, generated = [[0.0], [1.0], [10.0]], [[0.5], [2.0], [30.0]]
    found = fidelity(real, generated, neighbours=1)
    # 0.5 is in the balls of 0 and 1; 2 in those of 1 and 10; 30 in none.
    assert found.precision == pytest.approx(2 / 3)
    assert found.density == pytest.approx(4 / 3)
    # Each real point has a generated one in its ball.
    assert found.coverage == 1
    # 0 and 1 lie within 1.5 of 0.5; 10 lies within 28 of 30.
    assert found.recall == 1


def test_neighbours_of_samples_far_apart():
    rng = stream(1, "far")
    real, generated = rng.standard_normal((20, 3)), 100 + rng.standard_normal((15, 3))
    assert fidelity(real, generated) == (0, 0, 0, 0)


def test_a_dropped_mode_costs_recall_and_coverage_but_not_precision():
    rng = stream(1, "mode")
    real = np.concatenate([rng.standard_normal((100, 2)), 50 + rng.standard_normal((100, 2))])
    found = fidelity(real, rng.standard_normal((100, 2)))
    assert found.precision > 0.8
    assert found.recall <= 0.5
    assert found.coverage <= 0.5


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.zeros((0, 2)), np.zeros((5, 2)), "x must be a table of at least 2 points"),
        (np.zeros((5, 2)), np.zeros((1, 2)), "y must be a table of at least 2 points"),
        (np.zeros(5), np.zeros((5, 2)), "x must be a table"),
        (np.zeros((5, 2)), np.zeros((5, 3)), "the same dimension"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), "NaN"),
    ],
)
def test_bad_samples_are_named(x, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        mmd_squared(x, y, 1.0)


def test_bad_settings_are_named():
    x = np.arange(8.0).reshape(4, 2)
    for bandwidth in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="bandwidth"):
            mmd_squared(x, x, bandwidth)
    with pytest.raises(ValueError, match="permutations"):
        mmd_test(x, x, 1.0, stream(1, "x"), permutations=0)
    with pytest.raises(ValueError, match="at least 6 points"):
        fidelity(x, x)
    with pytest.raises(ValueError, match="neighbours"):
        fidelity(x, x, neighbours=0)
