"""Exact Gaussian loops, against linear algebra, enumeration and numerical integration."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi, norm

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.schedules import Share, Size
from stlcore.theory.gaussian_loops import (
    expected_tv_mean,
    gaussian_mean_covariance,
    gaussian_mean_variance,
    gaussian_variance_moments,
    tv_normal_variances,
)

QUARTERS = general([0.5, 0.25, 0.0], [[0.5], [0.5, 0.25], [0.25, 0.25, 0.5]])


def stratified_by_points(cycle, sizes, rounds):
    """Covariances of the means, every point written out in a basis of independent noise.

    A model is the vector of its mean's coefficients; a new point adds a basis vector.
    """
    sizes = np.broadcast_to(sizes, rounds)
    basis = iter(np.eye(int(sizes.sum())))
    means, first = [], None
    for t in range(1, rounds + 1):
        weights = cycle.weights(t)
        parts = np.array([weights.fresh, weights.first, *weights.generations]) * sizes[t - 1]
        counts = np.rint(parts).astype(int)
        assert np.allclose(parts, counts), "the parts must be whole"
        fresh, again, *others = counts
        points = [next(basis) for _ in range(fresh)] + (first[:again] if again else [])
        for k, count in enumerate(others):
            points += [means[k] + next(basis) for _ in range(count)]
        if t == 1:
            first = points
        means.append(np.mean(points, axis=0))
    return np.array(means) @ np.array(means).T


@pytest.mark.parametrize(
    ("cycle", "sizes", "rounds"),
    [
        (QUARTERS, 4, 4),
        (QUARTERS, [3, 4, 8, 4], 4),
        (full_synthetic(), 3, 6),
        (fresh_mixture(0.25), 4, 6),
        (balanced(), 12, 4),
        (fixed_real(0.5), 6, 6),
        (fixed_real(Share.explicit([1, 0, 0.5, 0, 0.5])), 4, 5),
        (fixed_real(Share.explicit([1, 0.5, 0.25, 1 / 8])), [5, 4, 8, 16], 4),
        (fixed_real(1.0), 4, 3),
    ],
)
def test_covariances_with_exact_parts(cycle, sizes, rounds):
    size = Size.fixed(sizes) if isinstance(sizes, int) else Size.explicit(sizes)
    expected = stratified_by_points(cycle, sizes, rounds)
    got = gaussian_mean_covariance(cycle, size, rounds, stratified=True)
    np.testing.assert_allclose(got, expected, atol=1e-14)
    variance = gaussian_mean_variance(cycle, size, rounds, stratified=True)
    np.testing.assert_allclose(variance, np.diag(expected), atol=1e-14)


def mixture_by_enumeration(cycle, n, rounds):
    """Second moments of the means, summed over how many points came from which source.

    Given the counts of all rounds everything is linear in independent noise.
    """
    total = np.zeros((rounds, rounds))
    outcomes = [
        [
            [list(source).count(k) for k in range(t)]
            for source in itertools.product(range(t), repeat=n)
        ]
        for t in range(1, rounds + 1)
    ]
    for counts in itertools.product(*outcomes):
        probability, system = 1.0, np.eye(rounds)
        for t, row in enumerate(counts, start=1):
            weights = cycle.weights(t)
            law = np.array([weights.fresh, *weights.generations])
            probability *= np.prod(law ** np.array(row))  # of one order of the sources
            system[t - 1, : t - 1] = -np.array(row[1:]) / n
        inverse = np.linalg.inv(system)
        total += probability * inverse @ inverse.T / n
    return total


@pytest.mark.parametrize("cycle", [balanced(), fresh_mixture(0.3), QUARTERS])
@pytest.mark.parametrize(("n", "rounds"), [(1, 4), (2, 4), (3, 3)])
def test_covariances_with_draws_from_the_mixture(cycle, n, rounds):
    expected = mixture_by_enumeration(cycle, n, rounds)
    got = gaussian_mean_covariance(cycle, n, rounds)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    # Control: exact parts have a smaller variance.
    exact_parts = gaussian_mean_variance(cycle, n, rounds, stratified=True)
    assert exact_parts[-1] < expected[-1, -1] - 1e-3


def test_draws_without_a_mixture_are_exact_parts():
    for cycle in (full_synthetic(), fixed_real(0.5)):
        got = gaussian_mean_variance(cycle, 8, 20)
        np.testing.assert_allclose(got, gaussian_mean_variance(cycle, 8, 20, True), rtol=1e-14)


def test_variances_of_the_sheet():
    n, t = 50, np.arange(1, 41)
    np.testing.assert_allclose(n * gaussian_mean_variance(full_synthetic(), n, 40), t, rtol=1e-12)
    got = n * gaussian_mean_variance(balanced(), n, 40, stratified=True)
    np.testing.assert_allclose(got, np.cumsum(t**-2.0), rtol=1e-12)
    long = n * gaussian_mean_variance(balanced(), n, 300, stratified=True)[-1]
    assert long + 1 / 300.5 == pytest.approx(math.pi**2 / 6, abs=1e-7)


def test_balanced_cycle_that_uses_one_real_set_again():
    """A series and its limit; a cycle with a mean of S_0 of its own, so not in stlcore."""
    rounds = 300
    cov = np.zeros((rounds + 1, rounds + 1))  # row 0: the mean of S_0; times n
    cov[0, 0] = 1
    cov[1, :2] = cov[:2, 1] = 1  # generation 1 is that mean
    for t in range(2, rounds + 1):
        w = np.full(t, 1 / t)
        cov[t, :t] = cov[:t, t] = cov[:t, :t] @ w
        cov[t, t] = w @ cov[:t, :t] @ w + 1 - 1 / t
    i = rounds - 1
    k = np.arange(2, i + 1)
    series = 1 + np.sum((k - 1) / (k * (k + 1.0) ** 2)) + i / (i + 1)
    assert cov[rounds, rounds] == pytest.approx(series, rel=1e-12)
    assert series == pytest.approx(math.pi**2 / 3 - 1, abs=3 / rounds)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_mean_covariance(balanced().accumulated(), 4, 3), "without accumulation"),
        (lambda: gaussian_mean_covariance(balanced().filtered(0.1, 0.2), 4, 3), "or filter"),
        (
            lambda: gaussian_mean_covariance(fixed_real(0.5), Size.power(4, 1), 3),
            "number of re-used real points must not change",
        ),
        (
            lambda: gaussian_mean_covariance(fixed_real(0.5), Size.explicit([4, 20]), 2),
            "re-uses 10 real points, but round 1 had 4",
        ),
        (lambda: gaussian_mean_covariance(balanced(), 0, 3), "sample size must be a whole number"),
        (lambda: gaussian_mean_variance(balanced(), 4, 0), "rounds must be a whole number"),
        (lambda: expected_tv_mean(-0.1), "variance must not be negative"),
        (lambda: expected_tv_mean(math.nan), "variance must not be negative"),
        (lambda: expected_tv_mean(1.0, 0), "dimension must be a whole number from 1 up"),
        (lambda: tv_normal_variances(0.0), "variance must be positive and finite"),
        (lambda: tv_normal_variances(math.nan), "variance must be positive and finite"),
        (lambda: tv_normal_variances(math.inf), "variance must be positive and finite"),
        (lambda: gaussian_variance_moments(1.1, 5, 3), r"share must lie in \[0, 1\]"),
        (lambda: gaussian_variance_moments(math.nan, 5, 3), r"share must lie in \[0, 1\]"),
        (lambda: gaussian_variance_moments(0.1, 0, 3), "sample size must be a whole number"),
        (lambda: gaussian_variance_moments(0.1, 5, 0), "rounds must be a whole number"),
        (lambda: gaussian_variance_moments(0.1, 5, 3, 0.0), "temperature must be positive"),
    ],
)
def test_errors_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# Expected distances


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("variance", [1e-4, 0.3, 2.0, 50.0])
def test_expected_tv_of_the_mean(d, variance):
    """TV = P(|Z| < |mu| / 2), and |mu| follows a chi law."""

    def integrand(r):
        return (2 * norm.cdf(math.sqrt(variance) * r / 2) - 1) * chi.pdf(r, d)

    expected = quad(integrand, 0, 12, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
    assert expected_tv_mean(variance, d) == pytest.approx(expected, rel=1e-9)


def test_expected_tv_of_the_mean_in_one_dimension():
    variance = np.array([0.0, 1e-3, 0.5, 4.0])
    expected = 2 / math.pi * np.arctan(np.sqrt(variance) / 2)
    np.testing.assert_allclose(expected_tv_mean(variance), expected, rtol=1e-12)


@pytest.mark.parametrize("s", [1e-6, 0.2, 0.97, 1.03, 2.0, 300.0])
def test_tv_of_variances_by_integration(s):
    with mpmath.workdps(30):
        x = mpmath.sqrt(s * mpmath.log(s) / (s - 1))
        gap = 2 * abs(
            mpmath.quad(lambda v: mpmath.npdf(v), [0, x])
            - mpmath.quad(lambda v: mpmath.npdf(v, 0, mpmath.sqrt(s)), [0, x])
        )
    assert tv_normal_variances(s) == pytest.approx(float(gap), abs=1e-15, rel=1e-13)
    grid = np.linspace(-8, 8, 400_001) * max(1, math.sqrt(s))
    density = np.abs(norm.pdf(grid) - norm.pdf(grid, scale=math.sqrt(s)))
    if s > 0.1:
        assert tv_normal_variances(s) == pytest.approx(np.trapezoid(density, grid) / 2, abs=1e-6)


def test_tv_of_variances_close_to_one():
    """The distance is 2 phi(1) |s - 1| / 2 to first order, down to the last digit of s."""
    assert tv_normal_variances(1.0) == 0
    for gap in (1e-12, 1e-9, 3e-9, 1e-8, 1e-6, -1e-9, -1e-8):
        s = 1 + gap
        expected = norm.pdf(1) * abs(s - 1)
        assert tv_normal_variances(s) == pytest.approx(expected, rel=1e-5, abs=3e-16)
    s = np.geomspace(1e-4, 1e4, 31)
    np.testing.assert_allclose(tv_normal_variances(s), tv_normal_variances(1 / s), rtol=1e-12)


# Moments of the variance


@pytest.mark.parametrize("n", [1, 3, 50])
def test_moments_of_the_fully_synthetic_variance(n):
    t = np.arange(1, 21)
    m1, m2 = gaussian_variance_moments(0.0, n, 20)
    np.testing.assert_allclose(m1, 1, rtol=1e-13)
    np.testing.assert_allclose(m2, (1 + 2 / n) ** t, rtol=1e-12)
    m1, m2 = gaussian_variance_moments(0.0, n, 20, temperature=0.8)
    np.testing.assert_allclose(m1, 0.8 ** (t - 1), rtol=1e-12)
    np.testing.assert_allclose(m2, (1 + 2 / n) ** t * 0.64 ** (t - 1), rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.9])
def test_moments_of_the_mixed_variance_by_enumeration(temperature):
    """Sum over which of the n points are real, in each of three rounds."""
    alpha, n = 0.3, 3
    # A fitted variance, given the counts: (sum of r chi^2_1 + T sigma^2 chi^2_1 others) / n.
    m1, m2 = [1.0], [1 + 2 / n]
    for _ in range(2):
        first = second = 0.0
        for r in range(n + 1):
            p = math.comb(n, r) * alpha**r * (1 - alpha) ** (n - r)
            s1, s2 = temperature * m1[-1], temperature**2 * m2[-1]
            first += p * (r + (n - r) * s1) / n
            # E(A + B)^2 with A ~ chi^2_r and B ~ s chi^2_{n-r}
            a2, ab, b2 = r * (r + 2), 2 * r * (n - r) * s1, (n - r) * (n - r + 2) * s2
            second += p * (a2 + ab + b2) / n**2
        m1.append(first)
        m2.append(second)
    got1, got2 = gaussian_variance_moments(alpha, n, 3, temperature)
    np.testing.assert_allclose(got1, m1, rtol=1e-13)
    np.testing.assert_allclose(got2, m2, rtol=1e-13)


def test_moments_with_real_data_alone():
    m1, m2 = gaussian_variance_moments(1.0, 7, 5, temperature=0.5)
    np.testing.assert_allclose(m1, 1, rtol=1e-14)
    np.testing.assert_allclose(m2, 1 + 2 / 7, rtol=1e-14)


@pytest.mark.parametrize("temperature", [0.8, 0.9, 1.0, 1.05])
def test_limit_with_a_temperature(temperature):
    alpha = 0.1
    m1, _ = gaussian_variance_moments(alpha, 50, 3000, temperature)
    assert m1[-1] == pytest.approx(alpha / (1 - (1 - alpha) * temperature), rel=1e-10)
