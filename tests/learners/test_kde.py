"""Kernel density estimates against direct sums, scipy, and the exact theory of their loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, gaussian_kde, kstest, norm

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.laws import FOURTH_ORDER, GAUSSIAN, KERNELS, LAPLACE, UNIFORM, NormalMixture
from stlcore.learners import kde
from stlcore.learners.base import Learner, PoolsSamples, ReusesSamples
from stlcore.learners.kde import KernelDensity
from stlcore.loop import run
from stlcore.metrics.distances import deviation_test, total_variation
from stlcore.schedules import Size
from stlcore.streams import stream
from stlcore.theory.kde import kde_mean, kde_mise
from stlcore.theory.tv_bounds import bound, cycle_beta

LEVEL = 1e-4  # false alarm of one statistical test here
TRUTH = NormalMixture([0.3, 0.7], [-1.0, 1.5], [0.5, 1.0])
PLANE = NormalMixture([0.5, 0.5], [[0.0, 1.0], [1.0, -1.0]], [1.0, 0.5])
LINE = np.linspace(-10, 10, 401)
RANDOM = general([0.5, 0.1, 0.2], [[0.5], [0.3, 0.6], [0.5, 0.0, 0.3]])


def direct_sum(points, kernel, h, x):
    return kernel.density((x - points[..., None]) / h).mean(axis=1) / h


# --- evaluation --------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("h", [0.013, 0.05, 0.31, 1.7])
def test_evaluation_is_the_direct_sum(kernel, h):
    points = stream(1, "points").normal(scale=4, size=(5, 60))
    points[0, :6] = [-10.0, 10.0, -10.01, 10.01, 300.0, -1e9]  # ends of the grid, and far beyond
    points[1] = 0.1234
    points += 1e-4 * math.pi * (kernel is UNIFORM)  # no jump right at a grid point
    density = KernelDensity(TRUTH, kernel, h, LINE).fit(points).density
    error = np.abs(density - direct_sum(points, kernel, h, LINE)).max() * h
    assert error < (1e-12 if kernel in (LAPLACE, UNIFORM) else 2e-6)


@pytest.mark.parametrize("kernel", [GAUSSIAN, FOURTH_ORDER], ids=repr)
def test_binning_error_at_its_worst_place(kernel):
    """One point halfway between two bins: the error is the remainder of cubic interpolation.

    It is 9/16 of the fourth derivative over 4! in units of the bin, at the centre of the kernel.
    """
    h, x = 16.0, np.arange(-200.0, 201.0)  # the bins are the grid
    learner = KernelDensity(TRUTH, kernel, h, x)
    error = np.abs(learner.fit([[0.5]]).density - direct_sum(np.array([[0.5]]), kernel, h, x))
    fourth = 3 * norm.pdf(0) if kernel is GAUSSIAN else (3 + 15 / 2) * norm.pdf(0)
    assert error.max() * h == pytest.approx(9 / 16 / 24 * fourth / 16**4, rel=0.02)
    assert learner.fit([[5.0]]).density.max() == pytest.approx(
        float(kernel.density(0)) / h, rel=1e-13
    )


def test_gaussian_estimate_equals_scipy():
    points = TRUTH.sample(stream(2, "points"), 150)
    h = 0.35
    peer = gaussian_kde(points, bw_method=h / points.std(ddof=1))
    ours = KernelDensity(TRUTH, GAUSSIAN, h, LINE).fit(points[None]).density[0]
    np.testing.assert_allclose(ours, peer(LINE), atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("dimension", [2, 3])
def test_product_grids(kernel, dimension):
    truth = NormalMixture.standard(dimension)
    axes = [np.linspace(-2, 3, 5 + 2 * j) for j in range(dimension)]
    points = stream(3, "points").normal(size=(2, 11, dimension))
    learner = KernelDensity(truth, kernel, 0.7, *axes)
    density = learner.fit(points).density
    assert density.shape == (2, *(axis.size for axis in axes))
    for at in np.ndindex(density.shape[1:]):
        x = np.array([axis[i] for axis, i in zip(axes, at, strict=True)])
        expected = (kernel.density((x - points) / 0.7) / 0.7).prod(axis=-1).mean(axis=-1)
        np.testing.assert_allclose(density[:, *at], expected, atol=1e-14)
        assert learner.truth_density[at] == pytest.approx(norm.pdf(x).prod(), rel=1e-12)


def test_repetitions_do_not_influence_each_other(monkeypatch):
    points = stream(4, "points").normal(size=(7, 40))
    learner = KernelDensity(TRUTH, GAUSSIAN, 0.4, LINE)
    together = learner.fit(points).density
    alone = np.concatenate([learner.fit(row[None]).density for row in points])
    np.testing.assert_allclose(alone, together, atol=1e-15)
    monkeypatch.setattr(kde, "BLOCK", 80)  # two rows at a time
    np.testing.assert_allclose(learner.fit(points).density, together, atol=1e-15)


# --- sampling ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [GAUSSIAN, LAPLACE, UNIFORM], ids=repr)
def test_samples_have_the_law_of_the_mixture_of_models(kernel):
    """Kolmogorov-Smirnov against the exact distribution function. False alarm: LEVEL."""
    h = 0.6
    learner = KernelDensity(TRUTH, kernel, h, LINE)
    model = learner.fit(stream(5, "training").normal(size=(3, 4)))
    weights = np.array([0.25, 0.75])
    sample = learner.sample(
        [TRUTH, model], weights, np.full(3, 6000), stream(5, "draws", kernel.name)
    )
    cdf = {
        "Gaussian": norm.cdf,
        "Laplace": lambda u: np.where(u < 0, np.exp(u) / 2, 1 - np.exp(-u) / 2),
        "uniform": lambda u: np.clip((u + 1) / 2, 0, 1),
    }[kernel.name]

    def distribution(x, row):
        real = norm.cdf((x[:, None] - TRUTH.means) / TRUTH.deviations) @ TRUTH.weights
        with np.errstate(over="ignore"):
            made = cdf((x[:, None] - model.points[row]) / h).mean(axis=1)
        return weights @ [real, made]

    for row in range(3):
        assert kstest(sample[row], lambda x, r=row: distribution(x, r)).pvalue > LEVEL / 3
    # Control: the law of another repetition does not fit.
    assert kstest(sample[0], lambda x: distribution(x, 1)).pvalue < 1e-12


def test_a_kernel_with_negative_values_draws_from_its_positive_part():
    """Exact about what is drawn; at most ``positive - 1`` away. False alarm: LEVEL."""
    h, x = 0.5, np.linspace(-5, 5, 4001)
    learner = KernelDensity(TRUTH, FOURTH_ORDER, h, x)
    model = learner.fit([[0.3]])
    drawn = np.maximum(model.density[0], 0) / FOURTH_ORDER.positive
    distance = total_variation(model.density[0], drawn, x).value
    assert distance == pytest.approx(FOURTH_ORDER.positive - 1, rel=1e-5)
    sample = learner.sample([model], np.ones(1), np.array([20_000]), stream(6, "signed"))[0]
    assert np.abs(sample - 0.3).max() <= math.sqrt(3) * h
    cdf = drawn.cumsum() * (x[1] - x[0])
    assert kstest(sample, lambda at: np.interp(at, x, cdf)).pvalue > LEVEL


def test_samples_in_the_plane():
    """Each coordinate by Kolmogorov-Smirnov, and their product by its mean. False alarm: LEVEL."""
    learner = KernelDensity(PLANE, GAUSSIAN, 0.4, LINE[::20], LINE[::20])
    model = learner.fit(stream(7, "training").normal(size=(2, 5, 2)))
    sample = learner.sample([model], np.ones(1), np.full(2, 9000), stream(7, "draws"))
    assert sample.shape == (2, 9000, 2)
    for row in range(2):
        for j in range(2):
            centres = model.points[row, :, j]
            test = kstest(
                sample[row, :, j], lambda x, c=centres: norm.cdf((x[:, None] - c) / 0.4).mean(1)
            )
            assert test.pvalue > LEVEL / 6
        product = sample[row].prod(axis=1)
        z = (product.mean() - model.points[row].prod(axis=1).mean()) / product.std() * 9000**0.5
        assert abs(z) < norm.isf(LEVEL / 12)


def test_parts_of_the_mixture_are_multinomial():
    """The number of points from far away is binomial. False alarm: below LEVEL."""
    learner = KernelDensity(TRUTH, UNIFORM, 0.1, LINE)
    model = learner.fit(np.full((2000, 1), 50.0))
    sample = learner.sample([TRUTH, model], np.array([0.3, 0.7]), np.full(2000, 5), stream(8, "p"))
    count = (sample > 40).sum(axis=1)
    test = kstest(count + stream(8, "jitter").random(2000), _jittered_binomial)
    assert test.pvalue > LEVEL


def _jittered_binomial(x):
    k = np.floor(x)
    return binom.cdf(k - 1, 5, 0.7) + (x - k) * binom.pmf(k, 5, 0.7)


def test_a_part_is_a_random_part_of_the_same_points():
    """Each point is taken equally often. False alarm: LEVEL over the ten points."""
    learner = KernelDensity(TRUTH, GAUSSIAN, 0.5, LINE)
    points = np.tile(np.arange(10.0), (3000, 1))
    part = learner.subset(points, 4, stream(9, "part"))
    assert part.shape == (3000, 4)
    assert np.all(np.diff(np.sort(part, axis=1), axis=1) > 0)
    z = (np.bincount(part.astype(int).ravel()) - 1200) / math.sqrt(3000 * 0.4 * 0.6)
    assert np.abs(z).max() < norm.isf(LEVEL / 20)
    both = learner.pool(part, points)
    assert both.shape == (3000, 14)
    plane = learner.subset(np.arange(24.0).reshape(2, 6, 2), 6, stream(9, "all"))
    np.testing.assert_array_equal(np.sort(plane, axis=1), np.arange(24.0).reshape(2, 6, 2))


# --- the loop ----------------------------------------------------------------------------

CYCLES = {
    "full synthetic": full_synthetic(),
    "fresh": fresh_mixture(0.4),
    "fixed": fixed_real(0.25),
    "balanced": balanced(),
    "general": RANDOM,
}


CASES = [(GAUSSIAN, name) for name in CYCLES] + [(LAPLACE, "general"), (UNIFORM, "general")]


@pytest.mark.parametrize(("kernel", "name"), CASES)
def test_mean_squared_error_of_the_loop_is_the_exact_one(kernel, name):
    """False alarm: LEVEL for each of the cases."""
    cycle, h, n = CYCLES[name], np.array([0.5, 0.3, 0.6, 0.4]), 24
    learner = KernelDensity(TRUTH, kernel, h, np.linspace(-16, 16, 641))
    frame = run(learner, cycle, n, 4, 300, stream(10, kernel.name, name))
    errors = frame.pivot(index="repetition", columns="round", values="squared_error").to_numpy()
    exact = kde_mise(TRUTH, kernel, h, cycle, n, 4).total
    test = deviation_test(errors, stream(10, "test"))
    assert test(exact).p_value > LEVEL
    wrong = kde_mise(TRUTH, kernel, 0.7 * h, cycle, n, 4).total
    assert test(wrong).p_value < LEVEL


@pytest.mark.parametrize("name", ["general", "fixed"])
def test_mean_density_of_the_loop_is_the_exact_one(name):
    """At nine points of the last round. False alarm: LEVEL for each cycle."""
    cycle, h = CYCLES[name], [0.5, 0.3, 0.6, 0.4]
    learner = KernelDensity(TRUTH, GAUSSIAN, h, LINE)
    models = []
    run(learner, cycle, 20, 4, 300, stream(11, name), observe=lambda t, m: models.append(m))
    at = np.arange(130, 275, 16)
    exact = kde_mean(TRUTH, GAUSSIAN, h, cycle, 4, LINE[at])[-1]
    density = models[-1].density[:, at]
    test = deviation_test(density, stream(11, "test"))
    assert test(exact).p_value > LEVEL
    wrong = TRUTH.density(LINE[at])
    assert test(wrong).p_value < LEVEL


def test_the_bound_holds_in_every_realisation():
    """Sure: the distances are norms on the grid. Halving one weight breaks it."""
    learner = KernelDensity(TRUTH, GAUSSIAN, 0.4, LINE[::10])  # a coarse grid does not matter
    densities, rounds = [], 4
    run(
        learner,
        RANDOM,
        50,
        rounds,
        200,
        stream(12, "bound"),
        observe=lambda t, model: densities.append(model.density),
    )
    errors = []
    for t in range(1, rounds + 1):
        weights = RANDOM.weights(t)
        law = weights.fresh * learner.truth_density
        law = law + sum(w * p for w, p in zip(weights.generations, densities, strict=False))
        errors.append(total_variation(densities[t - 1], law, *learner.grid).value)
    beta = cycle_beta(RANDOM, rounds - 1)
    actual = total_variation(densities[-1], learner.truth_density, *learner.grid).value
    errors = np.stack(errors, axis=-1)
    slack = bound(errors, beta, rounds - 1) - actual
    assert slack.min() > -1e-12
    assert (bound(errors, [0.5 * row for row in beta], rounds - 1) < actual).any()


def test_what_is_tracked():
    learner = KernelDensity(TRUTH, GAUSSIAN, 0.5, LINE)
    model = learner.fit(stream(13, "points").normal(size=(3, 30)))
    tracked = learner.track(model)
    x = np.linspace(-10, 10, 20_001)
    gap = direct_sum(model.points, GAUSSIAN, 0.5, x) - TRUTH.density(x)
    distance = np.abs(gap).sum(axis=1) * 0.001 / 2
    assert np.all(np.abs(tracked["tv"] - distance) <= tracked["tv_error"])
    assert tracked["tv_error"].max() < 1e-3
    np.testing.assert_allclose(tracked["squared_error"], (gap**2).sum(axis=1) * 0.001, rtol=1e-6)


def test_the_learner_offers_what_every_cycle_needs():
    learner = KernelDensity(TRUTH, GAUSSIAN, 0.5, LINE)
    assert isinstance(learner, Learner)
    assert isinstance(learner, PoolsSamples)
    assert isinstance(learner, ReusesSamples)
    frame = run(learner, fresh_mixture(0.5).accumulated(), Size.power(5, 1), 3, 2, stream(14, "a"))
    assert list(frame.groupby("round")["trained"].first()) == [5, 15, 30]


def test_equal_streams_give_equal_runs():
    learner = KernelDensity(PLANE, LAPLACE, 0.5, LINE[::20], LINE[::20])
    first, again = (run(learner, balanced(), 10, 3, 2, stream(15, "same")) for _ in range(2))
    assert first.equals(again)


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0, -0.1, math.nan, math.inf, [0.1, 0], [], [[0.1]]])
def test_bad_bandwidths_are_refused(h):
    with pytest.raises(ValueError, match="a bandwidth must be a positive finite number"):
        KernelDensity(TRUTH, GAUSSIAN, h, LINE)


@pytest.mark.parametrize(
    ("truth", "grid", "message"),
    [
        (TRUTH, [], "one axis for each dimension"),
        (PLANE, [LINE], "the truth has 2, the grid 1"),
        (NormalMixture.standard(4), [LINE] * 4, "up to three"),
        (TRUTH, [LINE[:-1]], "an odd number of points"),
        (TRUTH, [LINE[::-1]], "must be finite and increase"),
        (TRUTH, [np.array([0, 1, 2, 3, 5.0])], "must be equidistant"),
    ],
)
def test_bad_grids_are_refused(truth, grid, message):
    with pytest.raises(ValueError, match=message):
        KernelDensity(truth, GAUSSIAN, 0.3, *grid)


def test_bad_samples_are_refused():
    learner = KernelDensity(TRUTH, GAUSSIAN, [0.3], LINE)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="every point must be a finite number"):
            learner.fit([[0.0, bad]])
    with pytest.raises(ValueError, match="at least one point"):
        learner.fit(np.zeros((2, 0)))
    with pytest.raises(ValueError, match=r"must have shape \(repetitions, n\), not \(3,\)"):
        learner.fit([1.0, 2.0, 3.0])
    plane = KernelDensity(PLANE, GAUSSIAN, 0.3, LINE, LINE)
    with pytest.raises(ValueError, match=r"shape \(repetitions, n, 2\), not \(1, 4\)"):
        plane.fit(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="bandwidths for 1 rounds, but this is round 2"):
        run(learner, full_synthetic(), 5, 2, 1, stream(16, "short"))
    with pytest.raises(ValueError, match="equally many points in every repetition"):
        run(learner, fresh_mixture(0.5).filtered(0.3, 0.3), 50, 2, 9, stream(16, "filter"))
    for size in (0, 6):
        with pytest.raises(ValueError, match=f"cannot take {size} points from a sample of 5"):
            learner.subset(np.zeros((2, 5)), size, stream(16, "part"))
