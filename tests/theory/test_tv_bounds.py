"""The bounds of paper B, against linear algebra, random laws and high precision."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.schedules import Size
from stlcore.theory.gaussian_loops import gaussian_mean_variance
from stlcore.theory.tv_bounds import (
    biased_bound,
    bound,
    cycle_beta,
    cycle_weights,
    gaussian_phase,
    gaussian_phase_peak,
    noise_factor,
    phase_break_even,
    phase_curve,
    phase_peak,
    phase_peak_expansion,
    weights_balanced,
    weights_constant_share,
    weights_last_share,
)

generations = st.integers(1, 12)
seeds = st.integers(0, 10**6)
#: Where the reference sheet gives values of the peak: rate, exact, by the expansion.
PEAKS = [
    (1 / 4, {1: (1.5, 1.4695), 5: (8.7460, 8.7396), 100: (181.4041, 181.4038)}),
    (2 / 5, {1: (0.75, 0.6976), 5: (4.9311, 4.9197), 100: (105.1942, 105.1936)}),
    (1 / 2, {1: (0.5, 0.4308), 5: (3.6299, 3.6144), 100: (79.2262, 79.2254)}),
]


def random_rows(rng, i):
    """Weights alpha_j and beta_j of a random cycle, some of them 0."""
    rows = []
    for j in range(1, i + 1):
        row = rng.dirichlet(np.full(j + 1, 0.7)) * (rng.uniform(size=j + 1) < 0.8)
        row[rng.integers(j + 1)] += 1e-3
        rows.append(row / row.sum())
    return [row[0] for row in rows], [row[1:] for row in rows]


def matrix(beta, i):
    """The strictly lower triangular matrix B of the system."""
    table = np.zeros((i + 1, i + 1))
    for j, row in enumerate(beta[:i], start=1):
        table[j, :j] = row
    return table


def tv(p, q):
    return 0.5 * np.abs(p - q).sum()


# Weights


@given(seed=seeds, i=generations)
def test_weights_solve_the_linear_system(seed, i):
    _, beta = random_rows(np.random.default_rng(seed), i)
    inverse = np.linalg.inv(np.eye(i + 1) - matrix(beta, i))
    np.testing.assert_allclose(cycle_weights(beta, i), inverse[i], atol=1e-13)
    for j in range(i):  # more rows than are needed do no harm
        np.testing.assert_allclose(cycle_weights(beta, j), inverse[j, : j + 1], atol=1e-13)


@given(seed=seeds, i=generations, complex_valued=st.booleans())
def test_weights_with_multipliers_solve_the_linear_system(seed, i, complex_valued):
    rng = np.random.default_rng(seed)
    _, beta = random_rows(rng, i)
    kappa = rng.normal(size=(i + 1, 2, 3))
    if complex_valued:
        kappa = kappa + 1j * rng.normal(size=kappa.shape)
    got = cycle_weights(beta, i, kappa)
    assert got.dtype == kappa.dtype
    for a in range(2):
        for b in range(3):
            system = np.eye(i + 1) - kappa[:, a, b, None] * matrix(beta, i)
            np.testing.assert_allclose(
                got[:, a, b], np.linalg.inv(system)[i], rtol=1e-10, atol=1e-12
            )


@pytest.mark.parametrize("i", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_closed_forms_of_the_weights(i, share):
    last = general(
        [0.0] * (i - 1) + [share],
        [np.eye(j)[-1] for j in range(1, i)] + [np.eye(i)[-1] * (1 - share)],
    )
    for cycle, weights, total in (
        (full_synthetic(), np.ones(i + 1), i + 1),
        (balanced(), weights_balanced(i), sum(1 / m for m in range(1, i + 2))),
        (last, weights_last_share(share, i), 1 + i * (1 - share)),
        (
            fresh_mixture(share),
            weights_constant_share(share, i),
            (1 - (1 - share) ** (i + 1)) / share if share else i + 1,
        ),
    ):
        np.testing.assert_allclose(weights, cycle_weights(cycle_beta(cycle, i), i), atol=1e-14)
        assert weights.sum() == pytest.approx(total, rel=1e-13)


def test_last_share_of_the_paper_leaves_two_errors():
    for i in (1, 5, 50):
        assert weights_last_share((i - 1) / i, i).sum() == pytest.approx(2, rel=1e-13)


def test_before_the_first_mixing_there_is_one_weight():
    assert cycle_weights([], 0).tolist() == [1]
    for weights in (weights_balanced(0), weights_last_share(0.3, 0)):
        assert weights.tolist() == [1]


def test_last_share_of_a_half_lets_the_bound_grow():
    """It is of the order (i - 1)/i, but 1 minus it is not of the order 1/i."""
    for i in (1, 5, 50):
        assert weights_last_share(0.5, i).sum() == pytest.approx(1 + i / 2, rel=1e-13)


@given(i=st.integers(0, 40))
def test_shares_of_nothing_and_of_all(i):
    only_last = np.eye(i + 1)[i]
    for weights in (weights_last_share, weights_constant_share):
        assert weights(0.0, i).tolist() == [1.0] * (i + 1)
        assert weights(1.0, i).tolist() == only_last.tolist()


def test_noise_factors_of_the_sheet():
    i = 40
    assert noise_factor(np.ones(i + 1)) == pytest.approx(math.sqrt(i + 1))
    assert noise_factor(weights_constant_share(0.3, 2000)) == pytest.approx((1 - 0.49) ** -0.5)
    assert noise_factor(weights_last_share(1 - 1 / math.sqrt(i), i)) == pytest.approx(math.sqrt(2))
    assert noise_factor(weights_balanced(10**6)) == pytest.approx(math.pi / math.sqrt(6), rel=1e-6)


# The bound, on random laws


def random_loop(rng, generations=6, atoms=5, alike=0.0):
    """Laws of a loop whose learner makes errors of every kind and size.

    With ``alike`` near 1 all errors point the same way, and the bound is nearly attained.
    """
    alpha, beta = random_rows(rng, generations)
    truth = rng.dirichlet(np.ones(atoms))
    aim = np.eye(atoms)[rng.integers(atoms)]
    laws, err, distance = [], [], []
    for i in range(generations + 1):
        mix = truth
        if i:
            mix = alpha[i - 1] * truth + np.tensordot(beta[i - 1], laws, 1)
        target = aim if rng.uniform() < alike else rng.dirichlet(np.full(atoms, 0.5))
        law = mix + rng.uniform() ** 3 * (target - mix)
        laws.append(law)
        err.append(tv(law, mix))
        distance.append(tv(law, truth))
    return beta, np.array(err), np.array(distance)


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_bound_holds_surely(alike):
    rng = np.random.default_rng(1)
    slack = []
    for _ in range(300):
        beta, err, distance = random_loop(rng, alike=alike)
        slack += [bound(err, beta, i) - distance[i] for i in range(len(err))]
    assert min(slack) >= -1e-12


@pytest.mark.parametrize("factor", [0.9, 0.99])
def test_bound_fails_with_one_weight_too_small(factor):
    """Control: the check above does reject a wrong weight."""
    rng = np.random.default_rng(2)
    broken = np.zeros(7, dtype=bool)
    for _ in range(300):
        beta, err, distance = random_loop(rng, alike=1.0)
        weights = cycle_weights(beta, 6)
        for k in range(7):
            wrong = weights.copy()
            wrong[k] *= factor
            broken[k] |= wrong @ err < distance[6] - 1e-12
    assert broken.all()


def test_bound_is_attained_by_errors_that_point_the_same_way():
    """Mass that moves from one atom to another, a little in each generation."""
    step = 0.01
    truth = np.array([1.0, 0.0])
    alpha, beta = random_rows(np.random.default_rng(3), 6)
    laws = [truth + step * np.array([-1, 1])]
    for i in range(1, 7):
        mix = alpha[i - 1] * truth + np.tensordot(beta[i - 1], laws, 1)
        laws.append(mix + step * np.array([-1, 1]))
    for i in range(7):
        assert bound(np.full(7, step), beta, i) == pytest.approx(tv(laws[i], truth), rel=1e-12)


def test_bound_takes_many_realisations_at_once():
    _, beta = random_rows(np.random.default_rng(4), 5)
    err = np.random.default_rng(5).uniform(size=(3, 4, 8))
    got = bound(err, beta, 5)
    assert got.shape == (3, 4)
    assert got[2, 1] == pytest.approx(bound(err[2, 1], beta, 5))


def biased_loop(rng, generations=6, atoms=5):
    """As `random_loop`, but samples of generation k come from another law than it."""
    alpha, beta = random_rows(rng, generations)
    truth, aim = rng.dirichlet(np.ones(atoms)), np.eye(atoms)[rng.integers(atoms)]
    laws, drawn, err, distance = [], [], [], []
    for i in range(generations + 1):
        mix = truth
        if i:
            mix = alpha[i - 1] * truth + np.tensordot(beta[i - 1], drawn, 1)
        law = mix + rng.uniform() ** 4 * (aim - mix)
        laws.append(law)
        drawn.append(law + rng.uniform() ** 2 * (aim - law))
        err.append(tv(law, mix))
        distance.append(tv(law, truth))
    bias = np.array([tv(a, b) for a, b in zip(laws, drawn, strict=True)])
    return beta, np.array(err), bias, np.array(distance)


def test_bound_with_biased_samples_holds_surely_and_the_plain_one_does_not():
    rng = np.random.default_rng(6)
    extended, plain, short = [], [], []
    for _ in range(300):
        beta, err, bias, distance = biased_loop(rng)
        for i in range(1, 7):
            extended.append(biased_bound(err, bias, beta, i) - distance[i])
            plain.append(bound(err, beta, i) - distance[i])
            short.append(biased_bound(err, 0.9 * bias, beta, i) - distance[i])
    assert min(extended) >= -1e-12
    assert min(plain) < -1e-3  # control: the bias must be counted
    assert min(short) < -1e-3  # control: all of it


def test_extra_terms_of_biased_samples():
    i, b, share = 9, 0.02, 0.3
    zero = np.zeros(i + 1)
    bias = np.full(i, b)
    got = biased_bound(zero, bias, cycle_beta(full_synthetic(), i), i)
    assert got == pytest.approx(i * b)
    got = biased_bound(zero, bias, cycle_beta(fresh_mixture(share), i), i)
    assert got == pytest.approx(b * (1 - share) * (1 - (1 - share) ** i) / share)
    assert biased_bound(zero + b, 0 * bias, cycle_beta(balanced(), i), i) == pytest.approx(
        bound(zero + b, cycle_beta(balanced(), i), i)
    )


# The phase transition of the bound


@pytest.mark.parametrize("i", [1, 2, 5, 17])
@pytest.mark.parametrize("lam", [0.0, 0.4, 3.0, 100.0])
@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_phase_curve_is_the_bound_of_a_constant_share(i, lam, rate):
    """g_i is the sum of the weights at share 1/(1 + lambda), times the error."""
    weights = weights_constant_share(1 / (1 + lam), i)
    expected = weights.sum() * (1 + lam) ** -rate
    assert phase_curve(lam, i, rate) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("rate", "values"), PEAKS)
def test_peaks_of_the_sheet(rate, values):
    for i, (exact, expansion) in values.items():
        assert phase_peak(i, rate) == pytest.approx(exact, abs=5.1e-5)
        assert phase_peak_expansion(i, rate) == pytest.approx(expansion, abs=6e-5)
    assert phase_peak(1, rate) == pytest.approx((1 - rate) / (2 * rate), rel=1e-13)


def test_peak_of_the_second_generation():
    assert phase_peak(2) == pytest.approx(2 / (math.sqrt(13) - 3), rel=1e-13)


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("i", [1, 2, 3, 10, 300])
def test_peak_against_high_precision(i, rate):
    """The stationary point of g itself, found without the polynomial."""
    with mpmath.workdps(40):
        a = mpmath.mpf(rate)

        def slope(lam):  # of log g
            x = 1 + lam
            r = lam / x
            return (1 - a) / x - (i + 1) * r**i / x**2 / (1 - r ** (i + 1))

        start = phase_peak(i, rate)
        root = mpmath.findroot(slope, (0.8 * start, 1.2 * start), solver="anderson", tol=1e-60)
        assert abs(mpmath.mpf(start) / root - 1) < 1e-12


@pytest.mark.parametrize("rate", [0.25, 0.4, 0.7])
@pytest.mark.parametrize("i", [1, 4, 50])
def test_peak_is_the_only_maximum(i, rate):
    peak = phase_peak(i, rate)
    found = minimize_scalar(
        lambda v: -phase_curve(np.exp(v), i, rate), bounds=(-5, 12), options={"xatol": 1e-10}
    )
    assert np.exp(found.x) == pytest.approx(peak, rel=1e-5)
    for low, high, sign in ((1e-3, peak, 1), (peak, 1e4 * peak, -1)):
        values = phase_curve(np.geomspace(low, high, 400), i, rate)
        assert np.all(sign * np.diff(values) > 0)


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.4, 0.9])
@pytest.mark.parametrize("i", [1, 2, 3, 20, 300])
def test_phase_curve_with_a_small_first_generation_is_the_bound(i, rate):
    """Error 1 in generation 1 and x^-a afterwards, summed with the weights of the cycle."""
    for lam in (0.0, 0.4, 3.0, 100.0):
        weights = weights_constant_share(1 / (1 + lam), i)
        errors = np.append(1.0, np.full(i, (1 + lam) ** -rate))
        assert phase_curve(lam, i, rate, first_grows=False) == pytest.approx(
            weights @ errors, rel=1e-13
        )


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.4, 0.9])
@pytest.mark.parametrize("i", [1, 2, 3, 20, 300])
def test_peak_with_a_small_first_generation(i, rate):
    peak = phase_peak(i, rate, first_grows=False)
    with mpmath.workdps(40):
        a = mpmath.mpf(rate)

        def slope(lam):
            x = 1 + lam
            r = lam / x
            fall = i * r ** (i - 1) / x**2
            return (1 - a) * x**-a * (1 - r**i) - fall * (x ** (1 - a) - 1)

        root = mpmath.findroot(slope, (0.8 * peak, 1.2 * peak), solver="anderson", tol=1e-60)
        assert abs(mpmath.mpf(peak) / root - 1) < 1e-12
    for low, high, sign in ((1e-2 * peak, peak, 1), (peak, 1e3 * peak, -1)):
        values = phase_curve(np.geomspace(low, high, 400), i, rate, first_grows=False)
        assert np.all(sign * np.diff(values) > 0)
    assert peak > phase_peak(i, rate)


def test_peaks_with_a_small_first_generation_of_the_sheet():
    for i, value in {1: 3.605, 5: 9.01, 10: 15.23, 20: 27.1, 100: 116.8}.items():
        assert phase_peak(i, 0.4, first_grows=False) == pytest.approx(value, rel=1e-3)
    assert phase_peak(1, 0.25, first_grows=False) == pytest.approx(4 ** (4 / 3) - 1, rel=1e-14)
    assert phase_peak(10, 0.25, first_grows=False) == pytest.approx(23.7, abs=0.05)


@pytest.mark.parametrize("rate", [0.25, 0.4, 0.5])
def test_expansion_of_the_peak_errs_by_one_over_i(rate):
    i = np.array([50, 100, 200, 400])
    gap = i * [phase_peak(int(j), rate) - phase_peak_expansion(int(j), rate) for j in i]
    assert np.ptp(gap) < 0.05 * abs(gap[-1])  # i times the error settles
    assert abs(gap[-1]) > 1e-3  # and there is an error of that order


def test_break_even():
    for i in (1, 3, 10):
        for rate in (0.25, 0.5):
            lam = phase_break_even(i, rate)
            assert phase_curve(lam, i, rate) == pytest.approx(1, abs=1e-12)
            assert lam > phase_peak(i, rate)
            assert phase_curve(0.9 * lam, i, rate) > 1 > phase_curve(1.1 * lam, i, rate)
    assert phase_break_even(10) == pytest.approx(1.46e4, rel=0.005)
    assert phase_break_even(400) == pytest.approx(401**4, rel=1e-6)


@pytest.mark.parametrize("rate", [0.25, 0.4, 0.5])
def test_expansion_of_the_second_peak_errs_by_a_constant(rate):
    i = 10 ** np.arange(1, 7)
    peaks = np.array([phase_peak(int(j), rate, first_grows=False) for j in i])
    gap = peaks - [phase_peak_expansion(int(j), rate, first_grows=False) for j in i]
    assert np.abs(gap).max() < 2.5
    assert abs(gap[-1] - gap[-2]) < 0.1  # it settles


@pytest.mark.parametrize("i", [1, 2, 10])
@pytest.mark.parametrize("floor", [0.0, 0.03, 0.5, 2.0])
def test_phase_curve_with_a_floor_is_the_bound_with_these_errors(i, floor):
    lam, rate = 3.7, 0.25
    x, r = 1 + lam, lam / (1 + lam)
    later = x**-rate + floor
    for first, first_grows in ((later, True), (1 + floor, False)):
        steps = [first] + [later] * i
        expected = sum(r ** (i - k) * step for k, step in enumerate(steps))
        found = phase_curve(lam, i, rate, first_grows=first_grows, floor=floor)
        assert found == pytest.approx(expected, rel=1e-13)
        assert phase_curve(0, i, rate, first_grows=first_grows, floor=floor) == 1 + floor


@pytest.mark.parametrize("i", [1, 2, 10, 100])
@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_break_even_ends_where_the_floor_is_one_over_i(i, rate):
    lam = np.geomspace(1e-3, 1e18, 4000)
    for floor in (0.3 / i, 0.9 / i):
        even = phase_break_even(i, rate, floor=floor)
        gain = phase_curve(lam, i, rate, floor=floor) - 1 - floor
        np.testing.assert_array_equal(gain < 0, lam > even)
        assert even > phase_break_even(i, rate)
    for floor in (1 / i, 1.1 / i, 5.0):
        assert phase_break_even(i, rate, floor=floor) == math.inf
        # Rounding of 1e-16 times the larger numbers that cancel.
        assert (phase_curve(lam, i, rate, floor=floor) >= (1 + floor) * (1 - 1e-14)).all()


def test_peak_height():
    """g at its peak grows like (i + 1)^{1 - a}."""
    a, u = 0.25, 0.5502007416590691
    height = phase_curve(phase_peak(10**5), 10**5)
    assert height == pytest.approx((1 - math.exp(-u)) / u ** (1 - a) * (10**5) ** (1 - a), rel=1e-4)


# The phase transition of the Gaussian mean


@pytest.mark.parametrize("lam", [0, 1, 3, 7])
def test_gaussian_phase_is_the_exact_variance(lam):
    n, rounds = 12, 9
    share = 1 / (1 + lam)
    size = Size.explicit([n] + [n * (1 + lam)] * (rounds - 1))
    i = np.arange(1, rounds)
    for cycle, fresh in ((fixed_real(share), False), (fresh_mixture(share), True)):
        variance = n * gaussian_mean_variance(cycle, size, rounds, stratified=True)[1:]
        expected = [float(gaussian_phase(lam, int(k), fresh)) for k in i]
        np.testing.assert_allclose(variance, expected, rtol=1e-13)


def test_gaussian_phase_curves_mirror_each_other():
    lam = np.geomspace(1e-3, 1e3, 50)
    total = gaussian_phase(lam, 7, True) + gaussian_phase(lam, 7, False)
    np.testing.assert_allclose(total, 2, rtol=1e-15)
    assert gaussian_phase(lam, 7, False).max() < 1.5


def test_gaussian_peaks_of_the_sheet():
    for i, value in {
        1: 1,
        2: 1.53697,
        5: 2.95341,
        10: 5.02603,
        30: 12.1189,
        100: 32.9520,
    }.items():
        assert gaussian_phase_peak(i) == pytest.approx(value, rel=5e-6)  # six digits


@pytest.mark.parametrize("i", [1, 2, 10, 117, 5000])
def test_gaussian_peak_against_high_precision(i):
    start = gaussian_phase_peak(i)
    with mpmath.workdps(40):

        def slope(lam):  # of the curve with the first set used again
            r = lam / (1 + lam)
            return (1 - r ** (2 * i)) / (1 + 2 * lam) ** 2 - lam / (1 + 2 * lam) * 2 * i * r ** (
                2 * i - 1
            ) / (1 + lam) ** 2

        root = mpmath.findroot(slope, (0.9 * start, 1.1 * start), solver="anderson", tol=1e-60)
        assert abs(mpmath.mpf(start) / root - 1) < 1e-12


def test_gaussian_peak_is_slower_than_linear():
    i = 10**6
    assert gaussian_phase_peak(i) == pytest.approx(2 * i / math.log(4 * i + 1), rel=1e-4)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cycle_weights([[0.6], [0.7, 0.6]], 2), "row 2 of beta must be weights"),
        (lambda: cycle_weights([[-0.1]], 1), "row 1 of beta must be weights"),
        (lambda: cycle_weights([[math.nan]], 1), "row 1 of beta must be weights"),
        (lambda: cycle_weights([[0.5], [0.5]], 2), "row 2 of beta must have 2 entries, not 1"),
        (lambda: cycle_weights([[0.5]], 2), "weights for 1 generations, but i is 2"),
        (lambda: cycle_weights([[0.5]], -1), "whole number from 0 up"),
        (lambda: cycle_weights([[0.5]], 1.0), "whole number from 0 up"),
        (lambda: cycle_weights([[0.5]], 1, [1.0]), "kappa must have 2 entries"),
        (lambda: bound([0.1], [[0.5]], 1), "needs 2 errors, but there are 1"),
        (lambda: biased_bound([0.1], [0.1], [[0.5]], 1), "needs 2 errors, but there are 1"),
        (lambda: biased_bound([0.1] * 3, [0.1], [[0.5], [0, 0.5]], 2), "needs 2 biases"),
        (lambda: cycle_beta(fixed_real(0.5), 3), "fresh real data"),
        (lambda: cycle_beta(balanced().accumulated(), 3), "training set of its own"),
        (lambda: weights_constant_share(1.2, 3), r"share must lie in \[0, 1\]"),
        (lambda: weights_last_share(math.nan, 3), r"share must lie in \[0, 1\]"),
        (lambda: phase_curve(-0.1, 3), "must not be negative"),
        (lambda: phase_curve(math.nan, 3), "must not be negative"),
        (lambda: gaussian_phase(-0.1, 3, True), "must not be negative"),
        (lambda: phase_curve(1.0, 0), "generation i must be a whole number from 1 up"),
        (lambda: phase_curve(1.0, 3, 1.0), r"rate must lie in \(0, 1\)"),
        (lambda: phase_peak(3, 0.0), r"rate must lie in \(0, 1\)"),
        (lambda: phase_peak(3, math.nan), r"rate must lie in \(0, 1\)"),
        (lambda: phase_peak_expansion(3, 1.0), r"rate must lie in \(0, 1\)"),
        (lambda: phase_break_even(3, -1.0), r"rate must lie in \(0, 1\)"),
        (lambda: phase_break_even(100, 0.001), "too large for a number"),
        (lambda: phase_break_even(3, floor=-0.1), "floor must be finite and not negative"),
        (lambda: phase_curve(1.0, 3, floor=math.inf), "floor must be finite and not negative"),
        (lambda: gaussian_phase_peak(0), "generation i must be a whole number from 1 up"),
    ],
)
def test_errors_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
