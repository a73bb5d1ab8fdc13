"""The diffusion learner: exact gradient flow, samplers in closed form, the loop's protocol."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import chi2, kstest, norm

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.laws import NormalMixture
from stlcore.learners.base import Diverged, Learner, PoolsSamples, ReusesSamples, Round
from stlcore.learners.diffusion.learner import Diffusion, EmpiricalLaw
from stlcore.learners.diffusion.scores import LinearScore, Network, RandomFeatures, gradient_flow
from stlcore.loop import run
from stlcore.streams import stream
from stlcore.theory.diffusion import diffusion_loop, diffusion_output

LEVEL = 1e-5  # false alarm of one statistical test here
SPAN = (0.01, 3.0)


def random_features(dimension=1, width=24, **settings):
    settings = {"flow_time": 200.0} | settings
    return RandomFeatures(dimension, width, stream(1, "features"), **settings)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def first_round(seed):
    return Round(1, stream(seed, "round"))


# --- exact gradient flow -----------------------------------------------------------------


@pytest.fixture(scope="module")
def equations():
    """Normal equations of two repetitions of a score in two dimensions."""
    points = torch.from_numpy(stream(1, "points").standard_normal((2, 50, 2)))
    return random_features(2).normal_equations(points, SPAN, seeded())


@pytest.mark.parametrize("time", [0.3, 20.0])
def test_the_flow_is_what_small_steps_integrate_to(equations, time):
    gram, cross = (part.numpy() for part in equations)
    m = gram.shape[-1]
    exact = gradient_flow(*equations, time).numpy()
    for r in range(2):
        found = solve_ivp(
            lambda _, a, r=r: -2 * (a.reshape(2, m) @ gram[r] / m - cross[r]).ravel(),
            (0, time),
            np.zeros(2 * m),
            rtol=1e-10,
            atol=1e-12,
        )
        np.testing.assert_allclose(exact[r].ravel(), found.y[:, -1], rtol=0, atol=1e-6)


def test_the_flow_descends_the_denoising_loss(equations):
    # The normal equations against the loss written out: points, times and noise one by one.
    points = torch.from_numpy(stream(1, "points").standard_normal((1, 6, 2)))
    family = random_features(2, 8, noises=3)
    gram, cross = family.normal_equations(points, SPAN, seeded())
    outer = torch.from_numpy(stream(1, "outer").standard_normal((1, 2, 8)))
    rng, loss, constant = seeded(), 0.0, 0.0
    for t in np.geomspace(*SPAN, 3):
        sigma = math.sqrt(1 - math.exp(-2 * t))
        noise = torch.randn(points.shape, generator=rng, dtype=torch.float64)
        score = family((outer / 8, SPAN), math.exp(-t) * points + sigma * noise, t)
        loss += (score + noise / sigma).square().sum() / 18
        constant += (noise / sigma).square().sum() / 18
    quadratic = ((outer @ gram) * outer).sum() / 64 - 2 * (outer * cross).sum() / 8
    assert float(quadratic + constant) == pytest.approx(float(loss), rel=1e-12)


def test_the_flow_starts_along_the_gradient_and_ends_at_least_squares(equations):
    gram, cross = equations
    early = gradient_flow(gram, cross, 1e-9)
    np.testing.assert_allclose(early / 1e-9, 2 * cross, rtol=1e-6, atol=1e-12)
    gram = gram + 0.1 * torch.eye(gram.shape[-1], dtype=torch.float64)
    late = gradient_flow(gram, cross, math.inf)
    np.testing.assert_allclose(late @ gram / gram.shape[-1], cross, atol=1e-10)


def test_flat_directions_stay_where_they_are():
    gram = torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64))
    cross = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    np.testing.assert_allclose(gradient_flow(gram, cross, math.inf), [[3.0, 0.0]])


def test_the_flow_refuses_what_makes_no_sense(equations):
    gram, cross = equations
    for time in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="flow time"):
            gradient_flow(gram, cross, time)
    with pytest.raises(ValueError, match="finite"):
        gradient_flow(gram, cross * math.nan, 1.0)


# --- the linear score: everything in closed form ---------------------------------------------


def chain_moments(mean, variance, times):
    """Moments of the discretised reverse equation with the score of N(mean, variance)."""
    centre, spread = np.zeros_like(mean), np.ones_like(variance)
    for t, after in pairwise(times):
        h = t - after
        slope = 2 * math.sinh(h) / (1 + (variance - 1) * math.exp(-2 * t))
        centre = (math.exp(h) - slope) * centre + slope * math.exp(-t) * mean
        spread = (math.exp(h) - slope) ** 2 * spread - math.expm1(-2 * h)
    return centre, spread


def test_the_chain_is_exact_for_standard_normal_data():
    for steps in (1, 7):
        centre, spread = chain_moments(np.zeros(()), np.ones(()), np.geomspace(2, 0.05, steps + 1))
        assert (centre, spread) == (0, pytest.approx(1, abs=1e-14))


@pytest.mark.parametrize(("mean", "variance"), [(0.7, 0.4), (-1.0, 1.0), (0.2, 2.5)])
def test_the_chain_tends_to_the_reverse_equation(mean, variance):
    exact = diffusion_output(mean, variance, 2.0, 0.05)
    errors = []
    for steps in (100, 200, 400):
        found = chain_moments(np.array(mean), np.array(variance), np.geomspace(2, 0.05, steps + 1))
        errors.append([abs(a - b) for a, b in zip(found, exact, strict=True)])
    errors = np.array(errors)
    assert errors[-1].max() < 0.01
    # First order: halving the step halves the error (where it is not negligible already).
    ratio = errors[1:] / errors[:-1]
    assert np.all((np.abs(ratio - 0.5) < 0.05) | (errors[:-1] < 1e-4))


def test_a_loop_with_a_linear_score_follows_the_closed_form():
    """Three z-tests at LEVEL, on the mean of the training set of rounds 1 to 3."""
    mean, variance, horizon, cutoff, steps = 0.5, 0.49, 2.0, 0.05, 400
    truth = NormalMixture([1.0], [mean], [0.7])
    learner = Diffusion(truth, LinearScore(), horizon=horizon, cutoff=cutoff, steps=steps)
    frame = run(learner, balanced(), 100, 3, 500, stream(1, "loop"))
    means, _ = diffusion_loop(balanced(), 3, horizon, cutoff, mean, variance)
    laws = np.array([mean, *means])
    for t in (1, 2, 3):
        seen = frame.loc[frame["round"] == t, "mean"]
        trained_on = laws[:t].mean()  # the truth and the generations before, in equal parts
        z = (seen.mean() - trained_on) / (seen.std() / math.sqrt(len(seen)))
        assert abs(z) < norm.isf(LEVEL / 2)
    # The check can fail: the last z, had the loop not lost anything to the cutoff.
    assert abs(seen.mean() - mean) / (seen.std() / math.sqrt(len(seen))) > norm.isf(LEVEL / 2)


def test_samples_have_the_law_of_the_chain():
    """Two tests at LEVEL: normal means, chi-square variances, over all repetitions."""
    truth = NormalMixture([1.0], [0.5], [0.7])
    learner = Diffusion(truth, LinearScore(), horizon=2.0, cutoff=0.05, steps=20)
    n, repetitions = 50, 2000
    frame = run(learner, full_synthetic(), n, 2, repetitions, stream(1, "law"))
    first, second = (frame[frame["round"] == t] for t in (1, 2))
    centre, spread = chain_moments(
        first["mean"].to_numpy(), first["variance"].to_numpy(), learner.times
    )
    z = (second["mean"].to_numpy() - centre) / np.sqrt(spread / n)
    assert kstest(z, norm.cdf).pvalue > LEVEL
    ratio = n * second["variance"].to_numpy() / spread
    assert kstest(ratio, chi2(n - 1).cdf).pvalue > LEVEL
    # And the check can fail: without the noise that the cutoff leaves in, it does.
    assert kstest(ratio * spread / (spread - 0.05), chi2(n - 1).cdf).pvalue < LEVEL


def test_the_flow_sampler_transports_the_start_exactly():
    """Its map is linear here: S_t0/S_T to the power 1/2 in second order of the step."""
    learner = {
        steps: Diffusion(
            NormalMixture.standard(),
            LinearScore(),
            horizon=2.0,
            cutoff=0.05,
            steps=steps,
            sampler="flow",
        )
        for steps in (50, 100)
    }
    points = torch.tensor([[[0.1], [0.9], [1.6], [-0.6]]], dtype=torch.float64)
    mean, variance = 0.5, float(points.var(correction=0))
    start, end = (1 + (variance - 1) * math.exp(-2 * t) for t in (2.0, 0.05))
    errors = []
    for steps, model in learner.items():
        fitted = model.fit(points, None, first_round(0))
        x = torch.linspace(-2, 2, 5, dtype=torch.float64)[None, :, None]
        z = x
        for t, after in pairwise(model.times):
            z = model._flow_step(fitted, z, t, after)
        exact = math.exp(-0.05) * mean + math.sqrt(end / start) * (x - math.exp(-2.0) * mean)
        errors.append(float((z - exact).abs().max()))
        assert errors[-1] < 20 / steps**2
    assert errors[1] < errors[0] / 3.5


def test_the_linear_score_knows_the_axes_of_the_data():
    points = torch.from_numpy(stream(1, "axes").standard_normal((2, 40, 3)) @ np.diag([2, 1, 0.3]))
    family = LinearScore()
    x = torch.from_numpy(stream(1, "x").standard_normal((2, 5, 3)))
    t = 0.4
    found = family(family.fit(points, SPAN, seeded()), x, t)
    for r in range(2):
        mean, cov = points[r].mean(dim=0), np.cov(points[r].numpy().T, ddof=0)
        at_t = math.exp(-2 * t) * cov + (1 - math.exp(-2 * t)) * np.eye(3)
        expected = -np.linalg.solve(at_t, (x[r] - math.exp(-t) * mean).numpy().T).T
        np.testing.assert_allclose(found[r], expected, atol=1e-12)


# --- the density of what is sampled ----------------------------------------------------------


def test_density_of_the_linear_model_is_normal():
    learner = Diffusion(NormalMixture.standard(), LinearScore(), steps=30)
    points = torch.from_numpy(stream(1, "normal").normal(0.3, 0.8, (3, 40, 1)))
    model = learner.fit(points, None, first_round(0))
    grid = np.linspace(-7, 7, 141)
    centre, spread = chain_moments(model.mean, model.variance, learner.times)
    expected = norm.pdf(grid, centre[:, None], np.sqrt(spread)[:, None])
    np.testing.assert_allclose(learner.density(model, grid), expected, atol=1e-6)


def test_density_of_random_features_is_that_of_the_samples():
    """A chi-square test of 200,000 points on 40 cells at LEVEL."""
    truth = NormalMixture([0.5, 0.5], [-1.0, 1.0], [0.4, 0.4])
    learner = Diffusion(truth, random_features(width=48), steps=30)
    sample = learner.sample([truth], np.ones(1), np.array([300]), stream(1, "data"))
    model = learner.fit(sample, None, first_round(0))
    drawn = learner.generate(model, 200_000, stream(1, "drawn"))[0, :, 0]
    grid = np.linspace(-7, 7, 4001)
    cdf = np.cumsum(learner.density(model, grid)[0]) * (grid[1] - grid[0])
    assert cdf[-1] == pytest.approx(1, abs=1e-3)
    edges = np.interp(np.linspace(0, 1, 41)[1:-1], cdf / cdf[-1], grid + (grid[1] - grid[0]) / 2)
    observed = np.bincount(np.searchsorted(edges, drawn), minlength=40)
    statistic = ((observed - 5000) ** 2 / 5000).sum()
    assert chi2.sf(statistic, 39) > LEVEL
    shifted = np.bincount(np.searchsorted(edges, drawn + 0.02), minlength=40)
    assert chi2.sf(((shifted - 5000) ** 2 / 5000).sum(), 39) < LEVEL


def test_density_is_for_the_line_and_the_reverse_equation():
    truth = NormalMixture.standard(2)
    learner = Diffusion(truth, LinearScore())
    model = learner.fit(torch.zeros(1, 4, 2, dtype=torch.float64), None, first_round(0))
    with pytest.raises(ValueError, match="on the line"):
        learner.density(model, np.linspace(-1, 1, 5))


# --- the loop's protocol ------------------------------------------------------------------


def test_protocol():
    learner = Diffusion(NormalMixture.standard(), LinearScore())
    assert isinstance(learner, Learner)
    assert isinstance(learner, PoolsSamples)
    assert isinstance(learner, ReusesSamples)


@pytest.mark.parametrize(
    "cycle", [full_synthetic(), balanced(), fixed_real(0.5), fresh_mixture(0.3).accumulated()]
)
@pytest.mark.parametrize("sampler", ["sde", "flow"])
def test_every_cycle_runs_and_the_seed_decides(cycle, sampler):
    truth = NormalMixture.standard(2)
    learner = Diffusion(truth, random_features(2, 8), steps=4, sampler=sampler)
    first, again = (run(learner, cycle, 12, 3, 2, stream(1, "loop")) for _ in range(2))
    assert first.equals(again)
    assert np.isfinite(first.to_numpy(dtype=float)).all()
    other = run(learner, cycle, 12, 3, 2, stream(2, "loop"))
    assert not first.equals(other)


def test_a_mixture_has_the_counts_it_should():
    # Three "models" that always give their own number: the parts can be counted.
    class Constant:
        dimension = 1

        def __init__(self, value):
            self.value = value

        def sample(self, rng, size):
            return np.full(size, self.value)

    learner = Diffusion(Constant(0.0), LinearScore())
    learner._draw = lambda law, count, repetitions, rng: torch.full(
        (repetitions, count, 1), law.value, dtype=torch.float64
    )
    laws = [Constant(float(k)) for k in range(3)]
    weights = np.array([0.2, 0.0, 0.8])
    sample = learner.sample(laws, weights, np.full(4000, 5), stream(1, "counts"))
    values = sample[..., 0].numpy()
    assert set(np.unique(values)) == {0.0, 2.0}
    counts = (values == 2).sum(axis=1)
    observed = np.bincount(counts, minlength=6)
    expected = 4000 * np.array([math.comb(5, k) * 0.8**k * 0.2 ** (5 - k) for k in range(6)])
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), 5) > LEVEL


def test_weights_may_differ_between_repetitions():
    truth = NormalMixture.standard()
    learner = Diffusion(truth, LinearScore())
    far = learner.fit(torch.full((2, 3, 1), 50.0, dtype=torch.float64), None, first_round(0))
    weights = np.array([[1.0, 0.0], [0.0, 1.0]])
    sample = learner.sample([truth, far], weights, np.full(2, 40), stream(1, "rows"))
    values = sample[..., 0].numpy()
    assert np.all(np.abs(values[0]) < 10)
    assert np.all(values[1] > 10)


def test_a_part_of_a_sample_has_no_point_twice():
    learner = Diffusion(NormalMixture.standard(), LinearScore())
    values = torch.arange(20, dtype=torch.float64).reshape(2, 10, 1)
    part = learner.subset(values, 7, stream(1, "part"))
    for r in range(2):
        assert len(set(part[r, :, 0].tolist())) == 7
        assert set(part[r, :, 0].tolist()) <= set(values[r, :, 0].tolist())
    for size in (0, 11):
        with pytest.raises(ValueError, match="cannot take"):
            learner.subset(values, size, stream(1, "part"))


def test_repetitions_do_not_depend_on_each_other():
    family = random_features(1, 16, repetitions=2)
    points = torch.from_numpy(stream(1, "x").standard_normal((2, 30, 1)))
    changed = points.clone()
    changed[1] += 1
    learner = Diffusion(NormalMixture.standard(), family)
    (one, _), (other, _) = (learner.fit(p, None, first_round(5)).score for p in (points, changed))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


def test_blocks_of_points_do_not_change_a_score(monkeypatch):
    family = random_features(1, 16)
    learner = Diffusion(NormalMixture.standard(), family)
    points = torch.from_numpy(stream(1, "x").standard_normal((2, 30, 1)))
    model = learner.fit(points, None, first_round(5))
    x = torch.from_numpy(stream(1, "z").standard_normal((2, 30, 1)))
    whole = family(model.score, x, 0.1)
    monkeypatch.setattr("stlcore.learners.diffusion.scores.BLOCK", 64)
    np.testing.assert_allclose(family(model.score, x, 0.1), whole, atol=1e-13)


# --- networks trained by Adam ---------------------------------------------------------------


def test_a_network_learns_the_score_of_a_normal_law():
    network = Network((32,), steps=400, batch=256)
    points = torch.from_numpy(stream(1, "net").normal(0, 0.5, (2, 400, 1)))
    learner = Diffusion(NormalMixture.standard(), network, cutoff=0.05)
    model = learner.fit(points, None, first_round(1))
    linear = LinearScore()
    best = linear.fit(points, SPAN, seeded())
    x = torch.linspace(-1, 1, 21, dtype=torch.float64).expand(2, -1)[..., None]
    for t in (0.1, 0.5, 2.0):
        gap = (network(model.score, x, t) - linear(best, x, t)).square().mean()
        assert gap < 0.1 * linear(best, x, t).square().mean()
    assert torch.equal(
        learner.fit(points, None, first_round(1)).score[0][0][0], model.score[0][0][0]
    )


def test_repetitions_of_a_network_do_not_meet():
    network = Network((8, 8), steps=5)
    points = torch.from_numpy(stream(1, "net").standard_normal((2, 40, 2)))
    changed = points.clone()
    changed[1] += 1
    one, other = (network.fit(p, SPAN, seeded(3))[0] for p in (points, changed))
    for (w, b), (v, c) in zip(one, other, strict=True):
        np.testing.assert_allclose(w[0], v[0], atol=1e-6)
        np.testing.assert_allclose(b[0], c[0], atol=1e-6)
    assert not np.allclose(one[0][0][1], other[0][0][1])


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cutoff": 0.0}, "the times must obey"),
        ({"cutoff": 3.0, "horizon": 2.0}, "the times must obey"),
        ({"horizon": math.nan}, "the times must obey"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"sampler": "ancestral"}, "the sampler must be"),
        ({"device": "tpu"}, "the device must be"),
    ],
)
def test_bad_settings_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Diffusion(NormalMixture.standard(), LinearScore(), **settings)


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="a GPU is asked for"):
        Diffusion(NormalMixture.standard(), LinearScore(), device="cuda")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"flow_time": 0.0}, "flow time"),
        ({"flow_time": math.nan}, "flow time"),
        ({"scale": -1.0}, "scale"),
        ({"width": 0}, "width"),
        ({"noises": 0}, "noises"),
        ({"repetitions": 0}, "repetitions"),
    ],
)
def test_bad_features_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        random_features(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden": ()}, "at least one hidden layer"),
        ({"hidden": (0,)}, "units"),
        ({"steps": 0}, "steps"),
        ({"rate": 0.0}, "learning rate"),
        ({"batch": 0}, "batch"),
    ],
)
def test_bad_networks_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Network(**({"hidden": (4,), "steps": 3} | settings))


@pytest.mark.parametrize(
    ("weights", "size", "sentence"),
    [
        ([0.5], [4], "sum to 1"),
        ([-1.0], [4], "sum to 1"),
        ([1.0], [0], "the same number of points"),
        ([1.0], [4, 5], "the same number of points"),
        ([1.0], [], "the same number of points"),
    ],
)
def test_bad_mixtures_are_named(weights, size, sentence):
    learner = Diffusion(NormalMixture.standard(), LinearScore())
    with pytest.raises(ValueError, match=sentence):
        learner.sample([learner.truth], np.array(weights), np.array(size), stream(1, "x"))


def test_bad_data_are_named():
    with pytest.raises(ValueError, match="NaN"):
        EmpiricalLaw([[1.0], [math.nan]])
    for empty in (np.zeros((0, 2)), np.zeros(3)):
        with pytest.raises(ValueError, match="at least one point"):
            EmpiricalLaw(empty)

    class Broken(NormalMixture):
        def sample(self, rng, size):
            return np.full(size, np.nan)

    learner = Diffusion(Broken([1.0], [0.0], [1.0]), LinearScore())
    with pytest.raises(ValueError, match="NaN"):
        learner.sample([learner.truth], np.ones(1), np.array([3]), stream(1, "x"))


def test_a_data_set_as_truth_gives_its_own_points():
    law = EmpiricalLaw([[1.0, 2.0], [3.0, 4.0]])
    drawn = law.sample(stream(1, "x"), (50, 20))
    assert drawn.shape == (50, 20, 2)
    assert {tuple(p) for p in drawn.reshape(-1, 2)} == {(1.0, 2.0), (3.0, 4.0)}


def test_a_score_that_runs_away_stops_the_loop():
    class Explosive(LinearScore):
        def __call__(self, fitted, x, t):
            return x**3 * 1e30

    learner = Diffusion(NormalMixture.standard(), Explosive())
    with pytest.raises(Diverged, match="round 2"):
        run(learner, full_synthetic(), 5, 2, 1, stream(1, "x"))
    model = learner.fit(torch.zeros(1, 3, 1), None, Round(1, stream(1)))
    with pytest.raises(Diverged, match="range of finite numbers"):
        learner.generate(model, 3, stream(1))


def test_one_loop_that_runs_away_is_missing_and_the_others_go_on():
    class FirstExplodes(LinearScore):
        def __call__(self, fitted, x, t):
            gone = torch.arange(len(x))[:, None, None] == 0
            return torch.where(gone, x**3 * 1e30, super().__call__(fitted, x, t))

    plain, broken = (
        run(
            Diffusion(NormalMixture.standard(), score),
            full_synthetic().accumulated(),
            5,
            4,
            3,
            stream(1, "x"),
        )
        for score in (LinearScore(), FirstExplodes())
    )
    lost = (broken["repetition"] == 1) & (broken["round"] > 1)
    assert broken.loc[lost, ["mean", "variance"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(broken[~lost], plain[~lost])
