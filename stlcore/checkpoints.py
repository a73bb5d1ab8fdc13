"""One file that holds a run after its last finished round.

The file is safetensors with a JSON head: arrays and numbers, no code. It is
written beside its place and moved there in one step, so a run that is killed
leaves either the old file or the new one, never a half.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stlcore.lazy import extra
from stlcore.learners.base import Resumes

__all__ = ["Checkpoint", "generator_state"]

HEAD = "stlcore"


class Checkpoint:
    """The checkpoint of one run, in a folder of its own.

    Parameters
    ----------
    folder : path
        Created when the first checkpoint is saved.
    identity : mapping
        What tells this run from others, as JSON; the file of another run is refused.
    learner : Resumes
        Takes models and samples apart into arrays, and puts them together again.

    Raises
    ------
    ValueError
        If ``folder`` is a file.
    """

    def __init__(
        self, folder: str | os.PathLike, identity: Mapping[str, Any], learner: Resumes
    ) -> None:
        if Path(folder).is_file():
            raise ValueError(f"the place for checkpoints must be a folder, but {folder} is a file")
        self.path = Path(folder) / "checkpoint.safetensors"
        self.identity = json.loads(json.dumps(identity))
        self.learner = learner

    def save(
        self,
        values: Mapping[str, Any],
        records: Sequence[Mapping[str, np.ndarray]],
        rng: np.random.Generator,
    ) -> None:
        """Write what a run needs to go on, in place of what the folder held."""
        with extra("torch"):
            from safetensors.numpy import save

        columns = list(records[0])
        arrays = {f"record:{name}": np.stack([r[name] for r in records]) for name in columns}
        for name, value in values.items():
            packed = self.learner.pack(value)
            arrays |= {f"{name}:{k}": np.ascontiguousarray(array) for k, array in packed.items()}
        body = json.dumps(
            {"identity": self.identity, "columns": columns, "generator": generator_state(rng)}
        )
        head = {HEAD: body, "sha256": _digest(body, arrays)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(save(arrays, metadata=head))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def load(
        self, rng: np.random.Generator
    ) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]] | None:
        """Values and records as they were saved, and ``rng`` as it was; None without a file.

        Raises
        ------
        ValueError
            If the file is damaged, or of another run.
        """
        if not self.path.exists():
            return None
        try:
            body, arrays = self._read()
        except Exception as error:  # whatever is wrong with the bytes, it is said in one sentence
            raise ValueError(
                f"the checkpoint {self.path} is damaged: delete it to start the run anew"
            ) from error
        saved = body["identity"]
        other = [n for n in {**saved, **self.identity} if saved.get(n) != self.identity.get(n)]
        if other:
            raise ValueError(
                f"the checkpoint {self.path} is of another run ({', '.join(other)} differs): "
                "choose another folder or delete it"
            )
        groups: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            group, _, key = name.partition(":")
            groups.setdefault(group, {})[key] = array
        record = groups.pop("record")
        rounds = range(len(record["trained"]))
        rng.bit_generator.state = body["generator"]
        values = {name: self.learner.unpack(group) for name, group in groups.items()}
        return values, [{name: record[name][t] for name in body["columns"]} for t in rounds]

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        with extra("torch"):
            from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            head = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if head["sha256"] != _digest(head[HEAD], arrays):
            raise ValueError("the checksum is another")
        return json.loads(head[HEAD]), arrays


def _digest(body: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(body.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Where a generator stands, as JSON; equal streams at the same place give the same."""
    state = rng.bit_generator.state
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))
