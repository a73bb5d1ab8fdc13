"""Checkpoints: a run that is stopped ends with the numbers of one that is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.base import Diverged
from stlcore.learners.categorical import Categorical
from stlcore.learners.gaussian import Gaussian
from stlcore.loop import run
from stlcore.streams import stream

TRUTH = np.array([0.4, 0.3, 0.2, 0.1])
CYCLES = {
    "fresh mixture": fresh_mixture(0.3),
    "accumulate": full_synthetic().accumulated(),
    "all generations": balanced(),
    "fixed real": fixed_real(0.3),
    "fixed real, accumulate": fixed_real(0.3).accumulated(),
    "filter": fresh_mixture(0.2).filtered(0.1, 0.3),
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
    while not folder.exists() or len(list(folder.glob("*.safetensors"))) == 0:
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


def interrupted(folder):
    learner = Stops(TRUTH)
    learner.stop_at = 4
    with pytest.raises(Stopped):
        call(learner, checkpoint=folder)
    return folder / "checkpoint.safetensors"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8],
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: data.replace(b"PCG64", b"PCG65"),
        lambda data: b"no checkpoint at all",
    ],
    ids=["empty", "half", "short", "one bit", "text", "other file"],
)
def test_damaged(tmp_path, damage):
    file = interrupted(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint .* is damaged: delete it"):
        call(Stops(TRUTH), checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"seed": 2}, "seed"),
        ({"sizes": 31}, "sizes"),
        ({"rounds": 7}, "sizes"),
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
