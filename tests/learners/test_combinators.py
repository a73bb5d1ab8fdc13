"""Learners made of learners: averages over generations, communities, curation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stlcore.cycles import balanced, coevolving, fixed_real, fresh_mixture, general
from stlcore.laws import GAUSSIAN, NormalMixture
from stlcore.learners.averaged import Averaged
from stlcore.learners.categorical import Categorical
from stlcore.learners.community import Community
from stlcore.learners.curated import Curated
from stlcore.learners.each import Each
from stlcore.learners.gaussian import Gaussian, GaussianMean
from stlcore.learners.kde import KernelDensity
from stlcore.loop import run
from stlcore.pages.repository import ROOT
from stlcore.streams import stream

TRUTH = [0.5, 0.3, 0.2]
KERNEL = KernelDensity(NormalMixture.standard(), GAUSSIAN, 0.4, np.linspace(-6, 6, 121))


def column(learner, name="squared_error", cycle=None, rounds=5, seed=1):
    cycle = fresh_mixture(0.3) if cycle is None else cycle
    return run(learner, cycle, 20, rounds, 30, stream(seed))[name].to_numpy()


@pytest.mark.parametrize("learner", [Categorical(TRUTH), GaussianMean(1, 2)])
def test_a_gain_of_one_changes_nothing_and_one_of_zero_stops_the_loop(learner):
    assert np.array_equal(column(Averaged(learner, np.ones(5))), column(learner))
    stopped = column(Averaged(learner, [1, 0, 0, 0, 0])).reshape(5, 30)
    assert np.array_equal(stopped, np.tile(stopped[0], (5, 1)))


def test_an_average_needs_to_know_what_lies_between_two_models():
    for learner in (KERNEL, Gaussian(0, 1)):
        with pytest.raises(TypeError, match="cannot say what lies between"):
            Averaged(learner, [1, 0.5])
    with pytest.raises(ValueError, match="gains for 2 rounds, but this is round 3"):
        column(Averaged(Categorical(TRUTH), [1, 0.5]))
    with pytest.raises(ValueError, match="finite gain"):
        Averaged(Categorical(TRUTH), [1, np.nan])


def test_a_community_of_one_is_its_member():
    for learner, name in ((Categorical(TRUTH), "squared_error"), (KERNEL, "tv")):
        alone = column(Community(learner, [[1]]), f"{name}[0]")
        assert np.array_equal(alone, column(learner, name))


@pytest.mark.parametrize("learner", [Categorical(TRUTH), GaussianMean(1, 2), KERNEL])
@pytest.mark.parametrize("cycle", [fresh_mixture(0.3), fresh_mixture(0), coevolving(0.3, 0.2)])
def test_communities_compose_with_learners_and_cycles(learner, cycle):
    mixing = np.array([[0.7, 0.3, 0], [0.1, 0.8, 0.1], [0, 0, 1]])
    frame = run(Community(learner, mixing), cycle, 20, 4, 25, stream(2))
    names = [c for c in frame if c.endswith("]")]
    assert len(names) % 3 == 0
    assert np.isfinite(frame[names].to_numpy()).all()


def test_a_member_that_reads_one_other_draws_from_that_one():
    """With mixing rows that name one model, and huge samples, models are copies."""
    seen = {}
    run(
        Community(Categorical(TRUTH), [[0, 1], [0, 1]]),
        fresh_mixture(0),
        10**8,
        3,
        20,
        stream(3),
        observe=lambda t, model: seen.update({t: model}),
    )
    assert seen[3][0] == pytest.approx(seen[2][1], abs=1e-3)


def test_wrong_mixing_is_refused():
    with pytest.raises(ValueError, match="one row and one column"):
        Community(Categorical(TRUTH), np.ones((2, 3)) / 3)
    with pytest.raises(ValueError, match="must be a law"):
        Community(Categorical(TRUTH), np.ones((2, 2)))


def test_curation_that_keeps_all_changes_nothing():
    for learner, name in ((Categorical(TRUTH), "squared_error"), (KERNEL, "tv")):
        assert np.array_equal(
            column(Curated(learner, lambda model: model), name), column(learner, name)
        )


def test_models_of_one_class_do_not_exceed_one_by_rounding():
    """Weights such as 0.7 and three times 0.1 can sum to more than 1."""
    weights = np.array([0.7, 0.1, 0.1, 0.1])
    models = [np.array([[0.0, 1.0]])] * 4
    counts = Categorical([0.5, 0.5]).sample(models, weights, np.array([9]), stream(1))
    assert counts.tolist() == [[0, 9]]


# --- What goes with what ---------------------------------------------------------------------


def own_mean(numbers):
    return float(np.mean(numbers))


def own_draw(mean, count, rng):
    return mean + rng.standard_normal(count)


OWN = Each(
    lambda count, rng: rng.standard_normal(count),
    own_mean,
    own_draw,
    score=lambda numbers: -np.abs(numbers),
    track=lambda mean: {"mean": mean},
)
LEARNERS = {
    "`Categorical`": Categorical(TRUTH),
    "`GaussianMean`": GaussianMean(0, 1),
    "`KernelDensity`": KERNEL,
    "`Each`, with a score": OWN,
}
FRESH = fresh_mixture(0.3)
READS = [[0.7, 0.3], [0.4, 0.6]]


def same(model):
    return model


CYCLES = {
    "`fresh_mixture`, `general`, `balanced`, `coevolving`": [
        FRESH,
        general([0.3, 0.3], [[0.7], [0.3, 0.4]]),
        balanced(),
        coevolving(0.3, 0.2),
    ],
    "`fixed_real`": [fixed_real(0.3)],
    "`.accumulated()`": [FRESH.accumulated()],
    "`.accumulated(window=...)`": [FRESH.accumulated(window=2)],
    "`.accumulated(budget=...)`": [FRESH.accumulated(budget=12)],
    "`.exact()`": [FRESH.exact()],
    "`.filtered(...)`": [FRESH.filtered(0.1, 0.4)],
    "`.selected(...)`": [FRESH.selected(0.5), FRESH.exact().selected(0.5).accumulated(budget=15)],
}
MADE = {
    "`Averaged`": lambda learner: Averaged(learner, [1, 0.5, 0.4]),
    "`Community`": lambda learner: Community(learner, READS),
    "`Curated`": lambda learner: Curated(learner, same),
}


def short_run(learner, cycle, seed=4):
    frame = run(learner, cycle, 12, 3, 4, stream(seed))
    return frame.drop(columns=["round", "repetition"]).to_numpy()


def table():
    """The rows of the page: what a piece says under each learner."""
    text = (ROOT / "book" / "found.md").read_text(encoding="utf-8").split("## What goes with what")
    rows = [line.strip("|").split(" | ") for line in text[1].splitlines() if line[:1] == "|"]
    heads = [head.strip() for head in rows[0]]
    return {
        row[0].strip(): dict(zip(heads[2:], map(str.strip, row[2:]), strict=True))
        for row in rows[2:]
    }


def test_the_page_says_what_goes_with_what():
    rows = table()
    assert rows.keys() == CYCLES.keys() | MADE.keys()
    for piece, cells in rows.items():
        assert cells.keys() == LEARNERS.keys()
        for name, said in cells.items():
            for cycle in CYCLES.get(piece, [FRESH]):
                build = MADE.get(piece, same)
                if said.startswith("yes"):
                    assert np.isfinite(short_run(build(LEARNERS[name]), cycle)).all()
                else:
                    assert said.startswith("refused: ")
                    with pytest.raises((TypeError, ValueError)) as refusal:
                        short_run(build(LEARNERS[name]), cycle)
                    assert len(str(refusal.value).splitlines()) == 1


@settings(max_examples=40)
@given(
    st.sampled_from([*LEARNERS]),
    st.sampled_from([*CYCLES]),
    st.lists(st.sampled_from([*MADE]), max_size=3),
)
def test_pieces_in_pieces(name, kind, made):
    """What fits a learner fits whatever is made of it, to any depth; what does not is refused."""
    rows, learner = table(), LEARNERS[name]
    fits = all(rows[piece][name].startswith("yes") for piece in (kind, *made))
    try:
        for piece in made:
            learner = MADE[piece](learner)
        found = [short_run(learner, cycle) for cycle in CYCLES[kind]]
    except (TypeError, ValueError):
        assert not fits
    else:
        assert fits
        assert all(np.isfinite(numbers).all() for numbers in found)


@settings(max_examples=40)
@given(st.sampled_from([*LEARNERS]), st.sampled_from([*CYCLES]), st.integers(1, 100))
def test_pieces_that_change_nothing(name, kind, seed):
    learner, cells = LEARNERS[name], table()
    if not cells[kind][name].startswith("yes"):
        return
    for cycle in CYCLES[kind]:
        plain = short_run(learner, cycle, seed)
        alone = [Curated(learner, same), Community(learner, [[1]])]
        if cells["`Averaged`"][name].startswith("yes"):
            alone.append(Averaged(learner, np.ones(3)))
        for one in alone:
            assert np.array_equal(short_run(one, cycle, seed), plain)


@pytest.mark.parametrize("name", ["`Categorical`", "`Each`, with a score"])
@pytest.mark.parametrize("cycle", [FRESH, coevolving(0.3, 0.2), FRESH.accumulated(window=2)])
def test_a_checkpoint_takes_them_up_again(name, cycle, tmp_path):
    learners = [Community(LEARNERS[name], READS)]
    if hasattr(LEARNERS[name], "between"):
        learners.append(Averaged(LEARNERS[name], [1, 0.5, 0.4]))
    for k, learner in enumerate(learners):
        whole = run(learner, cycle, 12, 3, 4, stream(5))
        run(learner, cycle, 12, 2, 4, stream(5), checkpoint=tmp_path / str(k))
        again = run(learner, cycle, 12, 3, 4, stream(5), checkpoint=tmp_path / str(k))
        assert again.equals(whole)


def test_a_tilt_keeps_no_checkpoint(tmp_path):
    with pytest.raises(TypeError, match="no identity"):
        run(Curated(Categorical(TRUTH), same), FRESH, 12, 3, 4, stream(5), checkpoint=tmp_path)


def test_other_gains_are_another_run(tmp_path):
    run(Averaged(Categorical(TRUTH), [1, 0.5]), FRESH, 12, 2, 4, stream(5), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="another run"):
        run(Averaged(Categorical(TRUTH), [1, 0.4]), FRESH, 12, 2, 4, stream(5), checkpoint=tmp_path)


def test_members_have_generators_of_their_own():
    """A fit that draws noise from its round draws another for every member."""
    noisy = Each(
        lambda count, rng: rng.standard_normal(count),
        lambda numbers, round: float(round.rng.standard_normal()),
        own_draw,
        track=lambda mean: {"mean": mean},
    )
    found = short_run(Community(noisy, READS), FRESH)[:, -2:]
    assert np.unique(found).size == found.size
