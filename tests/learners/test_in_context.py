"""In-context learning: closed forms, the network's masks, the cache, bad input."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stlcore.cycles import fixed_real, fresh_mixture, full_synthetic  # noqa: E402
from stlcore.learners.base import Diverged  # noqa: E402
from stlcore.learners.in_context import pretraining as pretraining_module  # noqa: E402
from stlcore.learners.in_context.learner import (  # noqa: E402
    Architecture,
    BayesRidge,
    Context,
    InContext,
    LinearAttention,
    Pretraining,
    pretrained,
)
from stlcore.learners.in_context.network import ATTENTION, Transformer  # noqa: E402
from stlcore.learners.in_context.pretraining import draw_tasks, pretrain  # noqa: E402
from stlcore.loop import run  # noqa: E402
from stlcore.pages.figures import as_array  # noqa: E402
from stlcore.streams import stream  # noqa: E402
from stlcore.theory.linear_attention import linear_attention_moments  # noqa: E402

SEED = 20260251
D, N, NOISE = 3, 12, 0.5
BOTH = pytest.mark.parametrize("attention", ["softmax", "linear"])


def learner_of(predictor, repetitions=8, queries=6, unit=False):
    rng = stream(SEED, "tasks")
    tasks = rng.standard_normal((repetitions, D)) / np.sqrt(D)
    if unit:
        tasks /= np.linalg.norm(tasks, axis=1, keepdims=True)
    return InContext(predictor, tasks, NOISE, rng.standard_normal((repetitions, queries, D)))


def new_network(attention="softmax", layers=3, **kwargs):
    torch.manual_seed(SEED)
    shape = Architecture(D, N, attention, layers=layers, heads=2, width=8, **kwargs)
    return Transformer(shape).double().requires_grad_(False)


def contexts(repetitions=4, length=N):
    generator = torch.Generator().manual_seed(SEED)
    x, y = draw_tasks(repetitions, length, D, NOISE, generator)
    return x.double(), y.double()


# --- references -----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_linear_attention_has_its_exact_risk(share):
    # 0.3 of 12 is 3.6 and becomes 4. Six means of 4000 at 5 standard errors: false alarm 1e-5.
    learner = learner_of(LinearAttention(0.9), repetitions=4000, unit=True)
    frame = run(learner, fixed_real(share), N, 6, 4000, stream(SEED, "moments"))
    errors = as_array(frame, "squared_error")
    spread = errors.std(axis=1) / np.sqrt(4000)
    exact, wrong = (
        linear_attention_moments(gain, share, N, D, NOISE, 5, fixed=True).risk
        for gain in (0.9, 0.95)
    )
    assert (np.abs(errors.mean(axis=1) - exact) < 5 * spread).all()
    assert not (np.abs(errors.mean(axis=1) - wrong) < 5 * spread).all()


def test_bayes_ridge_matches_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    x, y = contexts()
    weights = BayesRidge(NOISE).read(x, y)
    for mine, inputs, labels in zip(weights, x, y, strict=True):
        peer = sklearn.Ridge(alpha=D * NOISE**2, fit_intercept=False).fit(inputs, labels)
        np.testing.assert_allclose(mine, peer.coef_, atol=1e-10)
    query = torch.randn(4, 5, D, dtype=torch.float64)
    answer = BayesRidge(NOISE).predict(x, y, query)
    np.testing.assert_allclose(answer, (query * weights[:, None]).sum(-1), atol=1e-12)


# --- the network ----------------------------------------------------------------------


@BOTH
def test_a_causal_answer_has_read_the_pairs_before_it_and_nothing_else(attention):
    network = new_network(attention)
    x, y = contexts()
    query = torch.cat([x, torch.ones(4, 1, D, dtype=torch.float64)], dim=1)
    at_once = network.answer(network.read(x, y), query, causal=True)
    for j in range(N + 1):
        alone = network.predict(x[:, :j], y[:, :j], query[:, j : j + 1])
        np.testing.assert_allclose(at_once[:, j], alone[:, 0], atol=1e-12)


@BOTH
def test_attention_is_the_textbook_formula(attention):
    generator = torch.Generator().manual_seed(SEED)
    query, key, value = (torch.randn(5, 4, generator=generator) for _ in range(3))
    found = ATTENTION[attention](query, key, value, True)
    for j in range(5):
        weights = (query[j] @ key[: j + 1].T).numpy() / np.sqrt(4)
        if attention == "softmax":
            weights = np.exp(weights) / np.exp(weights).sum()
        else:
            weights = weights / (j + 1)
        np.testing.assert_allclose(found[j], weights @ value[: j + 1].numpy(), atol=1e-6)


def test_order_matters_from_two_layers_on():
    x, y = contexts()
    query, back = x[:, :2], torch.arange(N - 1, -1, -1)
    for layers in (1, 2):
        network = new_network(layers=layers)
        gap = network.predict(x, y, query) - network.predict(x[:, back], y[:, back], query)
        assert (gap.abs().max() < 1e-12) == (layers == 1)


@BOTH
def test_forward_mode_agrees_with_finite_differences(attention):
    network = new_network(attention)
    x, y = contexts()
    direction = torch.ones_like(y)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _, slope = torch.func.jvp(lambda y: network.predict(x, y, x[:, :2]), (y,), (direction,))
    up, down = (network.predict(x, y + h * direction, x[:, :2]) for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (up - down) / 2e-5, atol=1e-7)


# --- pretraining and its cache --------------------------------------------------------

SMALL = Architecture(D, N, layers=1, heads=2, width=16)
SHORT = Pretraining(NOISE, steps=200, batch=32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLCORE_CACHE", str(tmp_path))
    return tmp_path


def test_pretraining_learns_but_does_not_beat_bayes():
    # Fixed seeds. The network's mean error is half of what ignoring the context costs (1)
    # and above that of Bayes ridge by many standard errors, so neither is a matter of luck.
    tasks = stream(SEED, "quality").standard_normal((1000, D)) / np.sqrt(D)
    queries = stream(SEED, "queries").standard_normal((1000, 10, D))
    errors = {}
    for name, predictor in {"net": pretrain(SMALL, SHORT), "ridge": BayesRidge(NOISE)}.items():
        learner = InContext(predictor, tasks, NOISE, queries)
        frame = run(learner, full_synthetic(), N, 1, 1000, stream(SEED, "contexts"))
        errors[name] = frame["squared_error"].to_numpy()
    assert errors["net"].mean() < 0.6
    gap = errors["net"] - errors["ridge"]
    assert gap.mean() > 4 * gap.std() / np.sqrt(len(gap))


def test_a_network_is_trained_once(cache, monkeypatch):
    tiny = dataclasses.replace(SHORT, steps=3)
    first = pretrained(SMALL, tiny)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining_module, "pretrain", None)  # a second training would fail
        second = pretrained(SMALL, tiny)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not b.requires_grad
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]
    third = pretrained(SMALL, dataclasses.replace(tiny, seed=2))
    assert not torch.equal(first.pairs.weight, third.pairs.weight)
    assert len(list(cache.iterdir())) == 2


def test_training_again_gives_the_same_weights():
    tiny = dataclasses.replace(SHORT, steps=3)
    state = torch.random.get_rng_state()
    one, two = pretrain(SMALL, tiny), pretrain(SMALL, tiny)
    assert torch.equal(one.pairs.weight, two.pairs.weight)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_damaged_file_and_one_of_another_architecture_are_replaced(cache):
    tiny = dataclasses.replace(SHORT, steps=3)
    good = pretrained(SMALL, tiny)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged, so the network is trained again"):
        again = pretrained(SMALL, tiny)
    assert torch.equal(good.pairs.weight, again.pairs.weight)

    pretrained(dataclasses.replace(SMALL, heads=1), tiny)
    (other,) = (path for path in cache.iterdir() if path != file)
    file.write_bytes(other.read_bytes())
    with pytest.warns(UserWarning, match="heads differs"):
        again = pretrained(SMALL, tiny)
    assert torch.equal(good.pairs.weight, again.pairs.weight)


def test_without_a_place_to_write_there_is_still_a_network(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STLCORE_CACHE", str(tmp_path / "file"))
    assert isinstance(pretrained(SMALL, dataclasses.replace(SHORT, steps=1)), Transformer)


# --- the loop -------------------------------------------------------------------------


def test_the_part_used_again_is_rounded_to_even():
    taken = []

    class Spy(InContext):
        def subset(self, sample, size, rng):
            taken.append(size)
            return super().subset(sample, size, rng)

    learner = learner_of(BayesRidge(NOISE))
    spy = Spy(BayesRidge(NOISE), learner.truth.memory, NOISE, learner.queries)
    for share in (0.3, 0.5):  # of 5 pairs: 1.5 and 2.5
        run(spy, fixed_real(share), 5, 3, 8, stream(SEED, "round"))
    assert taken == [2, 2]


def test_the_real_pairs_stay_and_the_two_parts_alternate():
    learner = learner_of(BayesRidge(NOISE))
    sizes = np.full(8, N)
    first = learner.sample([learner.truth], np.ones(1), sizes, stream(SEED, "first"))
    part = learner.subset(first, 4, stream(SEED, "part"))
    assert part.x.shape == (8, 4, D)
    new = Context(np.full((8, 8, D), 7.0), np.full((8, 8), 7.0))
    both = learner.pool(part, new)
    real = both.y != 7.0
    np.testing.assert_array_equal(real[0], [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(both.y[real].reshape(8, 4), part.y)
    np.testing.assert_array_equal(both.x[real].reshape(8, 4, D), part.x)
    rows = {tuple(row) for row in first.x[3]}
    assert {tuple(row) for row in part.x[3]} <= rows


def test_a_mixture_draws_its_labels_from_both_models():
    # 8000 labels, a quarter of them from the second: 5 standard errors, false alarm 6e-7.
    learner = learner_of(BayesRidge(NOISE))
    models = [lambda x: np.zeros(x.shape[:2]), lambda x: np.full(x.shape[:2], 100.0)]
    weights, rng = np.array([0.75, 0.25]), stream(SEED, "mixture")
    sample = learner.sample(models, weights, np.full(8, 1000), rng)
    assert abs((sample.y > 50).mean() - 0.25) < 5 * np.sqrt(0.75 * 0.25 / 8000)


def test_what_is_tracked():
    learner = learner_of(BayesRidge(NOISE))
    tracked = learner.track(lambda x: learner.truth(x) + 0.2)
    np.testing.assert_allclose(tracked["squared_error"], 0.04)
    np.testing.assert_allclose(tracked["offset"], 0.2)
    # N(0, 1/4) against N(0.2, 1/4): 2 Phi(0.2) - 1.
    np.testing.assert_allclose(tracked["tv"], 0.15851942, atol=1e-8)
    for value in learner.track(learner.truth).values():
        np.testing.assert_array_equal(value, np.zeros(8))


def test_answers_at_the_queries_belong_to_their_model():
    learner = learner_of(BayesRidge(NOISE))
    shifted = [lambda x, s=s: learner.truth(x) + s for s in (0.2, -0.1, 0.5)]
    for _ in range(2):
        for one, other, far in ((0, 1, 0.3), (1, 2, 0.6), (2, 0, 0.3)):
            np.testing.assert_allclose(learner.apart(shifted[one], shifted[other]), far)


def test_every_cycle_runs():
    learner = learner_of(new_network())
    for cycle in (fixed_real(0.25), fixed_real(1.0), fresh_mixture(0.5), full_synthetic()):
        frame = run(learner, cycle, N, 3, 8, stream(SEED, "cycles"))
        assert len(frame) == 24
        assert np.isfinite(frame["squared_error"]).all()


def test_a_diverging_loop_names_the_round_and_keeps_the_others():
    learner = learner_of(LinearAttention(40.0))
    with pytest.raises(Diverged, match=r"round \d+: every repetition is lost") as stop:
        run(learner, full_synthetic(), N, 30, 8, stream(SEED, "diverging"))
    frame = stop.value.frame
    done = frame["round"].max()
    assert f"round {done + 1}:" in str(stop.value)
    assert 1 <= done < 29
    lost = frame.pivot(index="round", columns="repetition", values="squared_error").isna()
    assert lost.iloc[-1].any(), "one task after the other"
    assert not lost.iloc[-1].all()
    assert (lost.astype(int).diff().iloc[1:] >= 0).all(axis=None), "what is lost stays lost"


# --- bad input ------------------------------------------------------------------------


def test_a_context_longer_than_trained_is_refused():
    learner = learner_of(new_network())
    with pytest.raises(ValueError, match="context of 13 pairs is longer than the 12"):
        run(learner, full_synthetic(), N + 1, 2, 8, stream(SEED, "long"))
    with pytest.raises(ValueError, match="dimension 3, not 2"):
        new_network().read(torch.zeros(4, 5, 2), torch.zeros(4, 5))


def test_bad_settings_are_refused():
    for changed, words in [
        ({"attention": "hard"}, "softmax"),
        ({"heads": 3}, "split over 3 heads"),
        ({"layers": 0}, "layers must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=words):
            dataclasses.replace(SMALL, **changed)
    for changed, words in [({"noise": 0.0}, "positive"), ({"steps": 0}, "steps must be a whole")]:
        with pytest.raises(ValueError, match=words):
            dataclasses.replace(SHORT, **changed)
    for noise in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite positive"):
            BayesRidge(noise)


def test_a_learner_wants_its_own_number_of_tasks():
    learner = learner_of(BayesRidge(NOISE))
    with pytest.raises(ValueError, match="8 tasks"):
        run(learner, full_synthetic(), N, 2, 9, stream(SEED, "tasks"))
    with pytest.raises(ValueError, match="one length"):
        run(learner, fresh_mixture(0.5).filtered(0.1, 0.5), N, 3, 8, stream(SEED, "filter"))
    with pytest.raises(ValueError, match="shape"):
        InContext(BayesRidge(NOISE), np.zeros((8, D)), NOISE, np.zeros((7, 6, D)))
    context = Context(np.zeros((8, 5, D)), np.zeros((8, 5)))
    for size in (0, 6):
        with pytest.raises(ValueError, match="cannot take"):
            learner.subset(context, size, stream(SEED, "part"))


def test_pretraining_that_diverges_says_so():
    with pytest.raises(Diverged, match="learning rate"):
        pretrain(SMALL, dataclasses.replace(SHORT, rate=1e30, steps=30))
