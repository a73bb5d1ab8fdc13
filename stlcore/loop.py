"""The loop. Every experiment of the three papers is this one function.

A round draws a training set as the data cycle says, fits the learner to it and
records what the learner tracks. The loop knows no learner by name.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from stlcore.checkpoints import Checkpoint, generator_state
from stlcore.checks import check_count
from stlcore.cycles import Cycle
from stlcore.learners.base import (
    CountsItems,
    Couples,
    Diverged,
    FiniteTruth,
    Learner,
    LosesRepetitions,
    Origin,
    PoolsSamples,
    Resumes,
    ReusesSamples,
    Round,
    Selects,
    array_copies,
    arrays_in,
    same_array,
    split,
    wants,
)
from stlcore.schedules import Size, as_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["First", "fresh_items", "run", "run_pair"]

OWN = ("round", "repetition", "drawn", "trained")  # the loop's own columns
LOST = "[lost]"  # which repetitions are, in the record of a checkpoint


class First(NamedTuple):
    """Round 1 as it is given, in place of one that is drawn and fitted."""

    sample: Any = None
    """What round 1 trains on; of the size of round 1."""
    part: Any = None
    """The part of it that a cycle with fixed real data uses again; by default drawn anew."""
    model: Any = None
    """The model of round 1; by default fitted to the sample."""


def run(
    learner: Learner,
    cycle: Cycle,
    sizes: Size | int,
    rounds: int,
    repetitions: int,
    rng: np.random.Generator,
    *,
    first: First | None = None,
    truth: Any = None,
    observe: Callable[[int, Any], None] | None = None,
    stop: Callable[[int, Mapping[str, np.ndarray]], bool] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Run a self-consuming training loop.

    Parameters
    ----------
    learner : Learner
        What trains; see :mod:`stlcore.learners.base`.
    cycle : Cycle
        What each round eats; see :mod:`stlcore.cycles`.
    sizes : Size or int
        Items drawn in each round, before any filter; a number means the same every round.
    rounds, repetitions : int
        Rounds of the loop, and independent runs of it (one array axis).
    rng : numpy.random.Generator
        The only source of randomness.
    first : First, optional
        A given first sample or first model.
    truth : model, optional
        What real items are drawn from; by default the learner's truth.
    observe : callable, optional
        Called as ``observe(t, model)`` after the fit of round t.
    stop : callable, optional
        Called as ``stop(t, columns)`` with the numbers recorded in round t; the loop ends
        after the first round for which it returns True.
    progress : bool
        Show a progress bar over the rounds.
    checkpoint : path, optional
        A folder for this run alone. Every round adds a file to it, and the same call, or
        one with more rounds, takes the run up again with the same numbers to come;
        ``observe`` is not called again for the rounds that are done.

    Returns
    -------
    pandas.DataFrame
        One row per round and repetition: ``round`` and ``repetition`` (both from 1);
        ``drawn``, the new items of the round that it keeps: drawn in this round, from the
        truth or from a model, and thrown away neither by a filter nor by a selection;
        ``trained``, the items in its training set, each counted once; and a column for
        each number the learner tracks, missing where a repetition is lost. A tidy frame,
        because that is what seaborn draws and parquet stores; ``frame.pivot(index="round",
        columns="repetition", values=...)`` gives the array back.

    Raises
    ------
    TypeError
        If the learner lacks what the cycle or a checkpoint needs, or ``rng`` is no generator.
    ValueError
        If a schedule is shorter than the rounds, a count is not positive, real items run
        out, the learner returns what it should not, or the checkpoint is damaged or of
        another run.
    Diverged
        If a fit is no longer finite, and the learner cannot tell in which repetitions, or
        it is in all of them.

    Notes
    -----
    Whatever stops a loop, an interrupt from the keyboard too, carries the rounds before as
    ``frame``.
    """
    rounds = check_count("rounds", rounds)
    loop = _Loop(learner, cycle, sizes, rounds, repetitions, rng, first, truth)
    store = None
    if checkpoint is not None:
        store = Checkpoint(checkpoint, loop.identity(), learner, cycle)
    loop.open_truth(truth)
    if store is not None and (saved := store.load(rng, loop.plan)):
        loop.restore(saved, rng)
        for t, record in enumerate(loop.records[:rounds], start=1):
            if t == rounds or (stop is not None and stop(t, record)):
                return loop.frame(t)
    left = range(loop.rounds + 1, rounds + 1)
    for t in tqdm(left, "rounds", rounds, initial=loop.rounds, disable=not progress, leave=False):
        with loop.keeping_the_frame(t):
            loop.step(t, rng)
            if observe is not None:
                observe(t, loop.models[-1])
            if store is not None:
                store.save(t, loop.plan[t - 1], loop.news(), loop.record(), rng)
            if stop is not None and stop(t, loop.records[-1]):
                break
    return loop.frame()


def run_pair(
    learner: Learner,
    cycle: Cycle,
    sizes: Size | int,
    rounds: int,
    repetitions: int,
    rng: np.random.Generator,
    firsts: tuple[First, First],
    *,
    truth: Any = None,
    observe: Callable[[int, Any, Any], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run two loops in step, on the same random numbers.

    Each round has a generator of its own, and both loops draw from copies of it, so that
    one that needs more numbers in a round does not put the next round out of step. A learner
    with ``coupled`` draws by it (:class:`~stlcore.learners.base.Couples`).

    Parameters
    ----------
    learner, cycle, sizes, rounds, repetitions, rng, truth
        As in :func:`run`.
    firsts : pair of First
        Where the two loops start.
    observe : callable, optional
        Called as ``observe(t, model, other)`` after both fits of round t.

    Returns
    -------
    pair of pandas.DataFrame
        As :func:`run` gives them.
    """
    rounds = check_count("rounds", rounds)
    loops = [
        _Loop(learner, cycle, sizes, rounds, repetitions, rng, first, truth, paired=True)
        for first in firsts
    ]
    state = copy.deepcopy(rng)
    for loop in loops:
        loop.open_truth(truth, copy.deepcopy(state))
    for t in range(1, rounds + 1):
        shared = rng.spawn(1)[0] if any(loop.needs_numbers(t) for loop in loops) else rng
        for loop in loops:
            with loop.keeping_the_frame(t):
                loop.step(t, copy.deepcopy(shared))
        if observe is not None:
            observe(t, *(loop.models[-1] for loop in loops))
    return tuple(loop.frame() for loop in loops)


def fresh_items(cycle: Cycle, sizes: Size | int | np.ndarray, rounds: int | None = None) -> int:
    """Real items that a run needs if it never uses one twice.

    Parameters
    ----------
    cycle : Cycle
        What each round eats; the counts are those of the cycle with exact ones.
    sizes : Size, int or ndarray
        Items drawn in each round; with a filter the number needed is at most what is returned.
    rounds : int, optional
        Rounds of the loop; ``len(sizes)`` for an array.

    Returns
    -------
    int
        The number for one repetition, items re-used by :func:`~stlcore.cycles.fixed_real` once.
    """
    if not isinstance(sizes, np.ndarray):
        sizes = as_size(sizes).values(rounds)
    total = 0
    for t, size in enumerate(sizes, start=1):
        weights = cycle.weights(t)
        again = int(np.rint(weights.first * size))
        used, share = _laws(weights)
        if again < size and used[0] == 0:
            total += int(split(share, int(size) - again)[0])
    return total


class _Loop:
    """One loop and what it carries from one round to the next."""

    def __init__(
        self, learner, cycle, sizes, rounds, repetitions, rng, first, truth, *, paired=False
    ) -> None:
        self.repetitions = check_count("repetitions", repetitions)
        self.sizes = as_size(sizes).values(rounds)
        _check_fit(learner, cycle, rng, first, truth)
        cycle.check_rounds(rounds)
        self.learner, self.cycle, self.first, self.rng = learner, cycle, first, rng
        self.stand_in = truth
        self.draw = learner.coupled if paired and isinstance(learner, Couples) else learner.sample
        self.paired = paired
        self.wanted = {
            method: wants(getattr(learner, method), "round") for method in ("fit", "track")
        }
        self.names_origins = wants(self.draw, "origins")
        self.loses = isinstance(learner, LosesRepetitions)  # slow to ask, so once
        self.models: list[Any] = []
        self.records: list[dict[str, np.ndarray]] = []
        self.gone = np.zeros(self.repetitions, dtype=bool)
        self.pool = _Pool(learner, cycle)
        self.real: _FirstSet | None = None
        self.new: Any = None
        if first is not None:
            self.real = _FirstSet(learner, first.sample, int(self.sizes[0]), first.part)

    @property
    def rounds(self) -> int:
        return len(self.records)

    @cached_property
    def plan(self) -> list[dict[str, Any]]:
        """What each round is to eat, as JSON: a checkpoint is of this run if it ate that."""
        found = []
        for t, size in enumerate(self.sizes, start=1):
            fresh, again, generations = self.cycle.weights(t)
            drawn = {int(k) + 1: float(generations[k]) for k in np.flatnonzero(generations)}
            law = {"fresh": float(fresh), "first": float(again), "generations": drawn}
            found.append({"size": int(size), "cycle": {**law, "kept": self.cycle.kept(t)}})
        return found

    def open_truth(self, truth, rng=None) -> None:
        self.truth = self.learner.truth if truth is None else truth
        if truth is None and isinstance(self.learner, FiniteTruth):
            items = fresh_items(self.cycle, self.sizes)
            self.truth = self.learner.open_truth(items, self.repetitions, rng or self.rng)

    def needs_numbers(self, t: int) -> bool:
        """Whether anything in round t may be random."""
        return t > 1 or self.first is None or any(self.wanted.values())

    # --- One round ---------------------------------------------------------------------------

    def step(self, t: int, rng: np.random.Generator) -> None:
        """One round: draw, fit, record."""
        learner, models = self.learner, self.models
        asked = {method: {} for method in self.wanted}
        if any(self.wanted.values()):
            (own,) = rng.spawn(1)
            asked = {m: {"round": Round(t, own)} if yes else {} for m, yes in self.wanted.items()}
        sample, drawn, trained = self._eat(t, rng)
        if t == 1 and self.first is not None and self.first.model is not None:
            model = self.first.model
        else:
            previous = models[-1] if models else None
            before = array_copies(previous)
            model = learner.fit(sample, previous, **asked["fit"])
            if model is None:
                raise ValueError(f"{type(learner).__name__}.fit returned None, not a model")
            _check_previous(learner, model, previous, before)
        models.append(model)
        if self.cycle.lookback is not None:
            # Keep the positions, free the memory: generation k stays at models[k - 1].
            for old in range(len(models) - self.cycle.lookback):
                models[old] = None
        if self.loses:
            self.gone = self.gone | learner.lost(model)
            if self.gone.all():
                raise Diverged("every repetition is lost")
        columns = self._columns(learner.track(model, **asked["track"]))
        self.records.append({"drawn": drawn, "trained": trained, **columns})

    def _eat(self, t: int, rng) -> tuple[Any, np.ndarray, np.ndarray]:
        """The training set of a round, its new items and all its items."""
        size = int(self.sizes[t - 1])
        whole = np.full(self.repetitions, size, dtype=np.int64)
        if t == 1 and self.first is not None:
            part, new = None, self.first.sample
            drawn = 0 * whole if new is None else whole
        else:
            size = _kept_size(size, self.cycle.kept(t), self.repetitions, rng)
            part, new, drawn = self._draw(t, size, rng)
        if t == 1 and self.first is None and self.cycle.reuses_first:
            self.real = _FirstSet(self.learner, new, int(self.sizes[0]))
        self.new = new
        if new is not None and t & (t - 1) == 0:  # rounds 1, 2, 4, 8, ...: counting takes time
            _check_number(self.learner, new, drawn)
        again, part = (0, None) if part is None else part
        if not self.cycle.pooled:
            return _joined(self.learner, part, new), drawn, again + drawn
        sample, trained = self.pool.add(t, new, drawn)
        if part is not None:
            sample, trained = _joined(self.learner, part, sample), again + trained
        budget = self.cycle.budget
        if budget is not None and trained[0] > budget:
            sample, trained = self.learner.subset(sample, budget, rng), np.full_like(drawn, budget)
        return sample, drawn, trained

    def _draw(self, t: int, size: np.ndarray, rng):
        """The part of the first set that is used again, the new items, and their number."""
        weights = self.cycle.weights(t)
        again, part = int(np.rint(weights.first * size[0])), None
        if again and not (self.cycle.pooled and self.pool.reaches_back(t)):
            part = again, self.real.part(again, rng)
        if again == size[0]:
            return part, None, 0 * size
        size = size - again
        used, share = _laws(weights)
        if t == 1 or self.cycle.selection is None:
            return part, self._sample(t, used, share, size, rng), size
        return part, *self._select(t, used, share, size, rng)

    def _sample(self, t: int, used: np.ndarray, share: np.ndarray, size: np.ndarray, rng):
        """Items of several laws, i.i.d. or with exact counts."""
        laws = [self.truth if k == 0 else self.models[k - 1] for k in used]
        origins = [Origin(int(k), t) for k in used]

        def draw(laws, share, size, origins):
            extra = {"origins": origins} if self.names_origins else {}
            return self.draw(laws, share, size, rng, **extra)

        if not self.cycle.shared_out or len(used) == 1:
            return draw(laws, share, size, origins)
        counts = split(share, size)
        parts = [
            draw([law], np.ones(1), counts[:, k], [origins[k]])
            for k, law in enumerate(laws)
            if counts[:, k].any()
        ]
        return reduce(self.learner.pool, parts)

    def _select(self, t: int, used, share, size, rng) -> tuple[Any, np.ndarray]:
        """The new items with the best scores, and their number."""
        keep, among = self.cycle.selection
        if among == "all" or used[0] != 0:
            kept = np.maximum(np.rint(keep * size).astype(np.int64), 1)
            return self.learner.best(self._sample(t, used, share, size, rng), kept), kept
        if len(used) == 1:
            return self._sample(t, used, share, size, rng), size
        shared_out = self.cycle.shared_out
        real = split(share, size)[:, 0] if shared_out else rng.binomial(size, share[0])
        made, kept = size - real, np.rint(keep * (size - real)).astype(np.int64)
        kept = np.where(made > 0, np.maximum(kept, 1), 0)
        best = None
        if made.any():
            rest = share[1:] / share[1:].sum()
            best = self.learner.best(self._sample(t, used[1:], rest, made, rng), kept)
        fresh = self._sample(t, used[:1], share[:1] / share[0], real, rng) if real.any() else None
        return _joined(self.learner, fresh, best), real + kept

    def _columns(self, tracked: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What was tracked as columns of one number for each repetition."""
        name, columns = type(self.learner).__name__, {}
        if not isinstance(tracked, Mapping):
            raise ValueError(
                f"{name}.track must return a mapping of names to arrays, "
                f"not {type(tracked).__name__}"
            )
        for key, values in tracked.items():
            if key in OWN or not isinstance(key, str):
                raise ValueError(
                    f"{name} tracks {key!r}, but a name must be a text other than " + ", ".join(OWN)
                )
            values = np.asarray(values)
            if values.ndim not in (1, 2) or len(values) != self.repetitions:
                raise ValueError(
                    f"{name} tracks {key!r} of shape {values.shape}, but it must be "
                    f"({self.repetitions},) or ({self.repetitions}, m): one row a repetition"
                )
            if values.dtype.kind not in "biuf":
                raise ValueError(f"{name} tracks {key!r}, which is no number: {values.flat[0]!r}")
            if values.ndim == 1:
                columns[key] = values
            else:
                columns |= {f"{key}[{k}]": column for k, column in enumerate(values.T)}
        if self.records and columns.keys() != self.records[0].keys() - set(OWN):
            other = sorted(columns.keys() ^ (self.records[0].keys() - set(OWN)))
            raise ValueError(
                f"{name} must track the same numbers in every round, but {', '.join(other)} "
                f"differs between round 1 and round {self.rounds + 1}"
            )
        if self.gone.any():
            for key, values in columns.items():
                columns[key] = np.where(self.gone, np.nan, values)
        return columns

    # --- The frame, and what a checkpoint keeps -----------------------------------------------

    def frame(self, rounds: int | None = None) -> pd.DataFrame:
        """The rounds so far, or the first of them."""
        import pandas as pd  # half the time of importing this module, so only when it is needed

        records = self.records[:rounds]
        names = records[0] if records else ()
        return pd.DataFrame(
            {
                "round": np.repeat(np.arange(1, len(records) + 1), self.repetitions),
                "repetition": np.tile(np.arange(1, self.repetitions + 1), len(records)),
                **{name: np.concatenate([r[name] for r in records]) for name in names},
            },
            copy=False,  # nobody else has these arrays
        )

    def keeping_the_frame(self, t: int) -> _KeepsFrame:
        return _KeepsFrame(self, t)

    def identity(self) -> dict[str, Any]:
        """What tells this run from others, apart from what its rounds eat."""
        learner, cycle = self.learner, self.cycle
        if not isinstance(learner, Resumes):
            raise TypeError(
                f"{type(learner).__name__} has no identity, pack and unpack, so it keeps no "
                "checkpoint"
            )
        given = [v for v in (*(self.first or ()), self.stand_in) if v is not None]
        return {
            "learner": {"class": type(learner).__name__, **learner.identity()},
            "cycle": [cycle.pooled, cycle.window, cycle.budget, cycle.selection, cycle.shared_out],
            "repetitions": self.repetitions,
            "seed": {**generator_state(self.rng), "children": _children(self.rng)},
            "given": [_digest(learner.pack(value)) for value in given],
        }

    def news(self) -> dict[str, Any]:
        """All that the last round added to what later rounds need, by name."""
        news = {"model": self.models[-1]}
        if self.cycle.pooled or (self.cycle.reuses_first and self.rounds == 1):
            news["new"] = self.new
        if self.real is not None:
            news |= {f"part {count}": part for count, part in self.real.parts.items()}
        if isinstance(self.learner, FiniteTruth) and self.stand_in is None:
            news["truth"] = self.truth
        return {name: value for name, value in news.items() if value is not None}

    def record(self) -> dict[str, np.ndarray]:
        """The numbers of the last round, and which repetitions are lost."""
        return {**self.records[-1], LOST: self.gone}

    def restore(self, saved: Sequence[tuple[dict, dict]], rng) -> None:
        """Bring the loop to where the saved rounds left it: their news and their records."""
        if any(self.wanted.values()):
            rng.spawn(len(saved))  # the children that these rounds took
        for t, (news, record) in enumerate(saved, start=1):
            self.models.append(news.get("model"))
            self.gone = record.pop(LOST)
            self.records.append(record)
            if self.cycle.pooled:
                self.pool.add(t, news.get("new"), record["drawn"])
            if t == 1 and self.first is None and self.cycle.reuses_first:
                self.real = _FirstSet(self.learner, news["new"], int(self.sizes[0]))
            for name, value in news.items():
                if name.startswith("part "):
                    self.real.parts[int(name.split()[1])], self.real.given = value, None
            self.truth = news.get("truth", self.truth)


@dataclass
class _KeepsFrame:
    """Gives whatever stops round t the rounds before as ``frame``."""

    loop: _Loop
    t: int

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            return
        frame = self.loop.frame()
        if isinstance(error, Diverged):
            stop = Diverged(f"the learner diverged in round {self.t}: {error}")
            stop.frame = frame
            raise stop from error
        error.frame = frame
        error.add_note(
            f"This was in round {self.t}; `frame` of this exception holds the {self.loop.rounds} "
            "rounds before."
        )


class _Pool:
    """What has been drawn so far, or in the last rounds."""

    def __init__(self, learner: PoolsSamples, cycle: Cycle) -> None:
        self.learner, self.window = learner, cycle.window
        self.recent: list[tuple[Any, np.ndarray]] = []

    def reaches_back(self, t: int) -> bool:
        """Whether the pool of round t holds round 1."""
        return self.window is None or t <= self.window

    def add(self, t: int, new: Any, drawn: np.ndarray) -> tuple[Any, np.ndarray]:
        """The pool with the items of round t, and their number."""
        self.recent.append((new, drawn))
        if self.window is None:  # together at once: sums stay as small as they are
            self.recent = [self._together()]
            return self.recent[0]
        self.recent = self.recent[-self.window :]
        return self._together()

    def _together(self) -> tuple[Any, np.ndarray]:
        samples, counts = zip(*self.recent, strict=True)
        return reduce(lambda a, b: _joined(self.learner, a, b), samples), sum(counts)


@dataclass
class _FirstSet:
    """The real data of round 1, of which later rounds use a part again."""

    learner: ReusesSamples
    sample: Any
    size: int
    given: Any = None
    parts: dict[int, Any] = field(default_factory=dict)

    def part(self, count: int, rng: np.random.Generator) -> Any:
        """``count`` of its items, the same ones whenever the count is the same."""
        if count > self.size:
            raise ValueError(f"the cycle re-uses {count} real items, but round 1 had {self.size}")
        if count not in self.parts:
            if self.given is not None:
                self.parts[count], self.given = self.given, None
                _check_number(self.learner, self.parts[count], count)
            elif self.sample is None:
                raise ValueError(
                    f"the cycle re-uses {count} real items, but the given first round has no "
                    "sample to take them from"
                )
            else:
                self.parts[count] = self.learner.subset(self.sample, count, rng)
        return self.parts[count]


def _joined(learner: PoolsSamples, first: Any, second: Any) -> Any:
    """Both samples; None stands for no items."""
    if first is None or second is None:
        return second if first is None else first
    return learner.pool(first, second)


def _laws(weights) -> tuple[np.ndarray, np.ndarray]:
    """The laws drawn from anew, 0 for the truth and k for generation k, and their shares."""
    share = np.concatenate([[weights.fresh], weights.generations])
    used = np.flatnonzero(share)
    return used, share[used] / share.sum()


def _kept_size(size: int, kept: float, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """Items left after the filter: binomial given at least one, as in paper C, App. D."""
    if kept == 1:
        return np.full(repetitions, size, dtype=np.int64)
    # The place of the first item kept, given that there is one; the rest is plain binomial.
    some = -math.expm1(size * math.log1p(-kept))
    first = np.ceil(np.log1p(-some * rng.uniform(size=repetitions)) / math.log1p(-kept))
    return 1 + rng.binomial(size - np.clip(first, 1, size).astype(np.int64), kept)


# --- Mistakes --------------------------------------------------------------------------------


def _check_fit(learner, cycle, rng, first, truth) -> None:
    """Refuse what cannot run, before anything is drawn."""
    if isinstance(cycle, type) or not isinstance(cycle, Cycle):
        raise TypeError(f"the cycle must come from stlcore.cycles, not {_named(cycle)}")
    if isinstance(learner, type):
        raise TypeError(
            f"{learner.__name__} is a class: the loop needs a learner, {learner.__name__}(...)"
        )
    name = type(learner).__name__
    if not isinstance(learner, Learner):
        raise TypeError(f"{name} is no learner: it needs truth, sample, fit and track")
    if learner.truth is None and truth is None and not isinstance(learner, FiniteTruth):
        raise TypeError(f"the truth of {name} is None, so there is nothing to draw real items from")
    if cycle.pooled and not isinstance(learner, PoolsSamples):
        raise TypeError(f"{name} cannot pool samples, so an accumulating cycle does not fit it")
    if first is not None and not isinstance(first, First):
        raise TypeError(f"a given first round is a First(...), not {_named(first)}")
    needed = PoolsSamples if first is not None and first.part is not None else ReusesSamples
    if cycle.reuses_first and not isinstance(learner, needed):
        raise TypeError(
            f"{name} cannot use a sample again, so a cycle with fixed real data does not fit it"
        )
    if cycle.reuses_first and cycle.filter is not None:
        raise TypeError(
            "a filter draws a random number of items, so it does not fit fixed real data"
        )
    if cycle.shared_out and not isinstance(learner, PoolsSamples):
        raise TypeError(f"{name} cannot pool samples, so a cycle with exact counts does not fit it")
    if isinstance(learner, FiniteTruth) and truth is None and not cycle.shared_out:
        raise TypeError(
            f"the truth of {name} is a pool of real items, and it must be known how many a run "
            "needs: add .exact() to the cycle"
        )
    if cycle.selection is not None and not (
        isinstance(learner, Selects) and isinstance(learner, PoolsSamples)
    ):
        raise TypeError(f"{name} has no score for its items, so nothing can be selected")
    if cycle.budget is not None:
        _check_budget(learner, cycle)
    if first is not None and first.sample is None and first.model is None:
        raise ValueError("a given first round needs a sample or a model")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "rng must be a numpy.random.Generator, for example stlcore.streams.stream(1)"
        )


def _check_budget(learner, cycle) -> None:
    name = type(learner).__name__
    if not isinstance(learner, ReusesSamples) or not getattr(learner, "parts_of_mixtures", True):
        raise TypeError(
            f"{name} cannot take a part of a sample from several laws, so a budget does not fit it"
        )
    random = cycle.selection and cycle.selection.among == "synthetic" and not cycle.shared_out
    if cycle.filter is not None or random:
        raise TypeError(
            "a budget needs equally many items in every repetition: leave out the filter, and "
            "add .exact() to a selection"
        )


def _named(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _check_number(learner, sample: Any, wanted) -> None:
    """Refuse a sample that holds more or fewer items than were asked for."""
    if isinstance(learner, CountsItems):
        found = np.asarray(learner.count(sample))
        wrong = np.flatnonzero(found != wanted)
        if wrong.size:
            asked = np.broadcast_to(wanted, found.shape)[wrong[0]]
            raise ValueError(
                f"a sample of {type(learner).__name__} has {found[wrong[0]]} items where "
                f"{asked} were asked for"
            )


def _check_previous(learner, model, previous, before) -> None:
    """Refuse a fit that changes the last model in place: later rounds may draw from it."""
    changed = any(
        place in before and not same_array(before[place], array)
        for place, array in arrays_in(previous)
    )
    if changed or (previous is not None and model is previous):
        raise ValueError(
            f"{type(learner).__name__}.fit must return a new model and leave `previous` as it is, "
            "for later rounds may draw from it: train a copy (copy.deepcopy)"
        )


def _children(rng: np.random.Generator) -> int:
    """How many generators have been spawned from this one."""
    return getattr(rng.bit_generator.seed_seq, "n_children_spawned", 0)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
