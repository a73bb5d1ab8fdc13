"""The theory of paper C, against enumeration, fractions, high precision and long recurrences."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stlcore.cycles import filtered_share
from stlcore.schedules import Share, Size
from stlcore.theory.contamination import (
    adaptive_bound,
    adaptive_risk,
    best_type1,
    classify,
    filtered_risk,
    filtered_step,
    limit_accumulation,
    limit_fixed,
    mean_inverse,
    random_count_risk,
    risk,
    smallest_size,
)
from stlcore.theory.enumeration import risk_by_enumeration

TRUTH = np.array([0.5, 0.3, 0.2])
SHARES, SIZES = (1, 0.3, 0.1, 0.6), (4, 3, 6, 5)
V = 1 - (TRUTH**2).sum()

probability = st.floats(0, 1)
risk_of_a_draw = st.floats(0.01, 0.99)
size_lists = st.lists(st.integers(1, 10**5), min_size=2, max_size=40)


@st.composite
def small_loops(draw):
    """A law on two or three classes and a few short rounds, small enough to list."""
    weights = np.array(draw(st.lists(st.integers(0, 9), min_size=2, max_size=3)), dtype=float)
    assume(weights.sum() > 0)
    rounds = draw(st.integers(1, 4))
    shares = [1, *(draw(probability) for _ in range(rounds - 1))]
    sizes = [draw(st.integers(1, 4)) for _ in range(rounds)]
    return weights / weights.sum(), shares, sizes


# --- Theorem 3.1 and its accumulating form ---------------------------------------------------


def test_recurrence_of_the_reference_loop():
    expected = [0.155, 0.2573, 0.2770108333333333, 0.1594573866666667]
    by_recurrence = risk(SHARES, SIZES, V)
    assert by_recurrence == pytest.approx(expected, abs=1e-12)
    assert risk_by_enumeration(TRUTH, SHARES, SIZES) == pytest.approx(by_recurrence, abs=1e-12)


@pytest.mark.parametrize("accumulate", [False, True])
@given(loop=small_loops())
def test_recurrence_against_enumeration(accumulate, loop):
    truth, shares, sizes = loop
    by_recurrence = risk(shares, sizes, 1 - (truth**2).sum(), accumulate=accumulate)
    by_listing = risk_by_enumeration(truth, shares, sizes, accumulate=accumulate)
    assert by_recurrence == pytest.approx(by_listing, abs=1e-12)


@given(size_lists, st.data())
def test_risk_stays_between_zero_and_that_of_a_draw(sizes, data):
    shares = [1, *(data.draw(probability) for _ in sizes[1:])]
    for accumulate in (False, True):
        values = risk(shares, sizes, 0.7, accumulate)
        assert np.all(values >= 0)
        assert np.all(values <= 0.7 * (1 + 1e-12))


@given(size_lists)
def test_risk_of_fresh_samples(sizes):
    total = np.cumsum(sizes)
    assert risk(1.0, sizes, 0.7) == pytest.approx(0.7 / np.array(sizes))
    assert risk(1.0, sizes, 0.7, accumulate=True) == pytest.approx(0.7 / total)


def test_risk_broadcasts():
    shares = np.array([[1, 0.3, 0.1], [1, 0, 0.5]])
    together = risk(shares[:, None, :], [[4, 3, 6], [1, 2, 3]], np.array([[0.5, 0.7]] * 2))
    assert together.shape == (2, 2, 3)
    for i, j in itertools.product(range(2), range(2)):
        alone = risk(shares[i], [[4, 3, 6], [1, 2, 3]][j], [0.5, 0.7][j])
        assert np.array_equal(together[i, j], alone)


@pytest.mark.parametrize(
    ("shares", "sizes", "message"),
    [
        ([0.5, 0.5], [3, 3], "round 1 has real data only, so its share must be 1"),
        ([1, 1.2], [3, 3], r"every share must lie in \[0, 1\]"),
        ([1, -0.2], [3, 3], r"every share must lie in \[0, 1\]"),
        ([1, np.nan], [3, 3], r"every share must lie in \[0, 1\]"),
        ([1, 0.2], [3, 0], "every sample size must be at least 1"),
        ([1, 0.2], [3, np.nan], "every sample size must be at least 1"),
        ([], [], "shares and sizes must hold at least one round"),
        (1, 3, "shares and sizes must hold at least one round"),
    ],
)
def test_sequences_that_cannot_be(shares, sizes, message):
    with pytest.raises(ValueError, match=message):
        risk(shares, sizes, 0.5)
    with pytest.raises(ValueError, match=message):
        filtered_risk(shares, sizes, 0.1, 0.1, 0.5)
    with pytest.raises(ValueError, match=message):
        random_count_risk(shares, sizes, 0.1, 0.5)


# --- Limits ----------------------------------------------------------------------------------


@given(st.floats(0.02, 1), st.integers(1, 1000), risk_of_a_draw)
def test_limit_with_a_fixed_share(alpha, n, V):
    limit = limit_fixed(alpha, n, V)
    assert limit == pytest.approx((1 - alpha) ** 2 * (1 - 1 / n) * limit + V / n)  # a fixed point
    rounds = 1200  # 0.98**2400 < 1e-20
    values = risk(Share.fixed(alpha).values(rounds), [n] * rounds, V)
    assert values[-1] == pytest.approx(limit)
    assert np.all(values <= limit * (1 + 1e-12))


@given(st.lists(st.floats(0.2, 1), min_size=99, max_size=99), st.integers(2, 100))
def test_limit_with_a_fixed_share_bounds_larger_shares(shares, n):
    """Corollary 3.2: alpha_t >= alpha. Here the risk is below the bound from the start."""
    assert risk([1, *shares], [n] * 100, 0.6).max() <= limit_fixed(0.2, n, 0.6) * (1 + 1e-12)


def test_limits_at_the_ends():
    assert limit_fixed(0, 50, 0.8) == pytest.approx(0.8)
    assert limit_fixed(1, 50, 0.8) == pytest.approx(0.8 / 50)
    for alpha in (-0.1, 1.2, math.nan):
        with pytest.raises(ValueError, match=r"the share must lie in \[0, 1\], not"):
            limit_fixed(alpha, 50, 0.8)


def accumulated_synthetic(sizes, V):
    return risk([1] + [0] * (len(sizes) - 1), sizes, V, accumulate=True)


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_limit_of_accumulation(n):
    # The recurrence approaches its limit like c / T; two lengths take that term out.
    values = accumulated_synthetic(np.full(40_000, n), 0.7)
    extrapolated = 2 * values[-1] - values[19_999]
    assert limit_accumulation(n, 0.7) == pytest.approx(extrapolated, rel=1e-8)


def test_ratio_of_accumulation():
    ratio = limit_accumulation(7, 0.9) / (0.9 / 7)
    assert ratio == pytest.approx(1.5328, abs=5e-5)
    by_mpmath = 7 * (1 - mpmath.nprod(lambda t: 1 - mpmath.mpf(1) / (7 * t**2), [1, mpmath.inf]))
    assert ratio == pytest.approx(float(by_mpmath), rel=1e-9)
    ratios = [n * limit_accumulation(n, 1.0) for n in (1, 10, 100, 10_000, 10**6)]
    assert ratios[0] == pytest.approx(1)
    assert np.all(np.diff(ratios) > 0)
    assert ratios[-1] == pytest.approx(math.pi**2 / 6, rel=2e-6)


@given(size_lists)
def test_accumulation_at_most_doubles_and_always_increases(sizes):
    sizes = np.array(sizes)
    values = accumulated_synthetic(sizes, 0.7)
    assert values.max() < 2 * values[0]
    if sizes[0] > 1:  # a first set of one token has the largest risk already
        assert np.all(np.diff(values) > 0)
    total = np.cumsum(sizes)
    assert (sizes / total**2)[1:].sum() <= 1 / sizes[0]
    by_product = 0.7 * (1 - np.cumprod(1 - sizes / total**2))
    assert values == pytest.approx(by_product)


# --- Proposition 3.4 -------------------------------------------------------------------------


def next_risk(n: int, alpha: float, previous: float, V: float) -> Fraction:
    """One round in exact arithmetic on the given floats."""
    kept = (1 - Fraction(alpha)) ** 2
    return kept * (1 - Fraction(1, n)) * Fraction(previous) + Fraction(V) / n


@given(st.floats(0.001, 1), st.floats(1e-6, 1), risk_of_a_draw)
@settings(max_examples=300)
def test_smallest_size_is_exactly_the_threshold(alpha, part, V):
    previous = part * V
    kept = (1 - Fraction(alpha)) ** 2
    threshold = (Fraction(V) - kept * Fraction(previous)) / ((1 - kept) * Fraction(previous))
    # nearer to a whole number than floats can tell: see the next test
    assume(abs(threshold - round(threshold)) > threshold * Fraction(1, 10**10))
    n = smallest_size(alpha, previous, V)
    assert n == int(n)
    n = int(n)
    assert n >= 1
    assert next_risk(n, alpha, previous, V) < Fraction(previous)
    if n > 1:
        assert next_risk(n - 1, alpha, previous, V) >= Fraction(previous)


@given(st.integers(1, 10**6), risk_of_a_draw)
@example(93, 0.5)
def test_smallest_size_where_the_threshold_is_whole(n, V):
    # With alpha = 1 and R = V / n the same size gives the same risk: one more is needed.
    assert smallest_size(1, V / n, V) == n + 1
    # With alpha = 1/2 the threshold is (4n - 1) / 3, whole for n = 1, 4, 7, ...
    m = 3 * n - 2
    assert smallest_size(0.5, V / m, V) == (4 * m - 1) // 3 + 1
    # From the worst risk, R = V, every size from 2 on improves.
    assert smallest_size(0.3, V, V) == 2


def test_smallest_size_at_the_ends():
    assert smallest_size(0, 0.1, 0.5) == math.inf
    assert smallest_size(0.5, 0, 0.5) == math.inf
    with pytest.raises(ValueError, match=r"the share must lie in \[0, 1\], not 2"):
        smallest_size(2, 0.1, 0.5)


# --- Filtering -------------------------------------------------------------------------------


@given(small_loops(), st.floats(0, 0.95), st.floats(0.05, 1))
def test_filtered_risk_against_enumeration(loop, type1, type2):
    truth, shares, sizes = loop
    exact = filtered_risk(shares, sizes, type1, type2, 1 - (truth**2).sum())
    by_listing = risk_by_enumeration(truth, shares, sizes, filter=(type1, type2))
    assert exact == pytest.approx(by_listing, abs=1e-12)


def test_filtered_risk_of_the_reference_loop():
    filter = (0.2, 0.35)
    by_listing = risk_by_enumeration(TRUTH, SHARES, SIZES, filter=filter)
    assert filtered_risk(SHARES, SIZES, *filter, V) == pytest.approx(by_listing, abs=1e-12)
    mean_field = filtered_risk(SHARES, SIZES, *filter, V, exact=False)
    assert np.abs(mean_field - by_listing).max() > 0.01  # far off at these sizes


def test_a_filter_that_keeps_everything_changes_nothing():
    assert filtered_risk(SHARES, SIZES, 0, 1, V) == pytest.approx(risk(SHARES, SIZES, V), abs=1e-14)


def test_mean_field_form():
    """Remark D.3: good when n q is large; it is Theorem 3.1 with n q items of the new share."""
    after, kept = filtered_share(0.3, 0.2, 0.1)
    shares, sizes = [1, 0.3], [50, 10**6]
    mean_field = filtered_risk(shares, sizes, 0.2, 0.1, V, exact=False)
    assert mean_field == pytest.approx(risk([1, after], [50, 10**6 * kept], V))
    assert filtered_risk(shares, sizes, 0.2, 0.1, V) == pytest.approx(mean_field, rel=1e-4)


@pytest.mark.parametrize(
    ("tv", "share", "size", "previous"),
    [
        (0.0, 0.3, 100, 0.1),
        (0.05, 0.1, 1000, 0.05),
        (0.3, 0.3, 20, 0.2),
        (0.3, 0.02, 10_000, 0.01),
        (0.7, 0.5, 5, 0.5),
        (0.2, 1.0, 100, 0.1),
        (0.2, 0.0, 100, 0.1),
        (1.0, 0.4, 30, 0.3),
    ],
)
def test_best_type1_is_a_minimum(tv, share, size, previous):
    eta, best = best_type1(tv, share, size, previous, 0.6)
    assert 0 <= eta <= 1 - tv
    assert best == pytest.approx(filtered_step(eta, 1 - tv - eta, share, size, previous, 0.6))
    # as low as anywhere on a grid five times as fine as the one it looks at itself
    for other in np.linspace(0, 1 - tv, 1007)[:-1]:
        other_risk = filtered_step(other, max(1 - tv - other, 0), share, size, previous, 0.6)
        assert best <= other_risk * (1 + 1e-9)


def test_best_type1_by_hand():
    # Perfect separation: throw away all synthetic items and no real one.
    assert best_type1(1.0, 0.4, 30, 0.3, 0.6)[0] == 0
    # No separation at all: every filter is a coin, so keep everything.
    eta, best = best_type1(0.0, 0.4, 30, 0.3, 0.6)
    assert eta == pytest.approx(0, abs=1e-6)
    assert best == pytest.approx(risk([1, 0.4], [0.6 / 0.3, 30], 0.6)[-1])


@pytest.mark.parametrize(
    ("tv", "share", "message"),
    [
        (1.2, 0.5, r"a total variation distance must lie in \[0, 1\], not 1.2"),
        (0.5, -1, r"the share must lie in \[0, 1\], not -1"),
        (1.0, 0.0, "the filter keeps nothing"),
    ],
)
def test_best_type1_refuses(tv, share, message):
    with pytest.raises(ValueError, match=message):
        best_type1(tv, share, 10, 0.1, 0.5)


# --- E[1/N | N >= 1] -------------------------------------------------------------------------


def mean_inverse_by_fractions(n: int, q: Fraction) -> Fraction:
    chance = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    return sum(c / k for k, c in enumerate(chance) if k) / (1 - chance[0])


@given(st.integers(1, 40), st.floats(1e-12, 1))
def test_mean_inverse_against_fractions(n, q):
    exact = float(mean_inverse_by_fractions(n, Fraction(q)))
    assert mean_inverse(n, q) == pytest.approx(exact, rel=1e-12)


def mean_inverse_by_mpmath(n: int, q: float, window: float = 20) -> float:
    """Terms from the mode outwards by their ratios, with 40 digits."""
    with mpmath.workdps(40):
        q = mpmath.mpf(q)
        odds = q / (1 - q)
        mode = max(1, int(n * q))
        reach = int(window * mpmath.sqrt(n * q * (1 - q)) + 60)
        total, weighted = mpmath.mpf(0), mpmath.mpf(0)
        for step in (1, -1):
            k, term = mode, mpmath.mpf(1)
            while 1 <= k <= n and abs(k - mode) <= reach:
                if step == 1 or k != mode:
                    total, weighted = total + term, weighted + term / k
                if step == 1:
                    term *= odds * (n - k) / (k + 1)
                else:
                    term *= k / (odds * (n - k + 1))
                k += step
        return float(weighted / total)


@pytest.mark.parametrize(
    ("n", "q"),
    [
        (1000, 1e-9),  # tiny n q: nearly always 1
        (10, 1e-200),
        (10**6, 1e-7),
        (10**9, 3e-9),
        (10**9, 1e-8),
        (10**6, 5e-5),
        (5000, 0.02),
        (5000, 0.999),
        (10**5, 0.3),
    ],
)
def test_mean_inverse_in_high_precision(n, q):
    assert mean_inverse(n, q) == pytest.approx(mean_inverse_by_mpmath(n, q), rel=1e-11)


@pytest.mark.parametrize(("n", "q"), [(10**9, 0.3), (10**10, 0.01), (2**40, 1e-5)])
def test_mean_inverse_of_huge_samples(n, q):
    # E[1/N] = (1 + s + 2 s^2 - s/m ...) / m with m = n q and s = (1 - q) / m, up to O(s^2)
    m = n * q
    assert mean_inverse(n, q) == pytest.approx((1 + (1 - q) / m) / m, rel=10 / m**2 + 1e-12)


def test_mean_inverse_at_the_ends():
    assert mean_inverse(7, 1.0) == pytest.approx(1 / 7)
    assert mean_inverse(1, 0.01) == 1
    for kept in (0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"the fraction kept must lie in \(0, 1\], not"):
            mean_inverse(7, kept)
    with pytest.raises(ValueError, match="the sample size must be at least 1, not 0"):
        mean_inverse(0, 0.5)


# --- A random count --------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [0.15, 0.5, 1.0])
def test_random_count_risk_over_all_paths_of_counts(chance):
    """Sum over every sequence of counts; a round without data leaves the fit alone."""
    shares, sizes, V = [1, 0.3, 0.0, 0.6], [3, 4, 2, 5], 0.62
    total, expected = 0.0, np.zeros(4)
    for counts in itertools.product(*(range(n + 1) for n in sizes)):
        if counts[0] == 0:
            continue
        weight = math.prod(
            math.comb(n, k) * chance**k * (1 - chance) ** (n - k)
            for n, k in zip(sizes, counts, strict=True)
        )
        path = []
        for alpha, k in zip(shares, counts, strict=True):
            before = path[-1] if path else 0.0
            path.append((1 - alpha) ** 2 * (1 - 1 / k) * before + V / k if k else before)
        total += weight
        expected += weight * np.array(path)
    assert random_count_risk(shares, sizes, chance, V) == pytest.approx(expected / total, abs=1e-13)


@pytest.mark.parametrize("chance", [0.2, 0.7, 1.0])
def test_random_count_risk_from_a_uniform_start(chance):
    """Sum over all counts and all outcomes, from the uniform law where round 1 has no data."""
    shares, sizes, truth = [1, 0.3, 0.0, 0.6], [2, 3, 1, 2], 0.3  # of two classes
    laws, expected = {0.5: 1.0}, []  # probability of the first class -> chance of that fit
    for alpha, n in zip(shares, sizes, strict=True):
        following = {}
        for law, weight in laws.items():
            for k in range(n + 1):
                occurs = weight * math.comb(n, k) * chance**k * (1 - chance) ** (n - k)
                if k == 0:
                    following[law] = following.get(law, 0) + occurs
                    continue
                p = alpha * truth + (1 - alpha) * law
                for first in range(k + 1):
                    outcome = math.comb(k, first) * p**first * (1 - p) ** (k - first)
                    following[first / k] = following.get(first / k, 0) + occurs * outcome
        laws = following
        expected.append(sum(w * 2 * (law - truth) ** 2 for law, w in laws.items()))
    V = 1 - truth**2 - (1 - truth) ** 2
    risks = random_count_risk(shares, sizes, chance, V, classes=2)
    assert risks == pytest.approx(expected, abs=1e-13)
    together = random_count_risk(shares, sizes, [chance, 0.5], [V, 0.3], classes=2)
    assert together.shape == (2, 4)
    assert together[0] == pytest.approx(risks, abs=1e-15)


# --- Adaptive shares -------------------------------------------------------------------------


@given(size_lists, risk_of_a_draw, st.floats(0.001, 1))
def test_adaptive_bound(sizes, V, c):
    def rule(previous):
        return 1 - min(1.0, math.sqrt(c / previous))

    shares, risks = adaptive_risk(rule, sizes, V)
    bound = adaptive_bound(c, sizes, V)
    assert np.all(risks[1:] <= bound[1:] * (1 + 1e-12))
    assert risks == pytest.approx(risk(shares, sizes, V))
    # where the rule is at work, what is carried over is c exactly, and so is the bound
    at_work = np.flatnonzero(risks[:-1] > c) + 1
    assert risks[at_work] == pytest.approx(bound[at_work])


@given(size_lists, risk_of_a_draw, st.floats(0.1, 1000))
def test_adaptive_bound_of_the_exponential_rule(sizes, V, rate):
    """(1 - alpha)^2 R = R exp(-2 rate R) is at most 1 / (2 rate e)."""
    _, risks = adaptive_risk(lambda previous: 1 - math.exp(-rate * previous), sizes, V)
    bound = adaptive_bound(1 / (2 * rate * math.e), sizes, V)
    assert np.all(risks[1:] <= bound[1:] * (1 + 1e-12))


@pytest.mark.parametrize("V", [0.7, 0.62, 0.98, 0.1])
def test_adaptive_risk_that_goes_all_the_way_to_collapse(V):
    _, risks = adaptive_risk(lambda previous: 0.0, [3] * 400, V)
    assert risks[-1] == pytest.approx(V)


def test_adaptive_shares_must_be_shares():
    with pytest.raises(ValueError, match=r"the share must lie in \[0, 1\], not .*1.5"):
        adaptive_risk(lambda previous: 1.5, [3, 3], 0.5)


# --- Consistency, improvement, collapse ------------------------------------------------------

N = 10
GRID_SHARES = {
    "0": Share.fixed(0),
    "1/10": Share.fixed(0.1),
    "1": Share.fixed(1),
    "1/log": Share.log(1),
    "1/sqrt t": Share.power(0.5),
    "1/t": Share.power(1),
    "0.3/t": Share.power(1, 0.3),
    "1/(t log)": Share.log(1, power=1),
    "1/(t log^2)": Share.log(2, power=1, scale=0.9),
    "1/t^2": Share.power(2),
}
GRID_SIZES = {
    "n": Size.fixed(N),
    "n log": Size.log(N, power=0),
    "n sqrt t": Size.power(N, 0.5),
    "n t": Size.power(N, 1),
    "n t log": Size.log(N),
    "n t log^2": Size.log(N, exponent=2),
    "n t^2": Size.power(N, 2),
}
C, B, K = "consistency", "improvement", "collapse"  # B for better
#: Decided by hand from: does sum alpha + 1/n diverge, and where does alpha n go.
KINDS = {  # n, n log, n sqrt t, n t, n t log, n t log^2, n t^2
    "0": [K, K, K, K, K, K, K],
    "1/10": [K, C, C, C, C, C, C],
    "1": [B, C, C, C, C, C, C],  # at a fixed size every round is like the first
    "1/log": [K, B, C, C, C, C, C],
    "1/sqrt t": [K, K, B, C, C, C, C],
    "1/t": [K, K, K, B, C, C, C],
    "0.3/t": [K, K, K, K, C, C, C],  # V / (2 * 0.3 n + 1) lies above V / n
    "1/(t log)": [K, K, K, K, B, C, C],
    "1/(t log^2)": [K, K, K, K, K, None, None],  # convergent: a number, not a rule
    "1/t^2": [K, K, K, K, K, None, None],
}
#: alpha n tends to this in the borderline cases, and the risk to V / (2 this + 1).
BORDER = {
    ("1/log", "n log"): N,
    ("1/sqrt t", "n sqrt t"): N,
    ("1/t", "n t"): N,
    ("0.3/t", "n t"): 0.3 * N,
    ("1/(t log)", "n t log"): N,
}
CASES = [(a, n, acc) for a in GRID_SHARES for n in GRID_SIZES for acc in (False, True)]


@pytest.fixture(scope="module")
def long_recurrences():
    """Risks after 10^2, 10^3, 10^4 and 10^5 rounds for every case of the grid."""
    rounds, marks = 10**5, [10**2, 10**3, 10**4, 10**5]
    shares = np.stack([GRID_SHARES[a].values(rounds) for a, _, _ in CASES[::2]])
    sizes = np.stack([GRID_SIZES[n].values(rounds) for _, n, _ in CASES[::2]])
    found = {}
    for accumulate in (False, True):
        weight = sizes / np.cumsum(sizes, axis=1) if accumulate else np.ones(sizes.shape)
        current = 0.9 / sizes[:, 0]
        for t in range(1, rounds):
            w, alpha, n = weight[:, t], shares[:, t], sizes[:, t]
            spread = (0.9 - (1 - alpha) ** 2 * current) / n  # noise of the new items
            current = (1 - alpha * w) ** 2 * current + w**2 * spread
            if t + 1 in marks:
                for (a, size, _), value in zip(CASES[::2], current, strict=True):
                    found.setdefault((a, size, accumulate), []).append(value)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_classify_against_long_recurrences(case, long_recurrences):
    share, size, accumulate = case
    verdict = classify(GRID_SHARES[share], GRID_SIZES[size], 0.9, accumulate)
    values = np.array(long_recurrences[case])
    assert verdict.first == 0.9 / GRID_SIZES[size].values(1)[0]
    assert verdict.error >= 0
    assert verdict.limit >= 0
    assert verdict.reason

    if accumulate:
        # sum of alpha / t: diverges for a fixed share and for 1 / log t
        expected = C if share in ("1/10", "1", "1/log") else None
    else:
        expected = KINDS[share][list(GRID_SIZES).index(size)]
    if expected is not None:
        assert verdict.kind == expected
    else:
        assert verdict.kind in (B, K)

    if verdict.kind == C:
        assert verdict.limit == verdict.error == 0
        assert np.all(values[1:] < 0.9 * values[:-1])  # still falling, decade by decade
    else:
        assert (verdict.kind == B) == (verdict.limit <= verdict.first * (1 + 1e-12))
        gap = np.abs(values - verdict.limit)
        settled = gap <= 1e-9 + verdict.error
        assert np.all((gap[1:] < gap[:-1]) | settled[1:])  # nearer, decade by decade


@pytest.mark.parametrize(("share", "size"), BORDER)
def test_classify_borderline(share, size, long_recurrences):
    """alpha_t n_t tends to a constant f: the risk tends to V / (2 f + 1), not to 0."""
    verdict = classify(GRID_SHARES[share], GRID_SIZES[size], 0.9)
    assert verdict.kind == (K if share == "0.3/t" else B)
    assert verdict.error == 0
    assert verdict.limit == pytest.approx(0.9 / (2 * BORDER[share, size] + 1))
    slack = 0.1 if "log" in share else 0.02
    assert long_recurrences[share, size, False][-1] == pytest.approx(verdict.limit, rel=slack)


def test_classify_fixed():
    verdict = classify(Share.fixed(0.1), Size.fixed(100), 0.9)
    assert verdict.limit == limit_fixed(0.1, 100, 0.9)
    assert verdict.kind == K
    assert classify(Share.fixed(1), Size.fixed(100), 0.9).limit == pytest.approx(0.009)
    assert classify(Share.fixed(0), Size.fixed(100), 0.9).limit == 0.9


def test_purely_fresh_data_at_a_fixed_size_is_no_collapse():
    """The paper: improvement is also to settle at a level close to the first risk."""
    verdict = classify(Share.fixed(1), Size.fixed(100), 0.9)
    assert verdict.kind == B
    assert verdict.limit == pytest.approx(verdict.first)
    # The border at which a decaying share leaves the risk where it was: 2 a n + 1 = n.
    assert classify(Share.power(1, 0.4), Size.power(5, 1), 0.9).kind == B
    assert classify(Share.power(1, 0.39), Size.power(5, 1), 0.9).kind == K


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("size", [Size.fixed(1), Size.power(1, 1), Size.power(1, 2)])
def test_classify_one_token_without_fresh_data(size, accumulate):
    """The first risk is V already, and nothing lowers it."""
    verdict = classify(Share.fixed(0), size, 0.9, accumulate)
    assert (verdict.kind, verdict.limit, verdict.error) == (K, 0.9, 0)
    assert risk([1] + [0] * 99, size.values(100), 0.9, accumulate) == pytest.approx(0.9)


@pytest.mark.parametrize("accumulate", [False, True])
@given(exponent=st.floats(1.3, 4), part=st.floats(1e-3, 1), growth=st.floats(1.3, 4))
@settings(max_examples=15, deadline=None)
def test_classify_one_token_and_some_fresh_data(accumulate, exponent, part, growth):
    """From the worst risk there is, any fresh item improves, and for ever."""
    verdict = classify(Share.power(exponent, part), Size.power(1, growth), 0.9, accumulate)
    assert verdict.kind == B
    assert verdict.limit + verdict.error < 0.9


def test_classify_against_closed_forms():
    # No fresh data, n_t = n t^2: V (1 - prod (1 - 1/(n t^2))) = V (1 - sin(x)/x), x = pi/sqrt n.
    verdict = classify(Share.fixed(0), Size.power(7, 2), 0.9)
    assert verdict.kind == K
    assert verdict.limit == pytest.approx(0.9 * (1 - np.sinc(1 / math.sqrt(7))), abs=verdict.error)
    assert 0 < verdict.error < 1e-6
    # No fresh data, accumulating, n_t = n: the same product.
    verdict = classify(Share.fixed(0), Size.fixed(7), 0.9, accumulate=True)
    assert verdict.kind == K
    assert verdict.limit == pytest.approx(limit_accumulation(7, 0.9), abs=verdict.error)
    assert 0 < verdict.error < 1e-6
    # alpha_t = 1/t^2 and sizes so large that only the first risk counts:
    # prod (1 - 1/t^2)^2 = 1/4 of it is left.
    verdict = classify(Share.power(2), Size.power(10, 8), 0.9)
    assert verdict.kind == B
    noise = sum(0.9 / (10 * t**8) for t in range(2, 50))
    assert verdict.first / 4 - verdict.error <= verdict.limit <= verdict.first / 4 + noise


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("share", "size"),
    [
        (Share.power(2), Size.power(100, 2)),
        (Share.power(2, 4), Size.power(100, 2)),  # round 2 has real data only
        (Share.power(1.5, 0.5), Size.power(3, 3)),
        (Share.power(3), Size.log(20, 2)),
        (Share.of(20, Size.power(50, 2)), Size.total(20, Size.power(50, 2))),
    ],
)
def test_the_bracket_holds_the_limit(share, size, accumulate):
    """Against the recurrence at T and 2T, with the leading 1/T^p taken out by Aitken's rule."""
    verdict = classify(share, size, 0.9, accumulate)
    rounds = 2**16
    values = risk(share.values(rounds), np.ceil(size.curve(rounds)), 0.9, accumulate)
    a, b, c = values[rounds // 4 - 1], values[rounds // 2 - 1], values[-1]
    aitken = c if b == a else c - (c - b) ** 2 / ((c - b) - (b - a))
    assert abs(aitken - verdict.limit) <= verdict.error + 2e-6 * aitken
    assert verdict.error < 0.01 * verdict.limit


def test_classify_a_very_slow_sum():
    # sum t^-1.01 converges, but not within any run; the bracket is wide and must stay above 0.
    verdict = classify(Share.power(1.01), Size.power(100, 2), 0.9)
    assert verdict.kind == B
    assert verdict.limit - verdict.error >= 0


@pytest.mark.parametrize("V", [0, 1, -0.1, 1.5, math.nan])
def test_classify_refuses_a_wrong_risk(V):
    with pytest.raises(ValueError, match=r"V must lie in \(0, 1\), not"):
        classify(Share.fixed(0.1), Size.fixed(10), V)


@pytest.mark.parametrize(
    ("share", "size"),
    [(Share.explicit([1, 0.5]), Size.fixed(10)), (Share.fixed(0.1), Size.explicit([3, 4]))],
)
def test_classify_refuses_an_explicit_sequence(share, size):
    with pytest.raises(ValueError, match="an explicit sequence ends"):
        classify(share, size, 0.5)
