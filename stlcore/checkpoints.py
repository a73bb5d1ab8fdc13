"""A folder that holds a run as far as it has come: one file for each round, and no code.

A file holds what its round added, so a run writes each of its items once, however long it
is. Files are numpy's own (``.npz``, without pickles), written beside their place and moved
there in one step: a run that is killed leaves whole rounds and no half ones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stlcore.cycles import Cycle
from stlcore.learners.base import Resumes, gives_back

__all__ = ["Checkpoint", "generator_state"]

HEAD = "stlcore"


class Checkpoint:
    """The checkpoint of one run, in a folder of its own.

    Models lie in files of their own, and those that the cycle looks back to no more go.

    Parameters
    ----------
    folder : path
        Created when the first round is saved.
    identity : mapping
        What tells this run from others, as JSON; the files of another run are refused.
    learner : Resumes
        Takes models and samples apart into arrays, and puts them together again.
    cycle : Cycle
        Says how many models later rounds need.

    Raises
    ------
    ValueError
        If ``folder`` is a file.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        identity: Mapping[str, Any],
        learner: Resumes,
        cycle: Cycle,
    ) -> None:
        self.folder = Path(folder)
        if self.folder.is_file():
            raise ValueError(f"the place for checkpoints must be a folder, but {folder} is a file")
        self.identity = json.loads(_json(identity))
        self.learner, self.lookback = learner, cycle.lookback
        self.places: dict[str, tuple[str, int]] = {}  # of an array: its checksum, its round

    def save(
        self,
        t: int,
        eaten: Mapping[str, Any],
        news: Mapping[str, Any],
        record: Mapping[str, np.ndarray],
        rng: np.random.Generator,
    ) -> None:
        """Write what round t adds: the model, other values by name, and the numbers recorded.

        ``eaten`` says in JSON what the round trained on.
        """
        packed = {name: self._packed(name, value, t) for name, value in news.items()}
        model = {f"model:{key}": array for key, array in packed.pop("model").items()}
        arrays = {f"record:{name}": array for name, array in record.items()}
        elsewhere = {}
        for name, value in packed.items():
            for key, array in value.items():
                place = f"{name}:{key}"
                digest = _digest("", {place: array})
                if self.places.get(place, ("", 0))[0] == digest:
                    elsewhere[place] = self.places[place][1]  # an earlier file has it already
                else:
                    self.places[place], arrays[place] = (digest, t), array
        body = {
            "identity": self.identity,
            "eaten": eaten,
            "columns": list(record),
            "elsewhere": elsewhere,
            "checksums": {place: digest for place, (digest, _) in self.places.items()},
            "generator": generator_state(rng),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self._file("model", t), {"round": t}, model)
        _write(self._file("round", t), body, arrays)  # from here on the round is done
        if self.lookback is not None and t > self.lookback:
            self._file("model", t - self.lookback).unlink(missing_ok=True)

    def load(
        self, rng: np.random.Generator, plan: Sequence[Mapping[str, Any]]
    ) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """News and record of every round that was saved, and ``rng`` as it was after the last.

        Parameters
        ----------
        rng : numpy.random.Generator
            Set to where it was.
        plan : sequence
            What the rounds of this run are to train on, as :meth:`save` was told.

        Raises
        ------
        ValueError
            If a file is damaged or missing, or of another run.
        """
        last = max((int(file.stem[6:]) for file in self.folder.glob("round-*.npz")), default=0)
        if not last:
            return []
        rounds = [self._read("round", t) for t in range(1, last + 1)]
        self._check_run([body for body, _ in rounds], json.loads(_json(plan)))
        found = []
        for t, (body, arrays) in enumerate(rounds, start=1):
            groups: dict[str, dict[str, np.ndarray]] = {}
            for place, k in body["elsewhere"].items():
                arrays[place] = rounds[k - 1][1][place]
            for place, array in arrays.items():
                group, _, key = place.partition(":")
                groups.setdefault(group, {})[key] = array
                if group != "record":
                    origin = body["elsewhere"].get(place, t)
                    self.places[place] = body["checksums"][place], origin
            record = groups.pop("record")
            news = {name: self.learner.unpack(group) for name, group in groups.items()}
            if self.lookback is None or t > last - self.lookback:
                _, model = self._read("model", t)
                news["model"] = self.learner.unpack(
                    {place.partition(":")[2]: array for place, array in model.items()}
                )
            found.append((news, {name: record[name] for name in body["columns"]}))
        rng.bit_generator.state = rounds[-1][0]["generator"]
        return found

    def _file(self, kind: str, t: int) -> Path:
        return self.folder / f"{kind}-{t:06d}.npz"

    def _check_run(self, bodies: list[dict], plan: list[dict]) -> None:
        """Refuse files of another run, naming what differs."""
        saved = bodies[0]["identity"]
        other = [n for n in {**saved, **self.identity} if saved.get(n) != self.identity.get(n)]
        for body, wanted in zip(bodies, plan, strict=False):
            other += [n for n in wanted if body["eaten"][n] != wanted[n] and n not in other]
        if other:
            raise ValueError(
                f"the checkpoint {self.folder} is of another run ({', '.join(other)} differs): "
                "choose another folder or delete it"
            )

    def _packed(self, name: str, value: Any, t: int) -> dict[str, np.ndarray]:
        """As arrays; in round 1 refused if that could not be taken up again."""
        packed = {key: np.asarray(array) for key, array in self.learner.pack(value).items()}
        if t == 1 and not gives_back(self.learner, packed, value):
            what = "model" if name == "model" else "sample"
            raise ValueError(
                f"{type(self.learner).__name__}.unpack does not give back the {what} that pack "
                "took, so the run could not be taken up again"
            )
        return packed

    def _read(self, kind: str, t: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        file = self._file(kind, t)
        try:
            with np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            head = str(arrays.pop(HEAD))
            body, _, checksum = head.rpartition("\n")
            if checksum != _digest(body, arrays):
                raise ValueError("the checksum is another")
            return json.loads(body), arrays
        except Exception as error:  # whatever is wrong with the bytes, it is said in one sentence
            raise ValueError(
                f"the checkpoint {file} is damaged: delete {self.folder} to start the run anew"
            ) from error


def _write(file: Path, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """A file in its place, in one step."""
    text = _json(body)
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    head = np.array(f"{text}\n{_digest(text, arrays)}")
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays, **{HEAD: head})
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


def _digest(body: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(body.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _json(value: Any) -> str:
    """As JSON; numpy's numbers and arrays as Python's."""
    return json.dumps(value, default=_plain)


def _plain(part: Any) -> Any:
    if isinstance(part, np.ndarray | np.generic):
        return part.tolist()
    raise TypeError(
        f"a learner's identity must hold numbers and texts, but here is a {type(part).__name__}"
    )


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Where a generator stands, as JSON; equal streams at the same place give the same."""
    return json.loads(_json(rng.bit_generator.state))
