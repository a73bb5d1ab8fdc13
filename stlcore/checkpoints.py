"""One file that holds a run after its last finished round.

The file is safetensors with a JSON head: arrays and numbers, no code. It is
written beside its place and moved there in one step, so a run that is killed
leaves either the old file or the new one, never a half.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Checkpoint"]

HEAD = "stlcore"


class Checkpoint:
    """The checkpoint of one run, in a folder of its own.

    Parameters
    ----------
    folder : path
        Created when the first checkpoint is saved.
    identity : mapping
        What tells this run from others, as JSON; the file of another run is refused.

    Raises
    ------
    ValueError
        If ``folder`` is a file.
    """

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]) -> None:
        if Path(folder).is_file():
            raise ValueError(f"the place for checkpoints must be a folder, but {folder} is a file")
        self.path = Path(folder) / "checkpoint.safetensors"
        self.identity = json.loads(json.dumps(identity))

    def save(self, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Write ``arrays`` and the JSON ``state`` in place of what the folder held."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        body = json.dumps({"identity": self.identity, "state": state})
        head = {HEAD: body, "sha256": _digest(body, arrays)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(save(arrays, metadata=head))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays and state as they were saved; None where there is no file yet.

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
        names = {**saved, **self.identity}
        other = [name for name in names if saved.get(name) != self.identity.get(name)]
        if other:
            raise ValueError(
                f"the checkpoint {self.path} is of another run ({', '.join(other)} differs): "
                "choose another folder or delete it"
            )
        return arrays, body["state"]

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
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
