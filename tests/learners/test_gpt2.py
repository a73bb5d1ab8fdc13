"""GPT-2: against HuggingFace's, against itself without a cache, and in the loop.

The networks are tiny and most are not trained: what is tested is arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.base import Diverged, Round
from stlcore.learners.devices import fast_products
from stlcore.learners.gpt2 import learner as gpt2_learner
from stlcore.learners.gpt2 import network as gpt2_network
from stlcore.learners.gpt2.learner import GPT2, Config, Sample, token_lists
from stlcore.learners.gpt2.network import HeadLoss, Network, generate, pick, surprise, windows
from stlcore.loop import fresh_items, run
from stlcore.schedules import Share, Size
from stlcore.streams import stream

torch.set_num_threads(1)  # the networks are too small for two
V, END = 40, 0
BYTES = np.r_[0, np.full(V - 1, 3)]
TINY = Config(layers=1, heads=2, width=8, context=8, length=12, iterations=4, batch=4)


def network(config=TINY, seed=1, spread=0.4):
    """A network whose weights, biases and norms are all random, so that each one counts."""
    made = Network(config, V)
    rng = np.random.default_rng(seed)
    made.initialise(rng)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.from_numpy(spread * rng.standard_normal(tuple(weight.shape))))
    return made


def documents(count, seed=2, shortest=2, longest=16):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, size=count)
    return [rng.integers(1, V, size=n).tolist() for n in lengths]


def learner(config=TINY, count=100, **options):
    # Token 1 opens the held-out documents alone, so none of them is a training document.
    real = [[2, *document] for document in documents(count)]
    held_out = [[1, *document] for document in documents(10, seed=3)]
    return GPT2(real, held_out, BYTES, END, config, **options)


def huggingface(ours):
    """HuggingFace's GPT-2 with the same weights."""
    transformers = pytest.importorskip("transformers")
    config = ours.config
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V,
            n_positions=config.context,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            bos_token_id=END,
            eos_token_id=END,
        )
    ).eval()
    state = ours.state_dict()
    renamed = {}
    for name, weight in state.items():
        for old, new in [
            ("blocks.", "h."),
            ("attn_proj", "attn.c_proj"),
            ("mlp_proj", "mlp.c_proj"),
            ("attn.w", "attn.c_attn.w"),
            ("attn.b", "attn.c_attn.b"),
            ("mlp.w", "mlp.c_fc.w"),
            ("mlp.b", "mlp.c_fc.b"),
        ]:
            name = name.replace(old, new)
        # Their layers keep the matrix the other way round.
        turned = name.startswith("h.") and weight.ndim == 2
        renamed[f"transformer.{name}"] = weight.T if turned else weight
    renamed["lm_head.weight"] = state["wte.weight"]
    missing, unexpected = theirs.load_state_dict(renamed, strict=False)
    assert not missing
    assert not unexpected
    return theirs


HF = Config(layers=3, heads=4, width=32, context=24, length=24)


@torch.no_grad()
def test_logits_are_those_of_huggingface():
    ours = network(HF)
    tokens = torch.from_numpy(np.random.default_rng(5).integers(V, size=(6, 24)))
    expected = huggingface(ours)(tokens).logits
    assert expected.std() > 1, "the logits differ enough for the comparison to mean something"
    assert (ours.logits(ours(tokens)) - expected).abs().max() < 1e-4


@torch.no_grad()
def test_greedy_continuation_is_that_of_huggingface():
    ours = network(HF)
    start = torch.tensor([[END, 5, 7], [END, 3, 9]])
    theirs = huggingface(ours)
    # Forbidding the end token keeps both at the same length.
    expected = theirs.generate(
        start, attention_mask=torch.ones_like(start), max_length=24, do_sample=False,
        suppress_tokens=[END], pad_token_id=END,
    )  # fmt: skip
    tokens = start
    while tokens.shape[1] < 24:
        scores = ours.logits(ours(tokens)[:, -1])
        scores[:, END] = -math.inf
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
    assert tokens.tolist() == expected.tolist()


@pytest.mark.parametrize("length", [5, 8, 9, 12, 13, 30])
@pytest.mark.parametrize("context", [8, 7])
def test_cached_generation_equals_uncached(length, context):
    config = Config(layers=2, heads=2, width=8, context=context, length=length)
    uniforms = np.random.default_rng(6).random((40, length))
    made = network(config, spread=0.2)
    cached = generate(made, uniforms, END)
    assert np.array_equal(cached, generate(made, uniforms, END, cached=False))
    assert (cached[:, -1] >= 0).any(), "some documents reach the full length"
    if length > 8:
        assert (cached[:, -1] < 0).any(), "some end before"


def test_attention_a_few_documents_at_a_time_is_that_of_all(monkeypatch):
    config = Config(layers=2, heads=2, width=8, context=8, length=12)
    uniforms = np.random.default_rng(7).random((40, 12))
    made = network(config, spread=0.2)
    together = generate(made, uniforms, END)
    monkeypatch.setattr(gpt2_network, "PRODUCTS", 7 * 8 * 3)  # 3 documents of a window of 7
    assert np.array_equal(together, generate(made, uniforms, END))


def window_start(place, context):
    """The rule of the module, for the token at ``place``."""
    step, start = context // 2, 0
    while place - start > context:
        start += step
    return start


@pytest.mark.parametrize(("length", "context"), [(6, 8), (8, 8), (9, 8), (12, 8), (21, 8), (21, 7)])
def test_perplexity_and_generation_follow_the_rule_for_windows(length, context):
    config = Config(layers=1, heads=2, width=8, context=context, length=length)
    made = network(config)
    uniforms = np.random.default_rng(7).random((5, length))
    rows = generate(made, uniforms, END)
    total = 0.0
    for row, levels in zip(rows, uniforms, strict=True):
        read = [END]
        for token, level in zip(row[row >= 0], levels, strict=False):
            start = window_start(len(read), context)
            with torch.no_grad():
                logits = made.logits(made(torch.tensor([read[start:]]))[0, -1]).double()
            law = logits.softmax(-1).numpy()
            assert token == np.searchsorted(law.cumsum(), level, side="right")
            total -= math.log(law[token])
            read.append(int(token))
    assert surprise(made, rows, END).sum() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("length", "context"), [(6, 8), (8, 8), (21, 8), (21, 7), (200, 128)])
def test_windows_predict_every_token_once_anew(length, context):
    rows = np.arange(1, length + 1)[None].repeat(3, axis=0).astype(np.int32)
    rows[1, length // 2 :] = -1
    rows[2, 1:] = -1
    inputs, targets, new = windows(rows, END, context)
    assert inputs.shape == targets.shape == new.shape
    assert inputs.shape[1] == min(length, context)
    assert sorted(targets[new].tolist()) == sorted(rows[rows >= 0].tolist())
    # A token is read just before it is predicted: token k + 1 follows k.
    there = targets >= 0
    assert torch.equal(inputs[there] + 1, targets[there])


@pytest.mark.parametrize("spread", [1, 300])  # with 300 the law of the target underflows
def test_loss_in_parts_is_the_cross_entropy_with_its_gradient(monkeypatch, spread):
    monkeypatch.setattr("stlcore.learners.gpt2.network.LOGITS", 3 * V)  # three rows at a time
    generator = torch.Generator().manual_seed(1)
    hidden = spread * torch.randn(20, 8, generator=generator, dtype=torch.double)
    hidden.requires_grad_()
    weight = torch.randn(V, 8, generator=generator, dtype=torch.double, requires_grad=True)
    targets = torch.randint(V, (20,), generator=generator)
    loss = HeadLoss.apply(hidden, weight, targets)
    found = torch.autograd.grad(3 * loss, (hidden, weight))
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    expected = torch.autograd.grad(3 * plain, (hidden, weight))
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(found, expected)


def test_generation_draws_from_the_law_of_the_network():
    """The first token, 20,000 times; chi-square at level 1e-6."""
    from scipy.stats import chisquare

    made = network()
    drawn = generate(made, np.random.default_rng(8).random((20_000, 1)), END)[:, 0]
    with torch.no_grad():
        law = made.logits(made(torch.tensor([[END]]))[0, 0]).double().softmax(-1).numpy()
    counts = np.bincount(drawn, minlength=V)
    rare = law * 20_000 < 5
    observed = np.r_[counts[~rare], counts[rare].sum() + 1e-9]
    expected = 20_000 * np.r_[law[~rare], law[rare].sum()] + 1e-9
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-6


@pytest.mark.parametrize("vocabulary", [5, 64, 65, 200])
def test_inversion_by_tiles_is_inversion(vocabulary):
    """Levels in the middle of every token's step, the lowest and the highest."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 8, generator=generator).expand(vocabulary, 8)
    weight = torch.randn(vocabulary, 8, generator=generator)
    steps = (hidden[:1].double() @ weight.T.double()).softmax(-1)[0]
    middle = (steps.cumsum(0) - steps / 2).float()[:, None]
    law = torch.empty(vocabulary, 256)
    every = torch.arange(vocabulary)
    assert torch.equal(pick(hidden, weight, middle, law), every)
    assert (pick(hidden, weight, torch.zeros_like(middle), law) == 0).all()
    assert (pick(hidden, weight, torch.ones_like(middle), law) == vocabulary - 1).all()


def test_training_learns():
    """A text that repeats itself: the loss falls to nearly nothing."""
    config = Config(layers=1, heads=2, width=16, context=8, length=8, iterations=150, batch=16)
    config = replace(config, learning_rate=1e-2)
    real = [[1 + (start + k) % 6 for k in range(8)] for start in range(6)]
    made = GPT2(real, [[7, 8]], BYTES, END, config)
    model = made.fit(Sample(made.truth[None]), None, Round(1, stream(1)))
    assert model.loss[0] < 0.4, "only the first of eight tokens is uncertain: log(6) / 8 = 0.22"
    texts = token_lists(made.generate(model, 50, stream(1))[0])
    right = [b - a in (1, -5) for text in texts for a, b in pairwise(text)]
    assert np.mean(right) > 0.9


def test_tracked_numbers():
    made = learner()
    model = made.fit(Sample(made.truth[None, :20]), None, Round(1, stream(1)))
    tracked = made.track(model)
    nats = surprise(model.networks[0], made.held_out, END).sum()
    tokens = sum(min(len(row) + 1, 12) for row in token_lists(made.held_out, END))
    size = 3 * sum(len(row) for row in token_lists(made.held_out, END))
    assert tracked["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert tracked["bits_per_byte"] == pytest.approx(nats / math.log(2) / size)
    assert 0 < tracked["training_loss"][0] < 2 * math.log(V)


def test_fixed_steps_are_a_plain_loop_with_a_cosine():
    """Weight for weight; nothing is measured on the way."""
    made = learner(replace(TINY, length=8))  # a document is one window
    rows = made.truth[:12]
    model = made.fit(Sample(rows[None]), None, Round(1, stream(5)))
    (rng,) = stream(5).spawn(1)
    plain = Network(made.config, V)
    plain.initialise(rng)
    order = np.concatenate([rng.permutation(12) for _ in range(2)])
    decayed = [[w for w in plain.parameters() if (w.ndim == 2) == big] for big in (True, False)]
    groups = [{"params": p, "weight_decay": d} for p, d in zip(decayed, (0.1, 0.0), strict=True)]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    losses = []
    with fast_products(torch.device("cpu"), rounded=True):
        for step in range(4):
            batch = rows[order[4 * step : 4 * step + 4]]
            inputs, targets, _ = windows(batch, END, 8)
            for group in optimiser.param_groups:
                group["lr"] = 4e-3 * (1 + math.cos(math.pi * step / 4)) / 2
            there = targets >= 0
            hidden = plain(inputs)[there]
            loss = HeadLoss.apply(hidden, plain.wte.weight, targets[there]) / there.sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, model.networks[0].state_dict()[name]), name
    assert model.loss[0] == pytest.approx(losses[-1])
    assert (model.steps[0], model.epochs[0]) == (4, 4 * 4 / 12)


STOPPED = replace(TINY, iterations=200, patience=3, measure_every=5)


def stopped(config=STOPPED, **options):
    # They open like the training documents, which is all there is to learn about random tokens.
    judges = [[2, *document] for document in documents(10, seed=4)]
    return learner(config, validation=judges, **options)


def watched(made, monkeypatch):
    """What was measured on the validation documents, with the weights at the time."""
    seen = []
    measure = GPT2._measure

    def look(self, network):
        weights = {k: w.clone() for k, w in network.state_dict().items()}
        seen.append((measure(self, network), weights))
        return seen[-1][0]

    monkeypatch.setattr(GPT2, "_measure", look)
    return seen


def test_the_best_measured_weights_are_kept(monkeypatch):
    made = stopped()
    seen = watched(made, monkeypatch)
    model = made.fit(Sample(made.truth[None, :12]), None, Round(1, stream(1)))
    measured = [value for value, _ in seen]
    best = int(np.argmin(measured))
    assert 0 < best < len(measured) - 1, "it learns first and over-fits then"
    assert len(measured) == best + 1 + 3, "three measurements without a new best end it"
    for name, weight in seen[best][1].items():
        assert torch.equal(weight, model.networks[0].state_dict()[name]), name
    assert model.steps[0] == 5 * (best + 1)
    assert model.epochs[0] == model.steps[0] * 4 / len(windows(made.truth[:12], END, 8)[0])
    tokens = (made.validation >= 0).sum()
    nats = surprise(model.networks[0], made.validation, END)
    assert measured[best] == pytest.approx(nats.sum() / tokens)
    assert nats.shape == (tokens,)


def test_the_maximum_ends_training_too_and_is_measured(monkeypatch):
    made = stopped(replace(STOPPED, iterations=8))
    seen = watched(made, monkeypatch)
    model = made.fit(Sample(made.truth[None, :12]), None, Round(1, stream(1)))
    assert len(seen) == 2, "after steps 5 and 8"
    assert seen[1][0] < seen[0][0]
    assert model.steps[0] == 8


def test_the_maximum_does_not_matter_unless_it_is_met():
    """But for the first rise of the rate, whose length is a part of it."""
    first, second = (stopped(replace(STOPPED, iterations=n, measure_every=2)) for n in (200, 219))
    rows = first.truth[None, :12]
    one, other = (m.fit(Sample(rows), None, Round(1, stream(1))) for m in (first, second))
    assert one.steps[0] == other.steps[0] < 200
    for name, weight in one.networks[0].state_dict().items():
        assert torch.equal(weight, other.networks[0].state_dict()[name]), name


def test_surprises_average_to_the_perplexity():
    made = learner()
    model = made.fit(Sample(made.truth[None, :20].repeat(2, 0)), None, Round(1, stream(1)))
    nats = made.surprises(model)
    assert nats.shape == (2, (made.held_out >= 0).sum())
    assert np.exp(nats.mean(axis=1)) == pytest.approx(made.track(model)["perplexity"])


def test_equal_epochs():
    config = Config(layers=1, heads=1, width=4, context=8, length=8, iterations=None, epochs=2)
    made = learner(config)
    for count in (16, 64):
        model = made.fit(Sample(made.truth[None, :count]), None, Round(1, stream(1)))
        assert model.epochs[0] == 2


CYCLES = {
    "full synthetic": full_synthetic().exact(),
    "accumulate": full_synthetic().accumulated().exact(),
    "fixed share": fresh_mixture(0.25).exact(),
    "decaying share": fresh_mixture(Share.power(1)).accumulated().exact(),
    "all real": fresh_mixture(1.0).exact(),
    "all generations": balanced().exact(),
    "fixed real": fixed_real(0.25).exact(),
    "filter": fresh_mixture(0.5).exact().filtered(0.1, 0.5),
}


@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
def test_every_cycle_and_no_real_document_twice(cycle, monkeypatch):
    sizes = Size.power(4, 1)
    made = learner()
    needed = fresh_items(cycle, sizes, 3)
    opened = []
    real = GPT2.open_truth
    monkeypatch.setattr(GPT2, "open_truth", lambda *args: opened.append(real(*args)) or opened[0])
    frame = run(made, cycle, sizes, 3, 2, stream(1))
    assert np.isfinite(frame["perplexity"]).all()
    (truth,) = opened
    for order in truth.order:
        assert sorted(order.tolist()) == list(range(len(made.truth)))
    if cycle.filter is None:
        assert truth.used.tolist() == [needed, needed]
    else:
        assert (truth.used <= needed).all()
    assert not np.array_equal(truth.order[0], truth.order[1]), "each repetition has its own order"


@pytest.mark.parametrize(
    ("cycle", "sizes", "rounds", "needed"),
    [
        (full_synthetic(), 1000, 10, 1000),
        (fresh_mixture(0.75), Size.explicit([1000] + [4000] * 10), 11, 31_000),
        (fresh_mixture(Share.power(1)), Size.power(1000, 1), 10, 10_000),
        (fixed_real(0.5), 10, 4, 10),
    ],
)
def test_fresh_items(cycle, sizes, rounds, needed):
    assert fresh_items(cycle, sizes, rounds) == needed


def test_too_few_documents_is_an_error_before_the_first_step(monkeypatch):
    monkeypatch.setattr(GPT2, "fit", lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(ValueError, match="needs 101 real documents, but there are 100"):
        run(learner(), full_synthetic().exact(), 101, 2, 1, stream(1))


def test_a_cycle_without_exact_counts_is_refused():
    with pytest.raises(TypeError, match=r"the truth of GPT2 is a pool .* add \.exact\(\)"):
        run(learner(), fresh_mixture(0.5), 4, 2, 1, stream(1))


def test_a_finished_run_can_be_extended(tmp_path):
    cycle, sizes = fresh_mixture(0.25).exact(), Size.power(4, 1)
    run(learner(), cycle, sizes, 2, 2, stream(1), checkpoint=tmp_path)
    longer = run(learner(), cycle, sizes, 4, 2, stream(1), checkpoint=tmp_path)
    whole = run(learner(), cycle, sizes, 4, 2, stream(1))
    pd.testing.assert_frame_equal(longer, whole, check_exact=True)


def test_a_round_takes_exact_shares():
    made = learner()
    opened = made.open_truth(4, 2, stream(1))
    model = made.fit(Sample(made.truth[None, :20].repeat(2, 0)), None, Round(1, stream(1)))
    sample = made.sample([opened, model], np.array([0.25, 0.75]), np.array([16, 8]), stream(2))
    assert opened.used.tolist() == [4, 2]
    filled = (sample.rows[..., 0] >= 0).sum(axis=1)
    assert filled.tolist() == [16, 8]
    real = {row.tobytes() for row in made.truth}
    assert all(row.tobytes() in real for row in sample.rows[0, :4])


def test_repetitions_are_what_separate_runs_of_them_are():
    made = learner()
    rows = np.stack([made.truth[:20], made.truth[20:40]])
    both = made.track(made.fit(Sample(rows), None, Round(1, stream(1))))
    for r in range(2):
        rng = stream(1)
        rng.spawn(r)  # the generators of the repetitions before
        alone = made.track(made.fit(Sample(rows[[r]]), None, Round(1, rng)))
        for name, values in both.items():
            assert values[r] == alone[name][0], name


def unbroken_and_taken_up_again(made, cycle, sizes, rounds, folder):
    """A run, and the same run killed in round 3 and started again; each with a new learner."""
    whole = run(made(), cycle, sizes, rounds, 2, stream(1))

    def kill(t, model):
        if t == 3:  # after the work of round 3, before its checkpoint
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(made(), cycle, sizes, rounds, 2, stream(1), checkpoint=folder, observe=kill)
    return whole, run(made(), cycle, sizes, rounds, 2, stream(1), checkpoint=folder)


@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
def test_a_run_taken_up_again_ends_with_the_same_numbers(cycle, tmp_path):
    whole, again = unbroken_and_taken_up_again(learner, cycle, Size.power(4, 1), 3, tmp_path)
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def test_a_run_stopped_on_validation_is_taken_up_again_bit_for_bit(tmp_path):
    cycle = fresh_mixture(0.5).exact()
    whole, again = unbroken_and_taken_up_again(stopped, cycle, Size.power(8, 1), 4, tmp_path)
    assert whole["steps"].nunique() > 1
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def test_a_checkpoint_of_other_validation_documents_is_refused(tmp_path):
    run(stopped(), full_synthetic().exact(), 4, 2, 1, stream(1), checkpoint=tmp_path)
    other = learner(STOPPED, validation=[[3, 4, 5]])
    with pytest.raises(ValueError, match=r"of another run \(learner differs\)"):
        run(other, full_synthetic().exact(), 4, 2, 1, stream(1), checkpoint=tmp_path)


def test_a_checkpoint_of_other_documents_is_refused(tmp_path):
    run(learner(), full_synthetic().exact(), 4, 2, 1, stream(1), checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"of another run \(learner differs\)"):
        run(learner(count=99), full_synthetic().exact(), 4, 2, 1, stream(1), checkpoint=tmp_path)


def test_diverging_training_names_the_round():
    made = learner(replace(TINY, learning_rate=1e30))
    with pytest.raises(Diverged, match="diverged in round 1: every repetition is lost"):
        run(made, full_synthetic().exact(), 10, 2, 1, stream(1))


def test_one_training_that_diverges_is_missing_and_the_others_go_on(monkeypatch, tmp_path):
    plain = run(learner(), full_synthetic().exact(), 10, 4, 2, stream(1))
    trainings, real = [], gpt2_learner.train

    def broken(network, *arguments):
        trainings.append(network)
        loss, epochs = real(network, *arguments)
        return (np.full_like(loss, np.nan) if len(trainings) == 3 else loss), epochs

    monkeypatch.setattr(gpt2_learner, "train", broken)
    cycle = full_synthetic().exact()
    frame = run(learner(), cycle, 10, 4, 2, stream(1), checkpoint=tmp_path)
    assert len(trainings) == 4 + 2, "a lost repetition is not trained again"
    lost = (frame["repetition"] == 1) & (frame["round"] > 1)
    assert frame.loc[lost, ["perplexity", "training_loss"]].isna().all(axis=None)
    assert frame.loc[~lost, "perplexity"].notna().all()
    first = frame["round"] == 1
    pd.testing.assert_frame_equal(frame[first], plain[first], check_dtype=False)
    again = run(learner(), cycle, 10, 4, 2, stream(1), checkpoint=tmp_path)
    pd.testing.assert_frame_equal(again, frame)


def test_matrix_products_stay_exact_and_the_setting_is_given_back():
    before = torch.get_float32_matmul_precision()
    left, right = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(1))
    with fast_products(torch.device("cpu"), rounded=True):
        product = left @ right
    assert torch.get_float32_matmul_precision() == before
    assert (product - left.double() @ right.double()).abs().max() < 1e-3


def test_without_a_compiler_training_runs_uncompiled(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert learner(compile=True).forward is Network.forward


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 1025}, "context must be 2 to 1024 tokens, not 1025"),
        ({"context": 1}, "context must be 2 to 1024"),
        ({"heads": 3}, "3 heads do not divide a width of 64"),
        ({"layers": 0}, "layers must be a whole number"),
        ({"iterations": None}, "either iterations or epochs"),
        ({"epochs": 2.0}, "either iterations or epochs"),
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"patience": 0}, "patience must be a whole number"),
        ({"measure_every": 0}, "measure_every must be a whole number"),
        ({"iterations": None, "epochs": -1.0}, "epochs must be a positive number"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number"),
    ],
)
def test_configurations_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"documents": [[1, 2], [3]]}, "document 1 has fewer than two tokens"),
        ({"held_out": [[]]}, "held-out document 0 has fewer than two tokens"),
        ({"documents": []}, "there is no document"),
        ({"held_out": []}, "there is no held-out document"),
        ({"documents": [[1, V]]}, f"outside the vocabulary of {V}"),
        ({"documents": [[1, -1]]}, "outside the vocabulary"),
        ({"documents": [[1, END, 2]]}, "document 0 contains the end token"),
        ({"held_out": [[1, 2]]}, "1 held-out documents are also training documents"),
        ({"validation": [[7, 8]]}, "validation documents and a patience need each other"),
        ({"config": STOPPED}, "validation documents and a patience need each other"),
        ({"config": STOPPED, "validation": []}, "there is no validation document"),
        (
            {"config": STOPPED, "validation": [[7, 8], [3, 4]]},
            "1 validation documents are also training documents in their first 12 tokens",
        ),
        (
            {"config": STOPPED, "validation": [[7, 8], [5, 6]]},
            "1 validation documents are also held-out documents",
        ),
        ({"end": V}, "the end token 40 is outside the vocabulary"),
        ({"device": "tpu"}, "the device must be auto, cpu or cuda"),
    ],
)
def test_bad_input(changes, message):
    options = {"documents": [[1, 2], [3, 4]], "held_out": [[5, 6]], "end": END, "config": TINY}
    with pytest.raises(ValueError, match=message):
        GPT2(token_bytes=BYTES, **options | changes)


def test_gpu_asked_for_and_none_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"a GPU is asked for .* but PyTorch finds none"):
        learner(device="cuda")
