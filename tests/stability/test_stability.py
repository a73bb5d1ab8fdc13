"""Recursive stability, response operators and the criterion, on learners solved exactly."""

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import norm
from scipy.stats import t as student_t

from stlcore.cycles import balanced, fixed_real, fresh_mixture
from stlcore.learners.categorical import Categorical
from stlcore.learners.gaussian import Gaussian, GaussianMean, Normal
from stlcore.learners.in_context.network import Architecture, Transformer
from stlcore.learners.logistic import Classifier
from stlcore.schedules import Share
from stlcore.stability.implicit import (
    SmoothLoop,
    finite_differences,
    implicit_differences,
    leave_one_out,
)
from stlcore.stability.matrix_free import (
    conjugate_gradients,
    implicit_by_products,
    settled_trajectory,
)
from stlcore.stability.replaced_example import plan_of, recursive_stability, summary
from stlcore.stability.response import (
    from_vector,
    jackknife_score,
    learner_response,
    response_radius,
    to_vector,
)
from stlcore.stability.smooth_loops import (
    logistic_loop,
    network_loop,
    ridge_loop,
    transformer_loop,
)
from stlcore.streams import stream


class LinearMean:
    """The mean of normal points, multiplied by a matrix: its response operator is that matrix."""

    def __init__(self, matrix):
        self.matrix = np.array(matrix, dtype=float)
        self.truth = np.zeros((1, len(self.matrix)))

    def sample(self, models, weights, size, rng):
        shape = (len(size), size[0], len(self.matrix))
        mean = sum(w * np.broadcast_to(m, shape[::2]) for m, w in zip(models, weights, strict=True))
        return mean[:, None] + rng.standard_normal(shape)

    def fit(self, sample, previous):
        return sample.mean(axis=1) @ self.matrix.T

    def pool(self, first, second):
        return np.concatenate([first, second], axis=1)

    def subset(self, sample, size, rng):
        return sample[:, rng.permutation(sample.shape[1])[:size]]

    def track(self, model):
        return {"size": np.linalg.norm(model, axis=1)}


class Pairs(NamedTuple):
    x: np.ndarray
    y: np.ndarray


class LinearAttention:
    """One linear attention layer in context: weights rho/n sum x y."""

    def __init__(self, rho, dimension):
        self.rho, self.truth = rho, np.ones((1, dimension)) / np.sqrt(dimension)

    def sample(self, models, weights, size, rng):
        (model,) = models
        x = rng.standard_normal((len(size), size[0], self.truth.shape[1]))
        return Pairs(x, np.einsum("rnd,rd->rn", x, np.broadcast_to(model, x[:, 0].shape)))

    def fit(self, sample, previous):
        return self.rho * np.einsum("rnd,rn->rd", sample.x, sample.y) / sample.y.shape[1]

    def track(self, model):
        return {}


def gain(alpha, i):
    return (1 - (1 - alpha) ** (i + 1)) / alpha if alpha else np.ones_like(i, dtype=float)


# --- Models as vectors -----------------------------------------------------------------------


def test_a_model_is_a_vector_and_back():
    model = Normal(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    vector = to_vector(model)
    assert vector.tolist() == [[1, 3], [2, 4]]
    back = from_vector(vector + 1, model)
    assert isinstance(back, Normal)
    assert back.mean.tolist() == [2, 3]
    array = np.arange(12.0).reshape(2, 2, 3)
    assert (from_vector(to_vector(array), array[:1]) == array).all()


def test_fields_that_are_no_numbers_stay_as_they_are():
    model = Classifier(np.ones((1, 3)), np.array([False]), np.array([True]))
    back = from_vector(np.zeros((4, 3)), model)
    assert back.coefficients.shape == (4, 3)
    assert back.converged.tolist() == [True] * 4


def test_a_model_without_numbers_is_refused():
    with pytest.raises(TypeError, match="no array of floats in a tuple"):
        to_vector((np.array([1, 2]), "text"))


def test_a_learner_may_say_itself_what_its_parameters_are():
    class Own:
        def to_vector(self, model):
            return model["w"]

        def from_vector(self, vector, template):
            return {**template, "w": vector}

    model = {"w": np.ones((2, 3)), "name": "x"}
    assert (to_vector(model, Own()) == 1).all()
    assert from_vector(np.zeros((1, 3)), model, Own())["name"] == "x"


# --- The response operator -------------------------------------------------------------------

MATRICES = {
    "shrinkage": ([[0.8]], 0.8),
    "mean": (np.eye(2), 1.0),
    "amplifier": ([[1.25, 0.5], [0, 0.3]], 1.25),
    "rotation": ([[0.0, -1.1], [1.1, 0.0]], 1.1),  # complex eigenvalues
}


@pytest.mark.parametrize(("matrix", "radius"), MATRICES.values(), ids=MATRICES)
def test_radius_of_a_linear_response_is_exact(matrix, radius):
    learner = LinearMean(matrix)
    respond, at = learner_response(learner, learner.truth, 5, 20)
    found = response_radius(respond, at, stream(1, "radius"))
    assert found.radius == pytest.approx(radius, abs=1e-12)
    assert found.error < 1e-10
    assert found.operator == pytest.approx(np.array(matrix), abs=1e-12)
    assert found.critical_share == pytest.approx(max(0, 1 - 1 / radius), abs=1e-12)


def test_response_of_the_normal_learner():
    respond, at = learner_response(Gaussian(0, 1), Normal(np.zeros(1), np.ones(1)), 20, 4000)
    found = response_radius(respond, at, stream(1, "normal"))
    # The fitted mean moves with the mean; the variance (divisor n) by (n - 1)/n of its change.
    assert found.operator[:, 0] == pytest.approx([1, 0], abs=1e-12)
    # Mean of 4000 chi-squares over their degrees: 6 standard errors, false alarm 2e-9.
    assert found.operator[1, 1] == pytest.approx(0.95, abs=6 * np.sqrt(2 * 19 / 400 / 4000))


def test_the_error_of_a_noisy_radius_covers_the_truth():
    rho, learner = 0.9, LinearAttention(0.9, 3)
    respond, at = learner_response(learner, learner.truth, 40, 200)
    runs = [response_radius(respond, at, stream(seed, "attention")) for seed in range(40)]
    inside = sum(abs(found.radius - rho) <= found.error for found in runs)
    # K = rho I has one eigenvalue three times, the worst case; seeds are fixed.
    assert inside >= 34
    assert np.mean([found.error for found in runs]) < 0.1


def test_a_score_of_a_jackknife_has_the_tail_of_students_t():
    for gap in (-4.0, 0.0, 1.0, 12.0):
        assert np.isclose(norm.sf(jackknife_score(gap, 2.0)), student_t.sf(gap / 2, 19))
    assert jackknife_score(1.0, 1e-300) > 37  # an error of nothing is no accident


def test_the_step_error_covers_a_curved_response():
    def respond(parameters, rng):
        return np.repeat(np.sinh(1.5 * parameters)[None], 20, axis=0)

    found = response_radius(respond, np.zeros(1), stream(1, "curved"), step=0.2)
    assert 0 < found.radius - 1.5 <= found.step_error


def test_the_same_numbers_on_both_sides():
    """Without shared randomness the noise, 1/step, would swamp the answer."""
    learner = LinearMean([[0.5]])
    respond, at = learner_response(learner, learner.truth, 2, 20)
    found = response_radius(respond, at, stream(1, "shared"), step=1e-6)
    assert found.radius == pytest.approx(0.5, abs=1e-8)


def test_bad_responses_are_refused():
    def constant(parameters, rng):
        return np.zeros((20, 2))

    rng = stream(1, "bad")
    with pytest.raises(ValueError, match="the step must be positive"):
        response_radius(constant, np.zeros(2), rng, step=0)
    with pytest.raises(ValueError, match="must be a vector"):
        response_radius(constant, np.zeros((1, 2)), rng)
    with pytest.raises(ValueError, match=r"shape \(repetitions, 3\)"):
        response_radius(constant, np.zeros(3), rng)
    with pytest.raises(ValueError, match="at least 20 repetitions, not 5"):
        response_radius(lambda p, r: np.zeros((5, 2)), np.zeros(2), rng)
    with pytest.raises(ValueError, match="not finite"):
        response_radius(lambda p, r: np.full((20, 2), np.nan), np.zeros(2), rng)
    with pytest.raises(ValueError, match="at one model, not at 3"):
        learner_response(LinearMean([[1]]), np.zeros((3, 1)), 5, 20)


# --- The loop with one example changed -------------------------------------------------------


@pytest.mark.parametrize("alpha", [0, 0.1, 0.3, 0.5, 1])
def test_a_gain_of_one_gives_the_formula_in_every_repetition(alpha):
    frame = recursive_stability(LinearMean([[1]]), fixed_real(alpha), 50, 12, 8, stream(1, "g"))
    gamma = frame.pivot(index="generation", columns="repetition", values="gamma").to_numpy()
    expected = gain(alpha, np.arange(13))[:, None] * gamma[0]
    assert gamma == pytest.approx(expected, rel=1e-9)


def test_the_normal_mean_obeys_the_formula_too():
    frame = recursive_stability(GaussianMean(0, 1), fixed_real(0.3), 50, 12, 8, stream(1, "g"))
    gamma = frame.pivot(index="generation", columns="repetition", values="gamma").to_numpy()
    assert gamma == pytest.approx(gain(0.3, np.arange(13))[:, None] * gamma[0], rel=1e-9)


def growth(learner):
    """Growth of gamma over ten mixings at a real share of 0.3, with its standard error."""
    frame = recursive_stability(learner, fixed_real(0.3), 200, 10, 4000, stream(1, "growth"))
    gamma = frame.pivot(index="repetition", columns="generation", values="gamma")
    ratio = gamma[10].mean() / gamma[0].mean()
    error = (gamma[10] - ratio * gamma[0]).sem() / gamma[0].mean()
    return ratio, error, frame["coupling"].unique().tolist()


def test_counts_obey_the_formula_where_their_draws_are_coupled():
    """Two classes: a common uniform changes sides with the probability that the law moved by."""
    ratio, error, coupling = growth(Categorical([0.5, 0.5]))
    assert coupling == ["common uniforms"]
    expected = gain(0.3, 10)  # 3.27
    assert abs(ratio - expected) < 6 * error  # false alarm 2e-9
    assert error < 0.1

    class Copies:
        """The same, drawn by copies of one generator: binomial draws accept and reject."""

        truth = np.array([0.5, 0.5])
        sample, fit, track = Categorical.sample, Categorical.fit, Categorical.track
        pool = Categorical.pool

    ratio, error, coupling = growth(Copies())
    assert coupling == ["copies of one generator"]
    assert ratio - 6 * error > 2 * expected


def test_an_amplifier_forgets_nothing_below_its_critical_share():
    """Gain 1.25: the critical share is 0.2, and gamma obeys gamma' = c + (1-alpha) 1.25 gamma."""
    for alpha, grows in ((0.1, True), (0.3, False)):
        run = recursive_stability(LinearMean([[1.25]]), fixed_real(alpha), 100, 40, 2, stream(1, 2))
        mean = summary(run)["mean"].to_numpy()
        factor = 1.25 * (1 - alpha)
        expected = mean[0] * (1 - factor ** np.arange(1, 42)) / (1 - factor)
        assert mean == pytest.approx(expected, rel=1e-9)
        assert (mean[40] > 10 * mean[10]) == grows


def test_the_share_is_rounded_to_whole_points():
    assert plan_of(fixed_real(0.25), 10).again == 2  # 2.5: ties to even
    assert plan_of(fixed_real(0.26), 10).again == 3
    assert plan_of(fixed_real(0.01), 10) == (0, 10, 0.0)
    assert plan_of(fresh_mixture(0.3), 10) == (0, 10, 0.3)


def test_stability_refuses_what_it_cannot_measure():
    learner, rng = GaussianMean(0, 1), stream(1, "bad")
    with pytest.raises(TypeError, match="cannot pool"):
        recursive_stability(LinearAttention(1, 2), fixed_real(0.1), 10, 2, 2, rng)
    with pytest.raises(ValueError, match="cycles of one generation"):
        recursive_stability(learner, balanced(), 10, 2, 2, rng)
    with pytest.raises(ValueError, match="without a filter"):
        recursive_stability(learner, fresh_mixture(0.1).filtered(0.1, 0.1), 10, 2, 2, rng)
    with pytest.raises(ValueError, match="constant share"):
        recursive_stability(learner, fixed_real(Share.power(0.5)), 10, 2, 2, rng)
    with pytest.raises(ValueError, match="at least 2 repetitions"):
        recursive_stability(learner, fixed_real(0.1), 10, 2, 1, rng)
    with pytest.raises(ValueError, match="generations must be a whole number"):
        recursive_stability(learner, fixed_real(0.1), 10, 0, 2, rng)


def test_another_distance():
    def of_means(one, two):
        return np.abs(one.mean - two.mean)

    args = (fixed_real(0.2), 20, 3, 5)
    own = recursive_stability(Gaussian(0, 1), *args, stream(1, "d"), of_means)
    plain = recursive_stability(Gaussian(0, 1), *args, stream(1, "d"))
    assert (own["gamma"] < plain["gamma"]).all()


# --- Leave-one-out, three ways ---------------------------------------------------------------


def mean_loss(theta, x):
    return (x - theta[0]) ** 2 / 2


def ridge(n=30):
    return ridge_loop(n, 2, 0.3, 3, stream(5, "ridge", n))


def logistic(n, generations=5):
    return logistic_loop(n, 3, 0.3, generations, stream(5, "logistic", n))


def ridge_by_hand(loop, left_out=None):
    """The loop with normal equations."""
    (x, y), n = loop.real, len(loop.real[0])
    keep = np.array([j != left_out for j in range(n)])

    def solve(a, b):
        return np.linalg.solve(a.T @ a + loop.penalty * n * np.eye(a.shape[1]), a.T @ b)

    found = [solve(x[keep], y[keep])]
    part = keep & (np.arange(n) < loop.again)
    for fresh, noise in zip(*loop.noise, strict=True):
        labels = fresh @ found[-1] + 0.5 * noise
        found.append(solve(np.r_[x[part], fresh], np.r_[y[part], labels]))
    return np.array(found)


def test_retraining_is_what_it_says():
    loop, examples = ridge(), [0, 4, 20]
    whole = ridge_by_hand(loop)
    assert loop.trajectory() == pytest.approx(whole, abs=1e-9)
    by_hand = np.stack([ridge_by_hand(loop, j) - whole for j in examples], axis=1)
    assert leave_one_out(loop, examples) == pytest.approx(by_hand, abs=1e-8)


@pytest.mark.parametrize("loop", [ridge(), logistic(60)], ids=["ridge", "logistic"])
def test_implicit_is_the_derivative(loop):
    examples = [0, 7, 25]
    implicit = implicit_differences(loop, examples)
    assert finite_differences(loop, examples, 1e-4) == pytest.approx(implicit, rel=1e-4, abs=1e-9)


def test_a_mean_has_a_derivative_by_hand():
    rng = stream(5, "mean")
    x, noise = rng.standard_normal(10), rng.standard_normal((4, 6))
    loop = SmoothLoop(mean_loss, lambda t, e: (t[0] + e,), (x,), 4, (noise,), np.zeros(1))
    trajectory = loop.trajectory()[:, 0]
    found = implicit_differences(loop, [2, 8])[..., 0]
    for column, j in enumerate((2, 8)):
        expected = [(trajectory[0] - x[j]) / 10]
        for theta in trajectory[1:]:
            push = (theta - x[j]) / 10 if j < 4 else 0.0
            expected.append(push + 0.6 * expected[-1])
        assert found[:, column] == pytest.approx(np.array(expected), abs=1e-12)


def test_implicit_is_second_order_and_too_small():
    errors = []
    for n in (100, 400):
        loop, examples = logistic(n, 3), np.arange(16)
        exact, implicit = leave_one_out(loop, examples), implicit_differences(loop, examples)
        errors.append(np.linalg.norm(implicit - exact) / np.linalg.norm(exact))
        lengths = [np.linalg.norm(d, axis=-1).ravel() for d in (implicit, exact)]
        assert lengths[0].mean() < lengths[1].mean()
        assert np.corrcoef(*lengths)[0, 1] > 0.98
    assert errors[1] < 0.05
    assert errors[0] / errors[1] > 2.5  # four times the data, about a quarter of the error


def test_a_network_has_its_derivative_too():
    loop, examples = network_loop(60, 2, 0.3, 2, stream(5, "network"), width=2), [0, 5]
    trajectory = loop.trajectory()
    assert trajectory.shape == (3, 8)
    implicit = implicit_differences(loop, examples, trajectory)
    finite = finite_differences(loop, examples, 1e-4, trajectory)
    assert finite == pytest.approx(implicit, rel=1e-4, abs=1e-7)


def test_products_give_what_matrices_give():
    loop, examples = logistic(40, 2), [0, 3, 30]
    trajectory = loop.trajectory()
    np.testing.assert_allclose(settled_trajectory(loop), trajectory, atol=1e-8)
    found = implicit_by_products(loop, examples, trajectory)
    expected = implicit_differences(loop, examples, trajectory)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)
    gone = settled_trajectory(loop, 3, 0.0, trajectory) - trajectory
    np.testing.assert_allclose(gone, leave_one_out(loop, [3], trajectory)[:, 0], atol=1e-8)


def test_a_transformer_that_is_trained_has_its_derivative():
    torch.manual_seed(1)
    network = Transformer(Architecture(1, 2, layers=2, width=2))
    loop, predict = transformer_loop(network, 6, 0.34, 1, stream(5, "trained"), penalty=1.0)
    trajectory = settled_trajectory(loop)
    found = implicit_by_products(loop, [0, 5], trajectory)
    dense = implicit_differences(loop, [0, 5], trajectory)
    np.testing.assert_allclose(found, dense, rtol=1e-6, atol=1e-9)
    for column, example in enumerate((0, 5)):
        less, more = (settled_trajectory(loop, example, w, trajectory) for w in (0.99, 1.01))
        finite = (less - more) / 0.02
        assert np.linalg.norm(finite - found[:, column]) < 1e-3 * np.linalg.norm(finite)
    # The parameters are changes of the weights, and no label is predicted from itself.
    x, y = (torch.as_tensor(part[:2]) for part in loop.real)
    start = torch.as_tensor(loop.start)
    at_start = predict(start, x, y)
    memory = network.double().read(x[:, :2], y[:, :2])
    np.testing.assert_allclose(at_start, network.answer(memory, x, causal=True).detach())
    y[:, -1] += 1
    np.testing.assert_allclose(predict(start, x, y), at_start)


def test_conjugate_gradients_solve_and_refuse_a_saddle():
    matrix = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    found = conjugate_gradients(lambda v: v @ matrix, right)
    np.testing.assert_allclose(found @ matrix, right, atol=1e-12)
    with pytest.raises(RuntimeError, match="no positive curvature"):
        conjugate_gradients(lambda v: v * torch.tensor([1.0, -1.0]), right)


@pytest.mark.parametrize("make", [ridge_loop, logistic_loop, network_loop])
def test_smooth_loops_refuse_bad_settings(make):
    with pytest.raises(ValueError, match="a share must lie"):
        make(10, 2, 1.5, 2, stream(5, "bad"))
    with pytest.raises(ValueError, match="number of features must be a whole number"):
        make(10, 0, 0.5, 2, stream(5, "bad"))


def test_bad_smooth_loops_are_refused():
    loop = ridge()
    with pytest.raises(ValueError, match="numbers from 0 to 29"):
        leave_one_out(loop, [30])
    with pytest.raises(ValueError, match="numbers from 0 to 29"):
        implicit_differences(loop, [])
    with pytest.raises(ValueError, match="step must be positive"):
        finite_differences(loop, [0], 0)
    parts = (loop.loss, loop.generate, loop.real)
    with pytest.raises(ValueError, match="cannot use 31 of 30"):
        SmoothLoop(*parts, 31, loop.noise, loop.start)
    with pytest.raises(ValueError, match=r"shape \(generations, 20"):
        SmoothLoop(*parts, 10, loop.noise, loop.start)
    with pytest.raises(ValueError, match="penalty must not be negative"):
        SmoothLoop(*parts, 9, loop.noise, loop.start, -1.0)
    with pytest.raises(ValueError, match="same length"):
        SmoothLoop(*parts[:2], (loop.real[0], loop.real[1][:5]), 9, loop.noise, loop.start)


def test_a_loss_without_a_minimum_is_reported():
    noise = np.zeros((1, 4))
    loop = SmoothLoop(
        lambda t, x: x * t[0], lambda t, e: (1 + e,), (np.ones(5),), 1, (noise,), [0.0]
    )
    with pytest.raises(RuntimeError, match="generation 0 have not come to rest"):
        loop.trajectory()


def test_stability_starts_without_torch_and_knows_no_learner():
    modules = ("response", "replaced_example", "criterion")
    code = (
        f"import sys, {', '.join(f'stlcore.stability.{name}' for name in modules)}; "
        "known = {'base', 'learners'}; "
        "sys.exit('torch' in sys.modules or any(name.startswith('stlcore.learners') and "
        "name.split('.')[-1] not in known for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
