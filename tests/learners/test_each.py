"""One model at a time: every cycle, every kind of items, and what it does when functions err."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.base import Diverged, Round
from stlcore.learners.checking import check_learner
from stlcore.learners.each import Each
from stlcore.learners.gaussian import GaussianMean
from stlcore.loop import First, run
from stlcore.pages.figures import as_array
from stlcore.schedules import Share, Size
from stlcore.stability.criterion import collapse_criterion
from stlcore.stability.response import to_vector
from stlcore.streams import stream


def truth(count, rng):
    return rng.standard_normal(count)


def fit(items):
    return np.array([items.mean()])


def draw(model, count, rng):
    return model[0] + rng.standard_normal(count)


def track(model):
    return {"mean": model[0]}


def normal(**changed):
    return Each(**{"truth": truth, "fit": fit, "draw": draw, "track": track} | changed)


CYCLES = {
    "fresh mixture": fresh_mixture(Share.power(0.5)),
    "exact": fresh_mixture(0.3).exact(),
    "balanced": balanced(),
    "fixed real": fixed_real(0.25),
    "window": full_synthetic().accumulated(window=2),
    "budget": balanced().accumulated(budget=15),
    "filter": fresh_mixture(0.3).filtered(0.3, 0.3),
    "filter, accumulate": balanced().filtered(0.3, 0.3).accumulated(),
    "filter, exact": fresh_mixture(0.3).filtered(0.3, 0.3).exact(),
    "selected": fresh_mixture(0.3).selected(0.5),
    "selected, all": fixed_real(0.25).selected(0.5, "all"),
    "selected, budget": fresh_mixture(0.5).exact().selected(0.5).accumulated(budget=15),
}


@pytest.mark.parametrize("name", CYCLES)
def test_every_cycle_runs_and_the_seed_decides(name):
    learner = normal(score=np.abs)
    first, again = (run(learner, CYCLES[name], 12, 4, 3, stream(1, name)) for _ in range(2))
    assert first.equals(again)
    assert np.isfinite(first["mean"]).all()
    assert not first.equals(run(learner, CYCLES[name], 12, 4, 3, stream(2, name)))


def test_the_loop_has_the_law_of_the_learner_with_an_axis(follows):
    """Variance of the mean over the rounds, against the exact one of GaussianMean's loop."""
    frame = run(normal(), full_synthetic(), 5, 4, 4000, stream(1, "law"))
    squares = as_array(frame, "mean").T ** 2
    assert follows(squares, np.arange(1, 5) / 5)
    assert not follows(squares, np.arange(1, 5) / 4)
    same = run(GaussianMean(0, 1), full_synthetic(), 5, 4, 4000, stream(1, "law"))
    assert follows(as_array(same, "squared_error").T, np.arange(1, 5) / 5)


# --- Items of any type -----------------------------------------------------------------------

LETTERS = [letter * 2 for letter in "abcdefgh"]
FRAME = pd.DataFrame({"x": range(8), "name": LETTERS}, index=range(8, 16))


@pytest.mark.parametrize("real", [LETTERS, FRAME, np.arange(16.0).reshape(8, 2)], ids=type)
def test_a_learner_that_copies_gives_back_real_items(real):
    def taken(items, places):
        if isinstance(items, list):
            return [items[k] for k in places]
        return items.iloc[places] if isinstance(items, pd.DataFrame) else items[places]

    def copies(model, count, rng):
        return taken(model, rng.integers(len(model), size=count))

    def kinds(model):
        found = model if isinstance(model, list) else np.asarray(model).tolist()
        known = real if isinstance(real, list) else np.asarray(real).tolist()
        assert all(item in known for item in found)
        return {"kinds": len({str(item) for item in found})}

    learner = Each(real, lambda items: items, copies, track=kinds)
    for cycle in (balanced(), fixed_real(0.5), full_synthetic().accumulated(budget=10)):
        frame = run(learner, cycle, 9, 4, 3, stream(1, "copies"))
        assert frame["kinds"].between(1, 8).all()
    assert check_learner(learner) == []


# --- What fit may ask for --------------------------------------------------------------------


def test_origin_and_age_of_every_item():
    seen = []

    def labelled(items, sources, round):
        seen.append((round.number, sources.generation.tolist(), sources.round.tolist()))
        return np.array([float(round.number)])

    exact = Each(
        lambda count, rng: np.zeros(count), labelled, lambda m, count, rng: np.full(count, m[0])
    )
    run(exact, fresh_mixture(0.5).exact().accumulated(), 4, 3, 1, stream(1, "origin"))
    assert seen == [
        (1, [0] * 4, [1] * 4),
        (2, [0] * 4 + [0, 0, 1, 1], [1] * 4 + [2] * 4),
        (3, [0] * 4 + [0, 0, 1, 1] + [0, 0, 2, 2], [1] * 4 + [2] * 4 + [3] * 4),
    ]
    seen.clear()
    run(exact, fixed_real(0.5), 4, 3, 1, stream(1, "origin"))
    assert [row[1:] for row in seen] == [
        ([0] * 4, [1] * 4),
        ([0, 0, 1, 1], [1, 1, 2, 2]),
        ([0, 0, 2, 2], [1, 1, 3, 3]),
    ]


@pytest.mark.parametrize("name", ["balanced", "budget", "filter, accumulate", "selected", "filter"])
def test_the_sources_stay_with_their_items(name):
    """A model writes its own number, so an item says itself who wrote it."""

    def checked(items, sources, round):
        assert np.array_equal(items, sources.generation)
        assert np.all(sources.round <= round.number)
        return np.array([float(round.number)])

    learner = Each(
        lambda count, rng: np.zeros(count),
        checked,
        lambda model, count, rng: np.full(count, model[0]),
        score=lambda items: items,
    )
    run(learner, CYCLES[name], 12, 5, 3, stream(1, "sources"))


def test_a_copy_of_the_last_model_may_be_trained_on():
    def tuned(items, previous):
        model = np.zeros(1) if previous is None else previous
        model += 0.5 * (items.mean() - model)
        return model

    models = []
    run(
        normal(fit=tuned), balanced(), 50, 3, 2, stream(1, "tuned"),
        observe=lambda t, model: models.append([one.copy() for one in model]),
    )  # fmt: skip
    again = []
    run(
        normal(fit=tuned), balanced(), 50, 3, 2, stream(1, "tuned"),
        observe=lambda t, model: again.append(model),
    )  # fmt: skip
    assert np.array_equal(models, again), "models of earlier rounds stay as they were"


def test_every_repetition_has_a_generator_of_its_own():
    def noisy(items, round):
        return round.rng.random(1)

    frame = run(normal(fit=noisy), full_synthetic(), 5, 3, 4, stream(1, "own"))
    assert frame["mean"].nunique() == 12
    # The draws do not depend on what the fit takes from its own.
    sizes = Each(truth, lambda items: np.array([items.sum()]), draw, track=track)
    greedy = Each(
        truth, lambda items, round: np.array([items.sum(), round.rng.random(9).sum()])[:1], draw,
        track=track,
    )  # fmt: skip
    runs = [run(one, balanced(), 5, 3, 4, stream(1, "own")) for one in (sizes, greedy)]
    assert runs[0].equals(runs[1])


# --- Selection ---------------------------------------------------------------------------------


@given(keep=st.floats(0.05, 1), size=st.integers(1, 30), share=st.floats(0, 1))
def test_the_best_are_kept(keep, size, share):
    kept = []

    def looking(items, sources, round):
        kept.append((round.number, items, sources))
        return np.array([0.0])

    learner = normal(fit=looking, score=lambda items: items)
    for among in ("synthetic", "all"):
        kept.clear()
        cycle = fresh_mixture(share).exact().selected(keep, among)
        frame = run(learner, cycle, size, 2, 1, stream(1, "best"))
        _, items, sources = kept[1]
        real = int(np.rint(share * size)) if among == "synthetic" else 0
        made = size - real
        count = max(int(np.rint(keep * made)), 1) if made else 0
        if among == "synthetic":
            assert (sources.generation == 0).sum() == real
            assert (sources.generation == 1).sum() == count
        assert frame["drawn"].tolist() == [size, real + count]
        assert frame["trained"].tolist() == [size, len(items)]


def test_a_selection_moves_the_mean_by_what_theory_says(follows):
    """Of two standard normal numbers the larger has mean 1/sqrt(pi)."""
    learner = normal(score=lambda items: items)
    frame = run(learner, full_synthetic().selected(0.5), 2, 2, 6000, stream(1, "pairs"))
    first, second = as_array(frame, "mean")
    assert follows((second - first)[:, None], [1 / np.sqrt(np.pi)])
    assert not follows((second - first)[:, None], [0.8 / np.sqrt(np.pi)])


def test_a_score_is_needed_and_looked_at():
    with pytest.raises(TypeError, match="Each has no score for its items"):
        run(normal(), full_synthetic().selected(0.5), 4, 2, 1, stream(1))
    for score, message in [
        (lambda items: items.sum(), r"score returned shape \(\) for 4 items"),
        (lambda items: items * np.nan, "a score is no number"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(normal(score=score), full_synthetic().selected(0.5), 4, 2, 1, stream(1))


# --- Lost repetitions --------------------------------------------------------------------------


def explodes(above):
    def fit(items, round):
        if round.number == 3 and items.mean() > above:
            raise Diverged("too large")
        return np.array([items.mean()])

    return fit


def test_a_repetition_that_diverges_is_missing_and_the_others_go_on():
    frame = run(normal(fit=explodes(0.0)), full_synthetic(), 5, 6, 40, stream(1, "lost"))
    missing = frame.pivot(index="round", columns="repetition", values="mean").isna().to_numpy()
    assert not missing[:2].any()
    assert 0 < missing[2].sum() < 40
    assert (missing[2:] == missing[2]).all()
    whole = run(normal(fit=explodes(np.inf)), full_synthetic(), 5, 6, 40, stream(1, "lost"))
    left = ~missing[2]
    assert as_array(whole, "mean")[:3, left] == pytest.approx(as_array(frame, "mean")[:3, left])


def test_without_any_repetition_left_the_loop_ends_with_its_frame():
    with pytest.raises(Diverged, match="round 3: every repetition is lost") as caught:
        run(normal(fit=explodes(-np.inf)), full_synthetic(), 5, 6, 4, stream(1, "lost"))
    assert len(caught.value.frame) == 8


def test_lost_repetitions_are_lost_after_a_checkpoint_too(tmp_path):
    call = normal(fit=explodes(0.0)), full_synthetic(), 5
    whole = run(*call, 6, 10, stream(1, "lost"))
    run(*call, 4, 10, stream(1, "lost"), checkpoint=tmp_path)
    assert run(*call, 6, 10, stream(1, "lost"), checkpoint=tmp_path).equals(whole)


# --- Checkpoints and parameters ----------------------------------------------------------------

plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**40), 2**40),
        st.floats(allow_nan=False),
        st.lists(st.text(max_size=6), min_size=1, max_size=4),
        st.builds(np.arange, st.integers(0, 5)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(plain)
def test_models_come_back_as_they_were(model):
    learner = normal()
    packed = learner.pack([model, model])
    assert not any(array.dtype.hasobject for array in packed.values())
    np.testing.assert_equal(learner.unpack(packed), [model, model])


def test_models_that_are_no_arrays_keep_no_checkpoint(tmp_path):
    class Model:
        pass

    learner = Each(truth, lambda items: Model(), lambda model, count, rng: truth(count, rng))
    with pytest.raises(TypeError, match=r"a checkpoint holds arrays.* was given a Model") as caught:
        run(learner, full_synthetic(), 4, 2, 1, stream(1), checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(caught.value.frame) == 1


def test_texts_go_through_a_checkpoint(tmp_path):
    def chain(items):
        return {"text": [str(len(items)), "ü\0 \ud800"], "n": len(items)}

    def write(model, count, rng):
        return [f"{rng.integers(99)}\0" for _ in range(count)]

    call = Each(["a", "b"], chain, write, track=lambda m: {"n": m["n"]}), CYCLES["budget"], 9
    whole = run(*call, 5, 2, stream(1))
    run(*call, 3, 2, stream(1), checkpoint=tmp_path)
    assert run(*call, 5, 2, stream(1), checkpoint=tmp_path).equals(whole)


def test_another_function_is_another_run(tmp_path):
    run(normal(), full_synthetic(), 4, 2, 1, stream(1), checkpoint=tmp_path)
    other = normal(fit=lambda items: np.array([2 * items.mean()]))
    with pytest.raises(ValueError, match=r"of another run \(learner differs\)"):
        run(other, full_synthetic(), 4, 2, 1, stream(1), checkpoint=tmp_path)


def test_parameters_of_nested_models():
    model = [{"w": np.arange(4.0).reshape(2, 2), "b": (0.5, 7), "name": "x"}] * 3
    learner = normal()
    vector = to_vector(model, learner)
    assert vector.tolist() == [[0, 1, 2, 3, 0.5]] * 3
    (back,) = learner.from_vector(vector[:1] + 1, model[:1])
    assert back["w"].tolist() == [[1, 2], [3, 4]]
    assert back["b"] == (1.5, 7)
    assert back["name"] == "x"
    with pytest.raises(TypeError, match="no floats in a str"):
        to_vector(["text"], learner)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.8, "bounded in mean square"), (1.4, "divergent")]
)
def test_the_criterion_knows_the_side(factor, verdict):
    learner = normal(fit=lambda items: np.array([factor * items.mean()]))
    data = learner.sample([learner.truth], np.ones(1), np.array([30]), stream(1, "data"))
    options = {"repetitions": 40}
    found = collapse_criterion(learner, data, fixed_real(0.1), 30, 5, stream(1, "c"), **options)
    assert found.verdict == verdict
    assert found.mean.radius == pytest.approx(0.9 * factor)


def test_a_given_sample():
    learner = normal()
    data = learner.sample([truth], np.ones(1), np.full(2, 6), stream(1, "given"))
    frame = run(learner, fixed_real(0.5), 6, 2, 2, stream(1), first=First(data))
    assert frame["mean"][:2].tolist() == [items.values.mean() for items in data]


def test_items_of_ones_own_as_a_sample():
    """Real, of round 1, and the same in every repetition."""
    learner, items = normal(), np.arange(4.0)
    frame = run(learner, fixed_real(0.5), 4, 2, 3, stream(1), first=First(learner.given(items, 3)))
    assert frame["mean"][:3].tolist() == [1.5] * 3
    (sample,) = learner.given(items)
    assert [part.tolist() for part in sample.sources] == [[0] * 4, [1] * 4]


@pytest.mark.parametrize("data", [np.arange(4.0), [1.0, 2.0], [np.arange(4.0)]])
def test_the_criterion_says_at_once_what_a_sample_is(data):
    with pytest.raises(TypeError, match=r"as Each.sample gives it, not .*; given\(items\)"):
        collapse_criterion(normal(), data, fixed_real(0.5), 4, 2, stream(1))


def test_track_may_ask_for_the_round():
    seen = []

    def watch(model, round):
        seen.append(round.rng.random())
        return {"number": round.number}

    frame = run(normal(track=watch), full_synthetic(), 5, 3, 2, stream(1))
    assert frame["number"].tolist() == [1, 1, 2, 2, 3, 3]
    assert len(set(seen)) == 6, "a generator for every model"
    assert check_learner(normal(track=watch)) == []


# --- Networks ------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    """A place, and a layer that behaves otherwise while it is trained."""

    def __init__(self):
        super().__init__()
        self.place = torch.nn.Parameter(torch.zeros(1))
        self.norm = torch.nn.BatchNorm1d(1)


def networks(**options):
    def tune(items, previous):
        network, x = (previous or Net()).train(), torch.from_numpy(items).float()[:, None]
        network.norm(x)
        with torch.no_grad():
            network.place += 0.5 * (x.mean() - network.place)
        return network.eval()

    def write(network, count, rng):
        noise = torch.from_numpy(rng.standard_normal((count, 1))).float()
        with torch.no_grad():
            return (network.norm(noise) + network.place).double().numpy()[:, 0]

    def look(network):
        return {"place": network.place.item(), "training": network.training}

    return normal(fit=tune, draw=write, track=look, **options)


def test_a_network_may_be_tuned_in_place_and_older_ones_stay():
    """Generation 2 writes the same whether or not generation 3 was made of it."""
    drawn = {2: [], 3: []}
    for rounds, seen in drawn.items():
        learner = networks()
        run(learner, balanced(), 9, rounds, 1, stream(1),
            observe=lambda t, model, seen=seen: seen.append(model[0]))  # fmt: skip
    assert [n.place.item() for n in drawn[2]] == [n.place.item() for n in drawn[3][:2]]
    assert len({n.place.item() for n in drawn[3]}) == 3


def test_networks_go_through_a_checkpoint(tmp_path):
    assert check_learner(networks(blank=Net)) == []
    call = (fresh_mixture(0.2).accumulated(), 12)
    whole = run(networks(blank=Net), *call, 6, 2, stream(1))
    run(networks(blank=Net), *call, 3, 2, stream(1), checkpoint=tmp_path)
    again = run(networks(blank=Net), *call, 6, 2, stream(1), checkpoint=tmp_path)
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    assert not whole["training"].any()


def test_a_network_of_a_type_that_numpy_lacks_goes_through_a_checkpoint():
    def tuned(items, previous):
        mean = torch.tensor(items.mean(), dtype=torch.bfloat16)
        network = blank()
        torch.nn.init.constant_(network.weight, mean)
        return network

    def blank():
        return torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)

    def write(network, count, rng):
        return network.weight.item() + rng.standard_normal(count)

    learner = normal(fit=tuned, draw=write, track=lambda n: {"w": n.weight.item()}, blank=blank)
    assert check_learner(learner) == []
    model = learner.fit(learner.given(np.arange(7) / 3), None, Round(1, stream(1)))
    (again,) = learner.unpack(learner.pack(model))
    assert again.weight.dtype == torch.bfloat16
    assert torch.equal(again.weight, model[0].weight)


def test_without_a_blank_network_a_checkpoint_says_what_is_missing(tmp_path):
    with pytest.raises(TypeError, match=r"to keep a Net in a checkpoint, Each needs blank="):
        run(networks(), full_synthetic(), 5, 2, 1, stream(1), checkpoint=tmp_path)


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"fit": None}, TypeError, "fit must be a function, not NoneType"),
        ({"score": 3}, TypeError, "score must be a function, not int"),
        ({"truth": []}, ValueError, "there are no real items"),
        ({"truth": "text"}, TypeError, "items are an array .* or a data frame, not str"),
    ],
)
def test_functions_that_are_none(changes, error, message):
    with pytest.raises(error, match=message):
        normal(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"draw": lambda model, count, rng: np.zeros(count - 1)},
            ValueError,
            "draw returned 3 items where 4 were due",
        ),
        (
            {"truth": lambda count, rng: np.zeros(count + 1)},
            ValueError,
            "truth returned 5 items where 4 were due",
        ),
        ({"fit": lambda items: None}, ValueError, "fit returned None"),
        ({"draw": lambda model, count, rng: 3.0}, TypeError, "items are .*, not float"),
    ],
)
def test_what_functions_return_is_looked_at(changes, error, message):
    with pytest.raises(error, match=message):
        run(normal(**changes), full_synthetic(), 4, 3, 2, stream(1))


@pytest.mark.parametrize("other", [{"a": [1.0, 2.0, 3.0]}, {"b": [1.0, 2.0]}, {}])
def test_what_is_tracked_must_not_differ_between_models(other):
    calls = []

    def changing(model):
        calls.append(model)
        return other if len(calls) == 4 else {"a": [1.0, 2.0]}

    with pytest.raises(ValueError, match="track must give the same numbers for every model"):
        run(normal(track=changing), balanced(), 4, 3, 2, stream(1))
    assert len(calls) == 4, "of the second round"


def test_items_of_two_kinds():
    mixed = normal(draw=lambda model, count, rng: [0.0] * count, fit=lambda items: np.zeros(1))
    with pytest.raises(TypeError, match="items of one kind, not list and ndarray"):
        run(mixed, balanced(), 40, 3, 2, stream(1))


def test_too_large_a_part():
    learner = normal()
    data = learner.sample([truth], np.ones(1), np.array([5]), stream(1))
    with pytest.raises(ValueError, match="cannot take 6 items from a sample of 5"):
        learner.subset(data, 6, stream(1))


def test_size_schedules_and_a_round_by_hand():
    frame = run(normal(), balanced(), Size.power(2, 1), 3, 2, stream(1))
    assert frame["drawn"].tolist() == [2, 2, 4, 4, 6, 6]
    model = normal().fit(
        normal().sample([truth], np.ones(1), np.array([3, 4]), stream(1)), None, Round(1, stream(2))
    )
    assert len(model) == 2
