"""Kernels and normal mixtures, against integration and their samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, norm

from stlcore.laws import (
    FOURTH_ORDER,
    GAUSSIAN,
    KERNELS,
    LAPLACE,
    UNIFORM,
    NormalMixture,
    loop_bandwidth,
    standard_bandwidth,
)
from stlcore.streams import stream

#: Nominal false-alarm rate of each Kolmogorov-Smirnov test.
LEVEL = 1e-6
MIXTURE = NormalMixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.5])


def integrate(kernel, function):
    """Integral of a function times the kernel, twice that over the half line."""
    pieces = [(0, 1), (1, math.sqrt(3)), (math.sqrt(3), 6), (6, 45)]
    return 2 * sum(
        quad(lambda x: function(x) * float(kernel.density(x)), *piece, epsabs=1e-14, limit=400)[0]
        for piece in pieces
    )


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_constants_of_the_kernels(kernel):
    assert integrate(kernel, lambda x: 1.0) == pytest.approx(1, abs=1e-12)
    for k in range(2, kernel.order, 2):
        assert integrate(kernel, lambda x, k=k: x**k) == pytest.approx(0, abs=1e-11)
    moment = integrate(kernel, lambda x: x**kernel.order)
    assert moment == pytest.approx(kernel.moment, rel=1e-10)
    roughness = integrate(kernel, lambda x: float(kernel.density(x)))
    assert roughness == pytest.approx(kernel.roughness, rel=1e-10)
    positive = integrate(kernel, lambda x: float(kernel.density(x) > 0))
    assert positive == pytest.approx(kernel.positive, rel=1e-10)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_transforms_of_the_kernels(kernel):
    for u in (0.0, 0.3, 2.0, 7.0):
        expected = integrate(kernel, lambda x, u=u: math.cos(u * x))
        assert kernel.transform(u) == pytest.approx(expected, abs=1e-10)
    # The order, seen from the transform: 1 - kappa falls with that power.
    s = kernel.order
    u = 0.02
    coefficient = (-1) ** (s // 2) * kernel.moment / math.factorial(s)
    assert (kernel.transform(u) - 1) / u**s == pytest.approx(coefficient, rel=1e-3)


def fourth_order_cdf(x):
    x = np.clip(x, -math.sqrt(3), math.sqrt(3))
    half = norm.cdf(x) + x * norm.pdf(x) / 2
    low = norm.cdf(-math.sqrt(3)) - math.sqrt(3) * norm.pdf(math.sqrt(3)) / 2
    return (half - low) / FOURTH_ORDER.positive


@pytest.mark.parametrize(
    ("kernel", "law"),
    [
        (GAUSSIAN, "norm"),
        (LAPLACE, "laplace"),
        (UNIFORM, lambda x: (x + 1) / 2),
        (FOURTH_ORDER, fourth_order_cdf),
    ],
    ids=["Gaussian", "Laplace", "uniform", "fourth-order"],  # the same in every process
)
def test_samples_of_the_kernels(kernel, law):
    sample = kernel.draw(stream(1, "kernels"), (400, 50))
    assert sample.shape == (400, 50)
    assert kstest(sample.ravel(), law).pvalue > LEVEL
    assert kernel.draw(stream(1, "kernels"), 0).shape == (0,)
    # Control: the samples do tell kernels apart.
    other = UNIFORM if kernel is not UNIFORM else GAUSSIAN
    wrong = other.draw(stream(2, "kernels"), 20_000)
    assert kstest(wrong, law).pvalue < LEVEL


def test_mixture():
    x = np.linspace(-12, 14, 4001)
    expected = 0.3 * norm.pdf(x, -1, 0.5) + 0.7 * norm.pdf(x, 2, 1.5)
    np.testing.assert_allclose(MIXTURE.density(x), expected, rtol=1e-12)
    for omega in (0.0, 0.7, -3.0):
        wave = np.trapezoid(np.exp(1j * omega * x) * expected, x)
        assert MIXTURE.transform(omega) == pytest.approx(wave, abs=1e-10)

    def cdf(v):
        return 0.3 * norm.cdf(v, -1, 0.5) + 0.7 * norm.cdf(v, 2, 1.5)

    sample = MIXTURE.sample(stream(3, "mixture"), (100, 200))
    assert sample.shape == (100, 200)
    assert kstest(sample.ravel(), cdf).pvalue > LEVEL


def test_mixture_in_the_plane():
    plane = NormalMixture([0.5, 0.5], [[0.0, 3.0], [4.0, 0.0]], [1.0, 0.1])
    sample = plane.sample(stream(4, "plane"), 20_000)
    assert plane.dimension == 2
    assert sample.shape == (20_000, 2)

    def cdf(v):
        return 0.5 * norm.cdf(v) + 0.5 * norm.cdf(v, 4, 0.1)

    assert kstest(sample[:, 0], cdf).pvalue > LEVEL
    assert NormalMixture.standard(3).sample(stream(5, "standard"), (2, 4)).shape == (2, 4, 3)
    points = sample[:5].reshape(5, 1, 2)
    first = 0.5 * norm.pdf(points[..., 0], 0, 1) * norm.pdf(points[..., 1], 3, 1)
    second = 0.5 * norm.pdf(points[..., 0], 4, 0.1) * norm.pdf(points[..., 1], 0, 0.1)
    np.testing.assert_allclose(plane.density(points), first + second, rtol=1e-12)
    with pytest.raises(ValueError, match="mixtures on the line, not in 2 dimensions"):
        plane.transform(0.0)
    with pytest.raises(ValueError, match="points must have 2 coordinates"):
        plane.density(0.0)


def test_bandwidths():
    np.testing.assert_allclose(standard_bandwidth([32, 1024], scale=2), [1, 0.5])
    assert standard_bandwidth(2**13, order=4, dimension=5) == pytest.approx(0.5)
    assert loop_bandwidth(32, 1024, scale=8) == pytest.approx(8 / 2 / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.4], [0, 1], [1, 1]), "must sum to 1"),
        (([1.5, -0.5], [0, 1], [1, 1]), "must not be negative"),
        (([math.nan, 1], [0, 1], [1, 1]), "must sum to 1"),
        (([0.5, 0.5], [0, math.nan], [1, 1]), "means of a mixture must be finite"),
        (([0.5, 0.5], [0, 1], [1, 0]), "deviations of a mixture must be positive"),
        (([0.5, 0.5], [0, 1], [1, math.nan]), "deviations of a mixture must be positive"),
        (([0.5, 0.5], [0, 1, 2], [1, 1]), "one weight, mean and deviation"),
        (([], [], []), "one weight, mean and deviation"),
        (([1.0], [[[0.0]]], [1]), "numbers, or vectors of one length"),
    ],
)
def test_errors_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        NormalMixture(*arguments)
    assert "\n" not in str(error.value)
