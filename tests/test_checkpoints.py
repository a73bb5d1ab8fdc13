"""Checkpoints: a run that is stopped ends with the numbers of one that is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.base import Diverged
from stlcore.learners.categorical import Categorical
from stlcore.learners.each import Each
from stlcore.learners.gaussian import Gaussian
from stlcore.loop import First, run
from stlcore.schedules import Size
from stlcore.streams import stream

TRUTH = np.array([0.4, 0.3, 0.2, 0.1])
CYCLES = {
    "fresh mixture": fresh_mixture(0.3),
    "accumulate": full_synthetic().accumulated(),
    "all generations": balanced(),
    "fixed real": fixed_real(0.3),
    "fixed real, accumulate": fixed_real(0.3).accumulated(),
    "filter": fresh_mixture(0.2).filtered(0.1, 0.3),
    "exact": fresh_mixture(0.3).exact(),
    "window": fresh_mixture(0.3).accumulated(window=3),
    "window, fixed real": fixed_real(0.3).accumulated(window=2),
    "budget": fresh_mixture(0.3).accumulated(budget=40),
}


class Stopped(Exception):
    """Raised in the middle of a run."""


class Stops(Categorical):
    """A categorical learner that stops in one round, before or after it has drawn."""

    stop_at = None
    fits = 0

    def identity(self):
        return {"class": "Categorical", **super().identity()}

    def fit(self, sample, previous=None):
        self.fits += 1
        if self.fits == self.stop_at:
            raise Stopped
        return super().fit(sample, previous)


def call(learner, cycle=CYCLES["fresh mixture"], *, sizes=30, seed=1, rounds=6, **options):
    return run(learner, cycle, sizes, rounds, 5, stream(seed, "run"), **options)


@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
@pytest.mark.parametrize("stop_at", [1, 2, 4, 6])
def test_resumed_equals_uninterrupted(tmp_path, cycle, stop_at):
    folder = tmp_path / "run"
    whole = call(Stops(TRUTH), cycle)
    learner = Stops(TRUTH)
    learner.stop_at = stop_at
    with pytest.raises(Stopped):
        call(learner, cycle, checkpoint=folder)
    seen = []
    learner = Stops(TRUTH)
    frame = call(learner, cycle, checkpoint=folder, observe=lambda t, _: seen.append(t))
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    assert seen == list(range(stop_at, 7)), "finished rounds are not run again"
    assert learner.fits == 7 - stop_at


def test_a_finished_run_is_only_read(tmp_path):
    whole = call(Stops(TRUTH), checkpoint=tmp_path)
    learner = Stops(TRUTH)
    frame = call(learner, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    assert learner.fits == 0


def test_repetitions_added_later(tmp_path):
    def repetitions(count):
        learner = Stops(TRUTH)
        frames = [
            run(learner, balanced(), 20, 3, 1, stream(1, "run", r), checkpoint=tmp_path / str(r))
            for r in range(count)
        ]
        return pd.concat(frames, ignore_index=True), learner.fits

    few, fits = repetitions(2)
    assert fits == 2 * 3
    more, fits = repetitions(5)
    assert fits == 3 * 3, "the finished repetitions are used again"
    pd.testing.assert_frame_equal(more[: len(few)], few, check_exact=True)


def test_killed_in_the_middle(tmp_path):
    """SIGKILL while rounds go by: the file is whole and the run ends as if nothing had happened."""
    folder = tmp_path / "run"
    code = (
        "import time\n"
        "from test_checkpoints import *\n"
        f"call(Stops(TRUTH), rounds=40, checkpoint={str(folder)!r},"
        " observe=lambda t, _: time.sleep(0.01))"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 60
    while not folder.exists() or len(list(folder.glob("round-*.npz"))) == 0:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never started"
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    learner = Stops(TRUTH)
    frame = call(learner, rounds=40, checkpoint=folder)
    assert 0 < learner.fits < 40, "some rounds were done and some were left"
    pd.testing.assert_frame_equal(frame, call(Stops(TRUTH), rounds=40), check_exact=True)


@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
def test_a_finished_run_goes_on_to_more_rounds(tmp_path, cycle):
    call(Stops(TRUTH), cycle, rounds=4, checkpoint=tmp_path)
    learner = Stops(TRUTH)
    longer = call(learner, cycle, rounds=9, checkpoint=tmp_path)
    assert learner.fits == 5
    pd.testing.assert_frame_equal(longer, call(Stops(TRUTH), cycle, rounds=9), check_exact=True)
    shorter = call(Stops(TRUTH), cycle, rounds=2, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(shorter, longer[longer["round"] <= 2], check_exact=True)


def test_a_sequence_of_sizes_may_grow_at_its_end(tmp_path):
    call(Stops(TRUTH), sizes=Size.explicit([9, 5, 7]), rounds=3, checkpoint=tmp_path)
    longer = call(Stops(TRUTH), sizes=Size.explicit([9, 5, 7, 8]), rounds=4, checkpoint=tmp_path)
    assert longer["drawn"].to_numpy()[::5].tolist() == [9, 5, 7, 8]
    with pytest.raises(ValueError, match=r"of another run \(size differs\)"):
        call(Stops(TRUTH), sizes=Size.explicit([9, 6, 7, 8]), rounds=4, checkpoint=tmp_path)


class Rows(Each):
    """Keeps its data, so that a checkpoint has something to write."""

    def __init__(self):
        super().__init__(
            lambda count, rng: rng.standard_normal((count, 50)),
            lambda items: items.mean(axis=0),
            lambda model, count, rng: model + rng.standard_normal((count, 50)),
        )


def written(folder):
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize("options", [{}, {"window": 3}])
def test_an_accumulating_run_writes_every_item_once(tmp_path, options):
    """Bytes in all are linear in the data, and no file is written twice."""
    cycle = full_synthetic().accumulated(**options)
    stamps = []

    def look(t, model):
        stamps.append({file: file.stat().st_mtime_ns for file in tmp_path.glob("round-*.npz")})

    run(Rows(), cycle, 100, 20, 2, stream(1, "rows"), checkpoint=tmp_path, observe=look)
    data = 20 * 2 * 100 * (50 + 2) * 8  # rounds, repetitions, items, numbers and sources, bytes
    assert data < written(tmp_path) < 1.1 * data + 20 * 12_000
    for before, after in pairwise(stamps):
        assert {file: after[file] for file in before} == before
    again = run(Rows(), cycle, 100, 22, 2, stream(1, "rows"), checkpoint=tmp_path)
    whole = run(Rows(), cycle, 100, 22, 2, stream(1, "rows"))
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def test_models_that_nothing_needs_go(tmp_path):
    call(Stops(TRUTH), rounds=6, checkpoint=tmp_path / "one")
    assert [file.name for file in (tmp_path / "one").glob("model-*")] == ["model-000006.npz"]
    call(Stops(TRUTH), balanced(), rounds=6, checkpoint=tmp_path / "all")
    assert len(list((tmp_path / "all").glob("model-*"))) == 6


def test_numbers_of_numpy_in_an_identity(tmp_path):
    class Numbered(Stops):
        def identity(self):
            return {"classes": np.int64(4), "truth": self.truth, "rate": np.float32(0.5)}

    call(Numbered(TRUTH), checkpoint=tmp_path)
    assert len(call(Numbered(TRUTH), checkpoint=tmp_path)) == 30


def test_what_is_no_number_in_an_identity(tmp_path):
    class Described(Stops):
        def identity(self):
            return {"by": len}

    with pytest.raises(TypeError, match="must hold numbers and texts, but here is a builtin_func"):
        call(Described(TRUTH), checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_packing_that_loses_something_is_refused_in_round_1(tmp_path):
    class Lossy(Stops):
        def unpack(self, arrays):
            return super().unpack(arrays).astype(np.float32)

    with pytest.raises(ValueError, match=r"Lossy.unpack does not give back the model that pack"):
        call(Lossy(TRUTH), checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_given_start_is_part_of_the_run(tmp_path):
    start = First(model=np.tile([0.25] * 4, (5, 1)))
    whole = call(Stops(TRUTH), first=start)
    call(Stops(TRUTH), first=start, rounds=3, checkpoint=tmp_path)
    again = call(Stops(TRUTH), first=start, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    other = First(model=np.tile(TRUTH, (5, 1)))
    with pytest.raises(ValueError, match=r"of another run \(given differs\)"):
        call(Stops(TRUTH), first=other, checkpoint=tmp_path)


def test_rounds_of_a_learner_that_asks_for_them_go_on_with_their_own_numbers(tmp_path):
    class Noisy(Stops):
        def fit(self, sample, previous=None, round=None):
            model = super().fit(sample, previous)
            return 0.9 * model + 0.1 * round.rng.dirichlet(np.ones(4), size=len(model))

    whole = call(Noisy(TRUTH))
    call(Noisy(TRUTH), rounds=3, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(call(Noisy(TRUTH), checkpoint=tmp_path), whole, check_exact=True)


def test_a_rule_that_ended_a_run_ends_it_again(tmp_path):
    def stop(t, columns):
        return t == 3

    ended = call(Stops(TRUTH), stop=stop, checkpoint=tmp_path)
    assert ended["round"].max() == 3
    learner = Stops(TRUTH)
    assert call(learner, stop=stop, checkpoint=tmp_path).equals(ended)
    assert learner.fits == 0
    assert call(learner, checkpoint=tmp_path).equals(call(Stops(TRUTH)))


def interrupted(folder):
    learner = Stops(TRUTH)
    learner.stop_at = 4
    with pytest.raises(Stopped):
        call(learner, checkpoint=folder)
    return folder / "round-000003.npz"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8],
        lambda data: data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:],
        lambda data: data.replace("PCG64".encode("utf-32-le"), "PCG65".encode("utf-32-le")),
        lambda data: b"no checkpoint at all",
    ],
    ids=["empty", "half", "short", "one bit", "text", "other file"],
)
def test_damaged(tmp_path, damage):
    file = interrupted(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint .* is damaged: delete .* to start"):
        call(Stops(TRUTH), checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"seed": 2}, "seed"),
        ({"sizes": 31}, "size"),
        ({"cycle": fresh_mixture(0.4)}, "cycle"),
        ({"learner": Stops(np.array([0.5, 0.5]))}, "learner"),
    ],
)
def test_of_another_run(tmp_path, other, name):
    interrupted(tmp_path)
    learner = other.pop("learner", Stops(TRUTH))
    with pytest.raises(ValueError, match=rf"is of another run \({name} differs\)"):
        call(learner, checkpoint=tmp_path, **other)


def test_a_learner_that_cannot(tmp_path):
    with pytest.raises(TypeError, match="Gaussian has no identity, pack and unpack"):
        run(Gaussian(0, 1), full_synthetic(), 9, 2, 1, stream(1), checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_a_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="must be a folder"):
        call(Stops(TRUTH), checkpoint=tmp_path / "file")


@pytest.mark.parametrize("round_", [1, 3])
def test_diverged_names_the_round_and_keeps_the_rounds_before(round_):
    class Explodes(Stops):
        def fit(self, sample, previous=None):
            try:
                return super().fit(sample, previous)
            except Stopped:
                raise Diverged("the loss is no number") from None

    learner = Explodes(TRUTH)
    learner.stop_at = round_
    with pytest.raises(Diverged, match=f"diverged in round {round_}: the loss is no n") as caught:
        call(learner)
    whole = call(Stops(TRUTH))
    assert len(caught.value.frame) == 5 * (round_ - 1)
    if round_ > 1:
        before = whole[whole["round"] < round_]
        pd.testing.assert_frame_equal(caught.value.frame, before, check_exact=True)
