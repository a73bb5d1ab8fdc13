"""Least squares in the loop, against draws of every point and exact moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from stlcore.cycles import fixed_real, fresh_mixture
from stlcore.learners.linear import Line, LinearRegression, Products
from stlcore.loop import run
from stlcore.pages.figures import as_array
from stlcore.schedules import Size
from stlcore.streams import stream
from stlcore.theory.augmentation import ols_loop


def within(samples, expected, level):
    z = (samples.mean(axis=-1) - expected) / samples.std(axis=-1) * samples.shape[-1] ** 0.5
    return np.abs(z).max() < norm.isf(level / 2)


def test_fit_is_least_squares():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 9, 3)), rng.standard_normal((2, 9))
    z = np.concatenate([x, y[..., None]], axis=2)
    fit = LinearRegression([1, 2, 3]).fit(Products(np.full(2, 9), z.swapaxes(1, 2) @ z))
    for r in range(2):
        expected, residual, *_ = np.linalg.lstsq(x[r], y[r])
        np.testing.assert_allclose(fit.weights[r], expected, rtol=1e-10)
        assert fit.training_error[r] == pytest.approx(residual[0] / 9)


def test_the_parameters_are_the_weights_alone():
    learner = LinearRegression([1.0, 2.0])
    lines = Line(np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, 0.7]))
    np.testing.assert_array_equal(learner.to_vector(lines), lines.weights)
    moved = learner.from_vector(np.ones((3, 2)), Line(lines.weights[:1], lines.training_error[:1]))
    np.testing.assert_array_equal(moved.weights, np.ones((3, 2)))
    np.testing.assert_array_equal(moved.training_error, [0.5] * 3)
    assert learner.to_vector(learner.truth).shape == (1, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_products_have_the_moments_of_drawn_points(count):
    # Mean and second moment of every entry: 12 z-tests a case, false-alarm rate 1.2e-5.
    learner, repetitions = LinearRegression([0.5, -1.0], 0.7), 60_000
    rng = np.random.default_rng(20260303)
    models = [learner.truth, Line(np.array([2.0, 1.0]))]
    size = np.full(repetitions, count)
    found = learner.sample(models, np.array([0.4, 0.6]), size, rng).products
    assert np.linalg.matrix_rank(found[:50]).max() == min(count, 3)
    x = rng.standard_normal((repetitions, count, 2))
    real = rng.random((repetitions, count, 1)) < 0.4
    weights = np.where(real, models[0].weights, models[1].weights)
    y = (x * weights).sum(axis=2) + 0.7 * rng.standard_normal((repetitions, count))
    z = np.concatenate([x, y[..., None]], axis=2)
    drawn = z.swapaxes(1, 2) @ z
    for a, b in ((found, drawn), (found**2, drawn**2)):
        spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / repetitions)
        apart = np.abs(a.mean(axis=0) - b.mean(axis=0)) / spread
        assert apart.max() < norm.isf(5e-7)


def test_loop_follows_the_exact_moments():
    # 3 risks and 3 gaps: false-alarm rate 6e-6.
    found = run(
        LinearRegression([1.0, 0.0, -2.0], 0.5),
        fresh_mixture(0.4),
        Size.explicit([12, 9, 9]),
        3,
        60_000,
        stream(20260304, "fresh"),
    )
    exact = ols_loop(12, 9, 0.4, 3, 2, 0.5)
    assert within(as_array(found, "squared_error"), exact.risk, 1e-6)
    assert within(as_array(found, "gap"), exact.gap, 1e-6)


def test_part_of_a_sample_is_as_if_drawn():
    # The re-used part and the rest, against a loop that draws every point: 4 z-tests, 4e-6.
    repetitions, rng = 60_000, np.random.default_rng(20260305)
    found = run(
        LinearRegression([0.0, 0.0], 1.0), fixed_real(0.5), 8, 3, repetitions,
        stream(20260306, "fixed"),
    )  # fmt: skip
    x, noise = rng.standard_normal((repetitions, 8, 2)), rng.standard_normal((repetitions, 8))
    again, of_again, weights = x[:, :4], noise[:, :4], np.zeros((repetitions, 2))
    drawn = []
    for t in range(3):
        if t:
            new = rng.standard_normal((repetitions, 4, 2))
            label = (new @ weights[..., None])[..., 0] + rng.standard_normal((repetitions, 4))
            x, noise = np.concatenate([again, new], 1), np.concatenate([of_again, label], 1)
        cross = x.swapaxes(1, 2)
        weights = np.linalg.solve(cross @ x, cross @ noise[..., None])[..., 0]
        gap = 1 + (weights**2).sum(1) - ((noise - (x @ weights[..., None])[..., 0]) ** 2).mean(1)
        drawn.append([(weights**2).sum(axis=1), gap])
    for k, column in enumerate(("squared_error", "gap")):
        one, two = as_array(found, column), np.array(drawn)[:, k]
        spread = np.sqrt((one.var(axis=1) + two.var(axis=1)) / repetitions)
        apart = np.abs(one.mean(axis=1) - two.mean(axis=1)) / spread
        assert apart[1:].max() < norm.isf(5e-7)


def test_input_is_checked():
    for weights, noise in (([], 1), ([[1.0]], 1), ([np.nan], 1), ([1.0], 0), ([1.0], np.inf)):
        with pytest.raises(ValueError, match=r"weights|noise"):
            LinearRegression(weights, noise)
    learner = LinearRegression(np.ones(3))
    with pytest.raises(ValueError, match="at least 3 points"):
        run(learner, fresh_mixture(0.5), 2, 2, 5, stream(1, "x"))
    with pytest.raises(ValueError, match="at least 4 points"):
        run(learner, fixed_real(0.5), 3, 2, 5, stream(1, "x"))
    sample = learner.sample([learner.truth], np.ones(1), np.full(5, 10), stream(1, "x"))
    with pytest.raises(ValueError, match="cannot take 11"):
        learner.subset(sample, 11, stream(1, "x"))
    all_of_it = learner.subset(sample, 10, stream(1, "x"))
    np.testing.assert_allclose(all_of_it.products, sample.products, rtol=1e-9)
