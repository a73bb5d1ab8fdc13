"""The Gaussian learner against raw draws, its exact recursion against a sum over all draws."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2, ks_2samp, kstest, norm

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.learners.base import PoolsSamples, ReusesSamples
from stlcore.learners.gaussian import Gaussian, GaussianMean, Moments, Normal
from stlcore.loop import run
from stlcore.metrics.distances import deviation_test
from stlcore.schedules import Share, Size
from stlcore.streams import stream
from stlcore.theory.contamination import gaussian_risk
from stlcore.theory.gaussian_loops import expected_tv_mean, gaussian_mean_variance

LEVEL = 1e-5  # false alarm of one statistical test here


def moments_of(points):
    """Sufficient statistics of raw points, shape (repetitions, n)."""
    count = np.full(len(points), points.shape[1])
    return Moments(count, points.mean(axis=1), points.var(axis=1) * points.shape[1])


def draw_points(rng, means, variances, weights, repetitions, n):
    """Raw points of a mixture; means and variances may differ between repetitions."""
    means, variances = (
        np.broadcast_to(np.reshape(x, (-1, len(weights))), (repetitions, len(weights)))
        for x in (means, variances)
    )
    source = rng.choice(len(weights), size=(repetitions, n), p=weights)
    row = np.arange(repetitions)[:, None]
    return rng.normal(means[row, source], np.sqrt(variances[row, source]))


# --- the exact recursion -----------------------------------------------------------------


def by_quadrature(shares, sizes, variance, accumulate):
    """E d^2, E v and E (v - variance)^2 of the last round, over every source and every draw.

    Each draw is a standard normal on 3 Gauss-Hermite nodes, exact for polynomials of degree 5.
    The three quantities are polynomials of degree at most 4 in the draws of the first
    round, and in those of every later round once the odd powers (of which each carries an
    odd power of a standard deviation) have summed to zero.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    weights = weights / weights.sum()
    mean, var, chance = np.zeros(1), np.ones(1), np.ones(1)  # not used in round 1: share 1
    kept = np.zeros((1, 0))
    for share, size in zip(shares, sizes, strict=True):
        means, variances, chances, data = [], [], [], []
        for real in product([True, False], repeat=size):
            p_source = np.prod([share if r else 1 - share for r in real])
            if p_source == 0:
                continue
            for index in product(range(3), repeat=size):
                z, p = nodes[list(index)], weights[list(index)].prod()
                new = np.where(
                    real, np.sqrt(variance) * z, mean[:, None] + np.sqrt(var)[:, None] * z
                )
                points = np.hstack([kept, new])
                means.append(points.mean(axis=1))
                variances.append(points.var(axis=1))
                chances.append(chance * p_source * p)
                data.append(points)
        mean, var, chance = (np.concatenate(x) for x in (means, variances, chances))
        kept = np.vstack(data) if accumulate else np.zeros((len(mean), 0))
    return chance @ mean**2, chance @ var, chance @ (var - variance) ** 2


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ([1], [3]),
        ([1, 0.3], [2, 3]),
        ([1, 0.6], [3, 2]),
        ([1, 0.3, 0.8], [2, 2, 2]),
        ([1, 0.0, 0.4], [3, 1, 2]),
        ([1, 0.35, 0.15], [2, 3, 2]),
        ([1, 0.0, 0.0], [3, 3, 3]),
        ([1, 0.45, 1.0], [2, 2, 3]),
    ],
)
def test_recursion_equals_the_sum_over_all_draws(shares, sizes, accumulate):
    exact = gaussian_risk(shares, sizes, 1.7, accumulate)
    listed = by_quadrature(shares, sizes, 1.7, accumulate)
    measured = [exact.squared_error_mean, exact.variance, exact.squared_error_variance]
    np.testing.assert_allclose([m[-1] for m in measured], listed, rtol=1e-10, atol=0)
    assert exact.error[-1] == pytest.approx(listed[0] + listed[2], rel=1e-10)


def test_recursion_of_order_two_is_the_one_on_the_reference_sheet():
    shares, sizes, variance = Share.power(0.5).values(40), Size.power(5, 1).values(40), 0.8
    exact = gaussian_risk(shares, sizes, variance)
    a, b = variance / sizes[0], (1 - 1 / sizes[0]) * variance
    for t in range(1, 40):
        alpha, n = shares[t], sizes[t]
        m = alpha * variance + (1 - alpha) * b + alpha * (1 - alpha) * a
        a, b = (1 - alpha) ** 2 * a + m / n, (1 - 1 / n) * m
        assert exact.squared_error_mean[t] == pytest.approx(a, rel=1e-12)
        assert exact.variance[t] == pytest.approx(b, rel=1e-12)


def test_variance_dies_out_geometrically_without_fresh_data():
    rounds = 2000
    shares = Share.fixed(0).values(rounds)
    exact = gaussian_risk(shares, np.full(rounds, 10), 1.0)
    np.testing.assert_allclose(exact.variance, 0.9 ** np.arange(1, rounds + 1), rtol=1e-10)


def test_recursion_broadcasts_over_leading_axes():
    shares = np.stack([Share.fixed(0.2).values(6), Share.power(1).values(6)])
    both = gaussian_risk(shares, [4, 5, 6, 7, 8, 9], 2.0, accumulate=True)
    for i in range(2):
        alone = gaussian_risk(shares[i], [4, 5, 6, 7, 8, 9], 2.0, accumulate=True)
        for name in ("squared_error_mean", "variance", "squared_error_variance", "error"):
            np.testing.assert_array_equal(getattr(both, name)[i], getattr(alone, name))


@pytest.mark.parametrize("variance", [0, -1, np.nan, np.inf])
def test_recursion_refuses_a_bad_variance(variance):
    with pytest.raises(ValueError, match="variance"):
        gaussian_risk([1], [2], variance)


# --- the learner -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "variance", "word"),
    [(0, 0, "variance"), (0, -1, "variance"), (0, np.nan, "variance"), (np.nan, 1, "mean")],
)
def test_bad_truth_is_refused(mean, variance, word):
    with pytest.raises(ValueError, match=word):
        Gaussian(mean, variance)


def test_it_offers_what_every_cycle_needs():
    assert isinstance(Gaussian(0, 1), PoolsSamples)
    assert isinstance(Gaussian(0, 1), ReusesSamples)


def test_statistics_of_one_law_have_their_textbook_distribution():
    learner, count, n = Gaussian(2.0, 3.0), 20_000, 5
    drawn = learner.sample([learner.truth], np.ones(1), np.full(count, n), stream(1, "one law"))
    assert kstest(drawn.mean, norm(2, np.sqrt(3 / n)).cdf).pvalue > LEVEL
    assert kstest(drawn.squares / 3, chi2(n - 1).cdf).pvalue > LEVEL
    correlation = np.corrcoef(drawn.mean, drawn.squares)[0, 1] * np.sqrt(count)
    assert abs(correlation) < norm.isf(LEVEL / 2)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_statistics_of_a_mixture_have_the_law_of_raw_draws(n):
    count, weights = 20_000, np.array([0.5, 0.2, 0.3])
    laws = [Normal(0.0, 1.0), Normal(np.full(count, 3.0), np.full(count, 0.2)), Normal(-1.0, 4.0)]
    rng = stream(2, "mixture", n)
    drawn = Gaussian(0, 1).sample(laws, weights, np.full(count, n), rng)
    raw = moments_of(draw_points(rng, [0, 3, -1], [1, 0.2, 4], weights, count, n))
    assert ks_2samp(drawn.mean, raw.mean).pvalue > LEVEL
    if n == 1:
        np.testing.assert_array_equal(drawn.squares, 0)
    else:
        assert ks_2samp(drawn.squares, raw.squares).pvalue > LEVEL
        # One number that depends on the joint law of the two.
        of_both = [d.mean * d.squares for d in (drawn, raw)]
        assert ks_2samp(*of_both).pvalue > LEVEL


def test_pooled_statistics_equal_those_of_the_pooled_points():
    rng = stream(3, "pool")
    a, b = rng.normal(1e3, 2, (6, 4)), rng.normal(1e3 - 5, 1, (6, 9))
    pooled = Gaussian(0, 1).pool(moments_of(a), moments_of(b))
    direct = moments_of(np.hstack([a, b]))
    for mine, theirs in zip(pooled, direct, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_pooling_with_nothing_changes_nothing():
    some = moments_of(stream(4, "some").normal(5, 1, (3, 4)))
    nothing = Moments(np.zeros(3, int), np.zeros(3), np.zeros(3))
    for pooled in (Gaussian(0, 1).pool(some, nothing), Gaussian(0, 1).pool(nothing, some)):
        for mine, theirs in zip(pooled, some, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-15)
    assert Gaussian(0, 1).pool(nothing, nothing).count.sum() == 0


@pytest.mark.parametrize(("n", "m"), [(2, 1), (6, 1), (6, 2), (6, 5), (9, 4)])
def test_part_of_a_sample_has_the_law_of_a_part_of_raw_points(n, m):
    """Compared by functions of both, because the margins alone do not fix the joint law."""
    count = 20_000
    rng = stream(5, "part", n, m)
    points = rng.normal(1, 2, (count, n))
    true_part = moments_of(points[:, :m])
    fresh = moments_of(rng.normal(1, 2, (count, n)))
    part = Gaussian(1, 4).subset(fresh, m, rng)
    np.testing.assert_array_equal(part.count, m)

    def numbers(part, whole):
        shift = part.mean - whole.mean
        yield part.mean
        yield np.sign(shift) * whole.squares
        if n > 2:
            yield shift**2 / whole.squares
        if m > 1:
            yield part.squares
            yield part.squares / whole.squares
            yield shift * part.squares

    whole = moments_of(points)
    for mine, theirs in zip(numbers(part, fresh), numbers(true_part, whole), strict=True):
        assert ks_2samp(mine, theirs).pvalue > LEVEL


def test_part_and_rest_together_never_exceed_the_whole():
    rng = stream(6, "rest")
    whole = moments_of(rng.normal(0, 1, (1000, 6)))
    part = Gaussian(0, 1).subset(whole, 4, rng)
    between = 4 * 6 / 2 * (part.mean - whole.mean) ** 2  # what pooling part and rest would add
    assert np.all(part.squares + between <= whole.squares * (1 + 1e-12))


def test_the_whole_as_a_part_is_the_sample_itself():
    whole = moments_of(stream(7, "whole").normal(0, 1, (5, 4)))
    part = Gaussian(0, 1).subset(whole, 4, stream(7, "part"))
    for mine, theirs in zip(part, whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("size", [0, 5])
def test_a_part_must_fit(size):
    whole = moments_of(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="cannot take"):
        Gaussian(0, 1).subset(whole, size, stream(8))


@pytest.mark.parametrize("size", [1, 2, 30])
@pytest.mark.parametrize(
    "cycle",
    [
        full_synthetic(),
        full_synthetic().accumulated(),
        fresh_mixture(Share.power(0.5)),
        fresh_mixture(0.3).accumulated(),
        fresh_mixture(0.3).filtered(0.2, 0.4),
        fresh_mixture(0.3).filtered(0.2, 0.4).accumulated(),
        balanced(),
        general([0.5, 0.2], [[0.5], [0.3, 0.5]]),
        fixed_real(0.5),
    ],
    ids=lambda cycle: type(cycle).__name__,
)
def test_every_cycle_runs_at_every_size(cycle, size):
    frame = run(Gaussian(1, 2), cycle, size, 3, 4, stream(9))
    assert np.isfinite(frame.to_numpy()).all()
    assert (frame["variance"] >= 0).all()
    np.testing.assert_allclose(
        frame["error"], frame["squared_error_mean"] + frame["squared_error_variance"]
    )
    np.testing.assert_allclose(frame["squared_error_variance"], (frame["variance"] - 2) ** 2)


def test_size_one_without_fresh_data_stands_still():
    frame = run(Gaussian(0, 1), full_synthetic(), 1, 5, 3, stream(10))
    means = frame.pivot(index="round", columns="repetition", values="mean").to_numpy()
    assert (means == means[0]).all()
    assert (frame["variance"] == 0).all()


def test_equal_streams_give_equal_runs():
    frames = [run(Gaussian(0, 1), fresh_mixture(0.2), 9, 5, 6, stream(11)) for _ in range(2)]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("share", [Share.fixed(0), Share.fixed(0.3), Share.power(0.5)])
def test_loop_follows_the_exact_recursion(share, accumulate):
    rounds, repetitions = 12, 1000
    cycle = fresh_mixture(share)
    cycle = cycle.accumulated() if accumulate else cycle
    sizes = Size.power(8, 1)
    frame = run(
        Gaussian(-1, 2), cycle, sizes, rounds, repetitions, stream(12, str(share), str(accumulate))
    )
    exact = gaussian_risk(share.values(rounds), sizes.values(rounds), 2.0, accumulate)
    names = ("squared_error_mean", "variance", "squared_error_variance")
    measured = [
        frame.pivot(index="repetition", columns="round", values=n).to_numpy() for n in names
    ]
    expected = [getattr(exact, name) for name in names]
    test = deviation_test(np.hstack(measured), stream(13))(np.hstack(expected))
    assert test.p_value > 1e-4


# --- only the mean -----------------------------------------------------------------------


@pytest.mark.parametrize("cycle", [full_synthetic(), balanced(), fixed_real(0.5)], ids=repr)
def test_loops_that_learn_the_mean_follow_their_exact_law(cycle):
    sizes, repetitions = Size.explicit([4, 8, 8, 8]), 20_000
    frame = run(GaussianMean(0.0, 1.0), cycle, sizes, 4, repetitions, stream(5, "mean"))
    exact = {"squared_error": gaussian_mean_variance(cycle, sizes, 4)}
    if cycle != balanced():  # with random parts of the sources the mean is not quite normal
        exact["total_variation"] = expected_tv_mean(exact["squared_error"])
    for name, expected in exact.items():
        got = frame.pivot(index="repetition", columns="round", values=name).to_numpy()
        z = (got.mean(axis=0) - expected) / (got.std(axis=0) / np.sqrt(repetitions))
        assert np.abs(z).max() < norm.isf(LEVEL / 16)


def test_distance_of_means_is_that_of_the_densities():
    learner = GaussianMean(1.0, 4.0)
    fit = learner.fit(Moments(np.array([3]), np.array([2.5]), np.array([9.0])))
    assert fit.variance == 4.0
    x = np.linspace(-20, 25, 200_001)
    gap = np.abs(norm.pdf(x, 2.5, 2) - norm.pdf(x, 1, 2))
    tracked = learner.track(fit)
    assert tracked["total_variation"][0] == pytest.approx(np.trapezoid(gap, x) / 2, abs=1e-8)
    assert tracked["squared_error"][0] == 2.25
