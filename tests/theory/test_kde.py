"""Loops of kernel density estimates: closed forms, other recursions, other quadratures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.laws import FOURTH_ORDER, GAUSSIAN, KERNELS, LAPLACE, UNIFORM, NormalMixture
from stlcore.schedules import Size
from stlcore.streams import stream
from stlcore.theory.gaussian_loops import tv_normal_variances
from stlcore.theory.kde import (
    _plan,
    _recursion,
    kde_bias_tv,
    kde_equivalent,
    kde_mean,
    kde_mise,
    kde_mise_semigroup,
)
from stlcore.theory.tv_bounds import cycle_beta, cycle_weights

MIXTURE = NormalMixture([0.4, 0.6], [-1.5, 1.0], [0.5, 0.8])
NORMAL = NormalMixture.standard()
RANDOM = general([0.5, 0.1, 0.2], [[0.5], [0.3, 0.6], [0.5, 0.0, 0.3]])
BANDWIDTHS, SIZES = (0.3, 0.2, 0.5, 0.25), (50, 20, 400, 7)
DENSITIES = (GAUSSIAN, LAPLACE, UNIFORM)


def legendre(a, b, count=60):
    x, w = np.polynomial.legendre.leggauss(count)
    return (a + b) / 2 + (b - a) / 2 * x, (b - a) / 2 * w


def smoothed(truth, kernel, h, x):
    """The truth convolved with the kernel, by integration on the line."""
    edges = {"uniform": [-1, 0, 1], "Laplace": np.linspace(-40, 40, 33)}
    edges = edges.get(kernel.name, np.linspace(-10, 10, 9))
    total = np.zeros_like(x)
    for a, b in itertools.pairwise(edges):
        for u, w in zip(*legendre(a, b), strict=True):
            total += w * kernel.density(u) * truth.density(x - h * u)
    return total


# One estimate


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("h", [0.08, 0.4, 2.0])
def test_one_estimate_by_integration_on_the_line(kernel, h):
    n, ends = 30, 8 + 14 * h  # squares of what lies beyond them add less than 1e-10
    x = np.linspace(-ends, ends, math.ceil(200 * ends) + 1)
    mean, p = smoothed(MIXTURE, kernel, h, x), MIXTURE.density(x)
    bias = np.trapezoid((mean - p) ** 2, x)
    noise = (kernel.roughness / h - np.trapezoid(mean**2, x)) / n
    got = kde_mise(MIXTURE, kernel, h, full_synthetic(), n, 1)
    assert got.bias[0] == pytest.approx(bias, rel=1e-9)
    assert got.noise[0] == pytest.approx(noise, rel=1e-9)
    assert got.total[0] == got.bias[0] + got.noise[0]
    some = kde_mean(MIXTURE, kernel, h, balanced(), 1, x[::10])[0]
    np.testing.assert_allclose(some, mean[::10], atol=2e-12)


def marron_wand(truth, h, n):
    """Marron and Wand (1992), Theorem 2.1, for the Gaussian kernel."""

    def u(q):
        return sum(
            a * b * norm.pdf(m - k, scale=math.sqrt(s * s + r * r + q * h * h))
            for a, m, s in zip(truth.weights, truth.means, truth.deviations, strict=True)
            for b, k, r in zip(truth.weights, truth.means, truth.deviations, strict=True)
        )

    return 1 / (2 * math.sqrt(math.pi) * n * h) + (1 - 1 / n) * u(2) - 2 * u(1) + u(0)


@pytest.mark.parametrize("h", [0.01, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("n", [1, 10, 10**6])
def test_one_estimate_by_marron_and_wand(h, n):
    expected = pytest.approx(marron_wand(MIXTURE, h, n), rel=1e-10)
    assert kde_mise(MIXTURE, GAUSSIAN, h, full_synthetic(), n, 1).total[0] == expected
    assert kde_mise_semigroup(MIXTURE, h, n, 1).total[0] == expected


# Loops


def literal_recursion(transforms, kappa, cycle, sizes):
    """Model E4 as it stands: all second moments S_jk, the truth being number 0."""
    rounds = len(kappa)
    s = np.zeros((rounds + 1, rounds + 1, transforms.size), dtype=complex)
    mean = np.zeros((rounds + 1, transforms.size), dtype=complex)
    s[0, 0], mean[0] = np.abs(transforms) ** 2, transforms
    injected = np.zeros((rounds, transforms.size))
    for t in range(1, rounds + 1):
        fresh, _, generations = cycle.weights(t)
        w = np.array([fresh, *generations])
        k, n = kappa[t - 1], sizes[t - 1]
        square = np.einsum("a,b,abf->f", w, w, s[:t, :t]).real
        mean[t] = k * np.tensordot(w, mean[:t], 1)
        s[t, :t] = k * np.tensordot(w, s[:t, :t], 1)
        s[:t, t] = s[t, :t].conj()
        s[t, t] = k**2 * (1 / n + (1 - 1 / n) * square)
        injected[t - 1] = k**2 * (1 - square) / n
    bias = np.abs(mean[1:] - transforms) ** 2
    total = np.array([(s[t, t] - 2 * s[t, 0] + s[0, 0]).real for t in range(1, rounds + 1)])
    return bias, total, injected


def frequencies(kernel):
    """Midpoints of equal steps: of omega, or of its arc tangent for slow algebraic decay."""
    if kernel is LAPLACE:
        angle = (np.arange(12_000) + 0.5) / 12_000 * math.pi / 2
        return 4 * np.tan(angle), 4 / np.cos(angle) ** 2 * math.pi / 24_000
    step = 0.01
    omega = (np.arange(8000) + 0.5) * step
    return omega, np.full(omega.size, step)


@pytest.mark.parametrize("kernel", [GAUSSIAN, LAPLACE], ids=repr)
@pytest.mark.parametrize(
    "cycle", [RANDOM, balanced(), fresh_mixture(0.3), full_synthetic()], ids=repr
)
def test_loops_by_the_recursion_of_all_second_moments(kernel, cycle):
    omega, weights = frequencies(kernel)
    kappa = [kernel.transform(h * omega) for h in BANDWIDTHS]
    bias, total, _ = literal_recursion(MIXTURE.transform(omega), kappa, cycle, SIZES)
    got = kde_mise(MIXTURE, kernel, BANDWIDTHS, cycle, Size.explicit(SIZES), 4)
    np.testing.assert_allclose(got.bias, bias @ weights / math.pi, rtol=1e-9)
    np.testing.assert_allclose(got.total, total @ weights / math.pi, rtol=1e-9)


@pytest.mark.parametrize("cycle", [RANDOM, balanced(), fresh_mixture(0.3)], ids=repr)
def test_loops_by_the_weights_of_theorem_b3(cycle):
    """Bias adds with the weights A_k, noise with their squares."""
    omega, weights = frequencies(GAUSSIAN)
    kappa = np.array([GAUSSIAN.transform(h * omega) for h in BANDWIDTHS])
    phi = MIXTURE.transform(omega)
    _, _, injected = literal_recursion(phi, kappa, cycle, SIZES)
    a = cycle_weights(cycle_beta(cycle, 3), 3, kappa)
    bias = np.sum(a * (kappa - 1), 0) ** 2 * np.abs(phi) ** 2 @ weights / math.pi
    noise = np.sum(a**2 * injected, 0) @ weights / math.pi
    got = kde_mise(MIXTURE, GAUSSIAN, BANDWIDTHS, cycle, Size.explicit(SIZES), 4)
    assert got.bias[-1] == pytest.approx(bias, rel=1e-9)
    assert got.noise[-1] == pytest.approx(noise, rel=1e-9)
    # Control: noise does not add up like bias.
    wrong = np.sum(a * np.sqrt(injected), 0) ** 2 @ weights / math.pi
    assert wrong > 1.05 * noise


@pytest.mark.parametrize("rounds", [1, 2, 5, 30])
def test_fully_synthetic_gaussian_loop_in_closed_form(rounds):
    rng = np.random.default_rng(rounds)
    h, sizes = rng.uniform(0.05, 0.6, rounds), Size.explicit([*rng.integers(5, 500, rounds)])
    closed = kde_mise_semigroup(MIXTURE, h, sizes, rounds)
    got = kde_mise(MIXTURE, GAUSSIAN, h, full_synthetic(), sizes, rounds)
    np.testing.assert_allclose(got.bias, closed.bias, rtol=1e-9)
    np.testing.assert_allclose(got.noise, closed.noise, rtol=1e-10)


def test_fully_synthetic_loop_of_single_points():
    """With one point a round the estimate is the kernel, moved to a walk of so many steps."""
    h, rounds = 0.4, 5
    got = kde_mise_semigroup(NORMAL, h, 1, rounds)
    square = (4 * math.pi * h**2) ** -0.5  # of the kernel, integrated
    for t in range(1, rounds + 1):
        walk = 1 + t * h**2  # the variance of where the newest kernel has its mass
        overlap = (2 * math.pi * (walk + 1)) ** -0.5
        expected = square - 2 * overlap + (4 * math.pi) ** -0.5
        assert got.total[t - 1] == pytest.approx(expected, rel=1e-12)


def test_fully_synthetic_uniform_loop():
    """Powers of the transform integrate to the density of a sum of uniforms at 0."""
    at_zero = np.array([1 / 2, 1 / 3, 11 / 40, 151 / 630])  # of 2, 4, 6, 8 of them
    h, n = 0.3, 12
    omega = (np.arange(20_000) + 0.5) * 0.001
    phi2, kappa = np.abs(MIXTURE.transform(omega)) ** 2, UNIFORM.transform(h * omega)
    got = kde_mise(MIXTURE, UNIFORM, h, full_synthetic(), n, 4)
    for t in range(1, 5):
        injected = np.sum((1 - 1 / n) ** np.arange(t) * at_zero[:t]) / (n * h)
        rest = ((1 - 1 / n) ** t - 1) * np.sum(kappa ** (2 * t) * phi2) * 0.001 / math.pi
        assert got.noise[t - 1] == pytest.approx(injected + rest, rel=1e-9)
        bias = np.sum((kappa**t - 1) ** 2 * phi2) * 0.001 / math.pi
        assert got.bias[t - 1] == pytest.approx(bias, rel=1e-9)


def test_uniform_loop_with_different_bandwidths():
    """The noise of two rounds: the overlap of two triangles."""
    h, n = (0.2, 0.7), (9, 14)
    small, large = 2 * h[0], 2 * h[1]
    # The triangle densities of differences of two draws: the integral of their product.
    x, w = legendre(0, small)
    triangles = 2 * w @ ((1 - x / small) / small * (1 - x / large) / large)
    omega = (np.arange(20_000) + 0.5) * 0.001
    kappa = UNIFORM.transform(np.multiply.outer(h, omega))
    left = np.sum(np.prod(kappa, 0) ** 2 * np.abs(MIXTURE.transform(omega)) ** 2) * 0.001 / math.pi
    noise = 0.5 / h[1] / n[1] + (1 - 1 / n[1]) * triangles / n[0]
    noise += ((1 - 1 / n[0]) * (1 - 1 / n[1]) - 1) * left
    got = kde_mise(MIXTURE, UNIFORM, h, full_synthetic(), Size.explicit(n), 2)
    assert got.noise[1] == pytest.approx(noise, rel=1e-9)


@pytest.mark.parametrize("kernel", DENSITIES, ids=repr)
def test_real_data_alone_never_change_the_estimate(kernel):
    one = kde_mise(MIXTURE, kernel, 0.3, full_synthetic(), 20, 1).total
    for cycle in (fresh_mixture(1.0), fixed_real(1.0)):
        got = kde_mise(MIXTURE, kernel, 0.3, cycle, 20, 4).total
        np.testing.assert_allclose(got, np.repeat(one, 4), rtol=1e-9)
    none = kde_mise(MIXTURE, kernel, 0.3, fixed_real(0.0), 20, 4).total
    synthetic = kde_mise(MIXTURE, kernel, 0.3, full_synthetic(), 20, 4).total
    np.testing.assert_allclose(none, synthetic, rtol=1e-14)


def fixed_real_recursion(phi2, kappa, share, n, rounds):
    """Variances with the re-used points as a law of their own, number 0, by covariances."""
    again = round(share * n)
    cov = np.zeros((rounds + 1, rounds + 1, phi2.size))
    mean = np.ones((rounds + 1, phi2.size))
    cov[0, 0] = (1 - phi2) / again
    cov[1, 1], mean[1] = kappa**2 * (1 - phi2) / n, kappa
    cov[0, 1] = cov[1, 0] = kappa * (1 - phi2) / n
    for t in range(2, rounds + 1):
        w = np.zeros(t)
        w[0], w[-1] = share, 1 - share
        mean[t] = kappa * np.tensordot(w, mean[:t], 1)
        cov[t, :t] = cov[:t, t] = kappa * np.tensordot(w, cov[:t, :t], 1)
        fresh_noise = 1 - mean[t - 1] ** 2 * phi2 - cov[t - 1, t - 1]
        cov[t, t] = kappa**2 * (
            np.einsum("a,b,abf->f", w, w, cov[:t, :t]) + (1 - share) / n * fresh_noise
        )
    return np.einsum("ttf->tf", cov)[1:]


def test_one_real_set_used_again():
    omega, weights = frequencies(GAUSSIAN)
    kappa, phi2 = GAUSSIAN.transform(0.3 * omega), np.abs(MIXTURE.transform(omega)) ** 2
    for share in (0.25, 0.5):
        expected = fixed_real_recursion(phi2, kappa, share, 8, 5) @ weights / math.pi
        got = kde_mise(MIXTURE, GAUSSIAN, 0.3, fixed_real(share), 8, 5)
        np.testing.assert_allclose(got.noise, expected, rtol=1e-9)
        # Control: fresh data are something else.
        fresh = kde_mise(MIXTURE, GAUSSIAN, 0.3, fresh_mixture(share), 8, 5)
        assert abs(fresh.noise[-1] / expected[-1] - 1) > 0.01


def simulate(cycle, n, h, omega, repetitions, rng):
    """Squared errors at a few frequencies of Laplace-kernel loops that really run."""
    points, errors = [], []
    for t in range(1, len(n) + 1):
        fresh, first, generations = cycle.weights(t)
        again = round(first * n[t - 1])
        shape = (repetitions, n[t - 1] - again)
        law = np.array([fresh, *generations]) / (1 - first)
        source = rng.choice(t, size=shape, p=law)
        sample = MIXTURE.sample(rng, shape)
        for k in range(1, t):
            pick = rng.integers(points[k - 1].shape[1], size=shape)
            drawn = np.take_along_axis(points[k - 1], pick, 1) + h * rng.laplace(size=shape)
            sample = np.where(source == k, drawn, sample)
        if again:
            sample = np.concatenate([points[0][:, :again], sample], 1)
        points.append(sample)
        wave = LAPLACE.transform(h * omega) * np.exp(1j * omega * sample[..., None]).mean(1)
        errors.append(np.abs(wave - MIXTURE.transform(omega)) ** 2)
    return np.stack(errors, 1).reshape(repetitions, -1)


@pytest.mark.parametrize("cycle", [RANDOM, balanced(), fixed_real(0.5)], ids=repr)
def test_loops_that_really_run(cycle, follows):
    """False-alarm rate 1e-6 each."""
    n, h, omega = np.array([6, 6, 6, 6]), 0.4, np.array([0.5, 1.5])
    samples = simulate(cycle, n, h, omega, 20_000, stream(7, "kde"))
    power = np.abs(MIXTURE.transform(omega)) ** 2
    kappa = np.tile(LAPLACE.transform(h * omega), (4, 1))
    multiplier, variance = _recursion(kappa, power, _plan(cycle, n, 4))
    expected = (multiplier - 1) ** 2 * power + variance
    assert follows(samples, expected.ravel())
    assert not follows(samples, 1.05 * expected.ravel())  # control


# Means and the bias in total variation


def test_mean_of_gaussian_loops_is_a_mixture():
    x = np.linspace(-9, 9, 301)
    h = np.array(BANDWIDTHS)
    got = kde_mean(MIXTURE, GAUSSIAN, h, full_synthetic(), 4, x)
    for t in range(4):
        wider = np.sqrt(MIXTURE.deviations**2 + np.sum(h[: t + 1] ** 2))
        law = NormalMixture(MIXTURE.weights, MIXTURE.means, wider)
        np.testing.assert_allclose(got[t], law.density(x), atol=1e-13)
    got = kde_mean(NORMAL, GAUSSIAN, 0.5, fresh_mixture(0.3), 2, x)[1]
    expected = 0.3 * norm.pdf(x, scale=math.sqrt(1.25)) + 0.7 * norm.pdf(x, scale=math.sqrt(1.5))
    np.testing.assert_allclose(got, expected, atol=1e-13)


def test_bias_of_a_normal_truth():
    t = np.arange(1, 41)
    got = kde_bias_tv(NORMAL, GAUSSIAN, 0.3, full_synthetic(), 40)
    np.testing.assert_allclose(got, tv_normal_variances(1 + 0.09 * t), atol=1e-11)
    small = kde_bias_tv(NORMAL, GAUSSIAN, 1e-3, full_synthetic(), 2)
    np.testing.assert_allclose(small, tv_normal_variances(1 + 1e-6 * np.arange(1, 3)), atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("cycle", [RANDOM, balanced(), fixed_real(0.4)], ids=repr)
def test_bias_by_integration_on_the_line(kernel, cycle):
    """Between the crossings there are no kinks, and one step across them matters little."""
    got = kde_bias_tv(MIXTURE, kernel, BANDWIDTHS, cycle, 4)
    x = np.linspace(-14, 14, 14_001)  # beyond them the widest kernel is below 1e-10
    mean = kde_mean(MIXTURE, kernel, BANDWIDTHS, cycle, 4, x)
    expected = 0.5 * np.trapezoid(np.abs(mean - MIXTURE.density(x)), x, axis=1)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert np.all(got < 1)
    np.testing.assert_allclose(np.trapezoid(mean, x, axis=1), 1, atol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_bias_by_integration_between_the_crossings(kernel):
    rounds = 3

    def gap(x):
        x = np.atleast_1d(x)
        mean = kde_mean(MIXTURE, kernel, 0.3, balanced(), rounds, x)[-1]
        return mean - MIXTURE.density(x)

    x = np.linspace(-14.01, 14, 500)
    values = gap(x)
    change = np.flatnonzero((np.diff(np.sign(values)) != 0) & (np.abs(values[1:]) > 1e-9))
    roots = [brentq(lambda v: gap(v)[0], x[k], x[k + 1], xtol=1e-13) for k in change]
    assert len(roots) >= 4
    pieces = np.unique([*roots, *np.linspace(-14, 14, 57)])
    total = 0.0
    for a, b in itertools.pairwise(pieces):
        nodes, weights = legendre(a, b, 24)
        total += weights @ np.abs(gap(nodes))
    got = kde_bias_tv(MIXTURE, kernel, 0.3, balanced(), rounds)[-1]
    assert got == pytest.approx(total / 2, abs=1e-10)


def test_bias_reaches_far_with_wide_kernels():
    got = kde_bias_tv(NORMAL, LAPLACE, 8.0, full_synthetic(), 1)[0]
    x = np.linspace(0, 9, 4001)
    gap = kde_mean(NORMAL, LAPLACE, 8.0, full_synthetic(), 1, x)[0] - norm.pdf(x)
    # Beyond 9 the truth is nothing and the estimate a Laplace density.
    tail = math.exp(1 / 128 - 9 / 8) / 2
    assert got == pytest.approx(np.trapezoid(np.abs(gap), x) + tail, abs=1e-6)


def test_linear_growth_of_the_bias():
    """Small errors that point the same way: the sums of weights of the bound."""
    h, rounds = 0.01, 8
    m = np.arange(1, rounds + 1)
    one = kde_bias_tv(MIXTURE, GAUSSIAN, h, full_synthetic(), 1)[0]
    got = kde_bias_tv(MIXTURE, GAUSSIAN, h, full_synthetic(), rounds) / one
    np.testing.assert_allclose(got, m, rtol=2e-3)
    got = kde_bias_tv(MIXTURE, GAUSSIAN, h, balanced(), rounds) / one
    np.testing.assert_allclose(got, np.cumsum(1 / m), rtol=2e-3)


# Any dimension, and the one estimate that is like a loop


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_semigroup_in_any_dimension(d):
    """By radial integration over the frequencies, for a normal truth."""
    h, n, rounds = np.array([0.4, 0.7, 0.5]), np.array([10, 30, 8]), 3
    r, w = legendre(0, 30, 400)
    w = w * 2 * math.pi ** (d / 2) / math.gamma(d / 2) * r ** (d - 1) / (2 * math.pi) ** d
    kappa = np.exp(-np.square(np.multiply.outer(h, r)) / 2)
    bias, total, _ = literal_recursion(np.exp(-(r**2) / 2), kappa, full_synthetic(), n)
    got = kde_mise_semigroup(NormalMixture.standard(d), h, Size.explicit([*n]), rounds)
    np.testing.assert_allclose(got.bias, bias @ w, rtol=1e-9)
    np.testing.assert_allclose(got.total, total @ w, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_one_estimate_like_a_loop(d):
    h, n, i = 0.2, 10**8, 6
    truth = NormalMixture.standard(d)
    wide, size = kde_equivalent(h, n, i, d)
    loop = kde_mise_semigroup(truth, h, n, i + 1)
    one = kde_mise_semigroup(truth, wide, 1, 1)
    assert loop.bias[-1] == pytest.approx(one.bias[0], rel=1e-12)
    # Without the part of order 1/n that is the same for no size.
    smoothed_square = (4 * math.pi * (1 + wide**2)) ** (-d / 2)
    injected = loop.noise[-1] + (i + 1) / n * smoothed_square
    assert injected == pytest.approx((4 * math.pi * wide**2) ** (-d / 2) / size, rel=1e-6)
    assert kde_equivalent(h, n, 0, d) == (h, n)


def test_the_size_of_that_estimate_in_one_dimension():
    size = kde_equivalent(0.2, 1000, 10**6)[1]
    assert size == pytest.approx(1000 / (2 * 10**6), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kde_mise(NORMAL, GAUSSIAN, 0.0, balanced(), 5, 2), "bandwidth must be positive"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, -1, balanced(), 5, 2), "bandwidth must be positive"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, math.nan, balanced(), 5, 2), "must be positive"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, [1, 1], balanced(), 5, 3), "one for each of 3 rounds"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, 1, balanced(), 0, 3), "sample size must be a whole"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, 1, balanced(), 5, 0), "rounds must be a whole number"),
        (lambda: kde_mise(NORMAL, FOURTH_ORDER, 1, balanced(), 5, 2), "takes negative values"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, 1, balanced().accumulated(), 5, 2), "accumulation"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, 1, balanced().filtered(0, 0.5), 5, 2), "or filter"),
        (lambda: kde_mise(NORMAL, GAUSSIAN, 1, RANDOM, 5, 9), "weights for 4 rounds, but 9"),
        (
            lambda: kde_mise(NORMAL, GAUSSIAN, 1, fixed_real(0.5), Size.power(4, 1), 3),
            "re-used real points must not change",
        ),
        (
            lambda: kde_mise(NORMAL, GAUSSIAN, 1, fixed_real(0.5), Size.explicit([4, 20]), 2),
            "re-uses 10 real points, but round 1 had 4",
        ),
        (
            lambda: kde_mise(NormalMixture.standard(2), GAUSSIAN, 1, balanced(), 5, 2),
            "not in 2 dimensions",
        ),
        (lambda: kde_mean(NORMAL, GAUSSIAN, 1, balanced(), 2, [math.nan]), "finite numbers"),
        (lambda: kde_mean(NORMAL, GAUSSIAN, 1, balanced(), 2, []), "at least one point"),
        (lambda: kde_mean(NORMAL, GAUSSIAN, 1, balanced(), 2, [1e6]), "reach too far"),
        (lambda: kde_bias_tv(NORMAL, GAUSSIAN, 1e6, balanced(), 2), "reach too far"),
        (lambda: kde_bias_tv(NORMAL, GAUSSIAN, -1, balanced(), 2), "bandwidth must be positive"),
        (lambda: kde_mise_semigroup(NORMAL, 0.0, 5, 2), "bandwidth must be positive"),
        (lambda: kde_mise_semigroup(NORMAL, 1.0, 0, 2), "sample size must be a whole number"),
        (lambda: kde_equivalent(0.1, 0, 3), "sample size must be a whole number"),
        (lambda: kde_equivalent(0.1, 5, -1), "generation i . 1 must be a whole number"),
        (lambda: kde_equivalent(0.0, 5, 1), "bandwidth must be positive"),
    ],
)
def test_errors_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
