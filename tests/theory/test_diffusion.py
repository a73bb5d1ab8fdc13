"""The linear diffusion model, against its differential equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.theory.diffusion import diffusion_loop, diffusion_output


def reverse_moments(mean, variance, horizon, cutoff):
    """Integrate mean and variance of dY = [Y + 2 score(Y, t)] ds + sqrt(2) dB, t = T - s."""

    def slope(s, y):
        t = horizon - s
        law = 1 + (variance - 1) * math.exp(-2 * t)
        centre = math.exp(-t) * mean
        return [y[0] - 2 * (y[0] - centre) / law, 2 * (1 - 2 / law) * y[1] + 2]

    span = (0, horizon - cutoff)
    solution = solve_ivp(slope, span, [0.0, 1.0], method="DOP853", rtol=1e-12, atol=1e-13)
    return solution.y[:, -1]


@pytest.mark.parametrize("mean", [0.0, -1.7])
@pytest.mark.parametrize("variance", [0.05, 1.0, 6.0])
@pytest.mark.parametrize(("horizon", "cutoff"), [(3.0, 0.05), (0.4, 0.1), (6.0, 1.0)])
def test_output_solves_the_moment_equations(mean, variance, horizon, cutoff):
    got = diffusion_output(mean, variance, horizon, cutoff)
    expected = reverse_moments(mean, variance, horizon, cutoff)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


def test_output_is_the_limit_of_small_steps():
    """Euler-Maruyama keeps a normal law normal; its moments converge at first order."""
    mean, variance, horizon, cutoff = 0.8, 2.5, 2.0, 0.1
    exact = np.array(diffusion_output(mean, variance, horizon, cutoff))
    errors = []
    for steps in (2000, 4000):
        dt = (horizon - cutoff) / steps
        m, v = 0.0, 1.0
        for k in range(steps):
            t = horizon - k * dt
            law = 1 + (variance - 1) * math.exp(-2 * t)
            gain = 1 + dt * (1 - 2 / law)
            m = gain * m + dt * 2 * math.exp(-t) * mean / law
            v = gain**2 * v + 2 * dt
        errors.append(np.array([m, v]) - exact)
    assert np.all(np.abs(errors[1]) < 2e-3)
    np.testing.assert_allclose(errors[0] / errors[1], 2, rtol=0.01)


def test_output_of_the_perfect_model():
    got = diffusion_output(1.3, 0.4, 30.0, 0.0)
    np.testing.assert_allclose(got, (1.3, 0.4), rtol=1e-12)
    # A normal law with unit variance keeps it: the start is right but for the mean.
    mean, variance = diffusion_output(1.0, 1.0, 2.0, 0.3)
    assert variance == pytest.approx(1, rel=1e-14)
    assert mean == pytest.approx(math.exp(-0.3) - math.exp(-3.7), rel=1e-13)


def test_the_cutoff_is_a_bandwidth():
    """With a long horizon the samples are data shrunk by e^-t0, plus noise of that bandwidth."""
    for cutoff in (1e-6, 0.02, 0.5):
        mean, variance = diffusion_output(0.7, 3.0, 40.0, cutoff)
        assert mean == pytest.approx(math.exp(-cutoff) * 0.7, rel=1e-13)
        expected = math.exp(-2 * cutoff) * 3.0 - math.expm1(-2 * cutoff)
        assert variance == pytest.approx(expected, rel=1e-13)


def test_arrays():
    mean, variance = diffusion_output([[0.0], [1.0]], [0.5, 1.0, 2.0], 2.0, 0.1)
    assert mean.shape == (2, 3)
    assert variance.shape == (3,)  # it does not depend on the mean
    assert mean[1, 2] == diffusion_output(1.0, 2.0, 2.0, 0.1)[0]


# Loops


def test_fully_synthetic_loop_forgets_the_truth():
    cutoff, t = 0.05, np.arange(1, 31)
    means, variances = diffusion_loop(full_synthetic(), 30, 40.0, cutoff, 2.0, 5.0)
    np.testing.assert_allclose(means, 2 * np.exp(-t * cutoff), rtol=1e-12)
    np.testing.assert_allclose(variances, 1 + 4 * np.exp(-2 * t * cutoff), rtol=1e-12)


def test_fresh_data_bound_the_drift():
    """The fixed point of m = e^-t0 (alpha m0 + (1 - alpha) m)."""
    alpha, cutoff = 0.2, 0.1
    means, _ = diffusion_loop(fresh_mixture(alpha), 300, 40.0, cutoff, 2.0, 5.0)
    c = math.exp(-cutoff)
    assert means[-1] == pytest.approx(2 * alpha * c / (1 - (1 - alpha) * c), rel=1e-12)
    again = diffusion_loop(fixed_real(alpha), 300, 40.0, cutoff, 2.0, 5.0)
    np.testing.assert_allclose(again[0], means, rtol=1e-14)


@pytest.mark.parametrize(
    ("cycle", "rounds"), [(balanced(), 6), (general([0.3, 0.1], [[0.7], [0.5, 0.4]]), 3)]
)
def test_loop_by_raw_moments(cycle, rounds):
    """The same recursion in E X and E X^2 of explicit mixtures."""
    laws = [(1.5, 0.6)]
    for t in range(1, rounds + 1):
        weights = cycle.weights(t)
        w = np.array([weights.fresh, *weights.generations])
        first = sum(a * m for a, (m, _) in zip(w, laws, strict=True))
        second = sum(a * (v + m * m) for a, (m, v) in zip(w, laws, strict=True))
        laws.append(tuple(reverse_moments(first, second - first**2, 2.0, 0.1)))
    means, variances = diffusion_loop(cycle, rounds, 2.0, 0.1, 1.5, 0.6)
    np.testing.assert_allclose(np.column_stack([means, variances]), laws[1:], rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diffusion_output(0.0, -0.1, 2.0, 0.1), "variance from 0 up"),
        (lambda: diffusion_output(math.nan, 1.0, 2.0, 0.1), "must be finite"),
        (lambda: diffusion_output(0.0, math.nan, 2.0, 0.1), "must be finite"),
        (lambda: diffusion_output(0.0, 1.0, 0.1, 0.1), "horizon must be finite and beyond"),
        (lambda: diffusion_output(0.0, 1.0, math.inf, 0.1), "horizon must be finite and beyond"),
        (lambda: diffusion_output(0.0, 1.0, math.nan, 0.1), "horizon must be finite and beyond"),
        (lambda: diffusion_output(0.0, 1.0, 2.0, -0.1), "cutoff must be finite and not negative"),
        (lambda: diffusion_loop(balanced().accumulated(), 3, 2.0, 0.1), "without accumulation"),
        (lambda: diffusion_loop(balanced(), 0, 2.0, 0.1), "rounds must be a whole number"),
        (lambda: diffusion_loop(balanced(), 3, 2.0, 0.1, 0.0, -1.0), "variance from 0 up"),
    ],
)
def test_errors_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
