"""GPT-2, trained from scratch in every round: Figure 4 of paper C.

An item is a document: its tokens, cut to ``length``, and the end token where
there is room for it. The network is in :mod:`stlcore.learners.gpt2.network`.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from stlcore.lazy import extra
from stlcore.learners.base import split
from stlcore.learners.devices import fast_products, pick_device
from stlcore.learners.gpt2.network import Config, Network, generate, surprise, train

with extra("torch"):
    import torch

__all__ = ["GPT2", "Config", "Model", "Sample", "token_lists"]

PORTION = {"cpu": 256, "cuda": 4096}  # documents written at once


def token_lists(rows: np.ndarray, end: int | None = None) -> list[list[int]]:
    """Rows as lists without what fills them, and without the end token where ``end`` is given."""
    return [[int(token) for token in row if token not in (-1, end)] for row in rows]


@dataclass(frozen=True)
class Sample:
    """Documents to train on."""

    rows: np.ndarray
    """Shape (repetitions, documents, length); -1 after the end, all -1 for no document."""


@dataclass(frozen=True)
class Fresh:
    """The truth of one run: which documents each repetition gets, in its order."""

    order: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class Model:
    """One trained network for each repetition, and how its training went."""

    networks: list[Network]
    loss: np.ndarray
    epochs: np.ndarray
    steps: np.ndarray


class GPT2:
    """A GPT-2 that reads documents.

    Parameters
    ----------
    documents, held_out : sequences of token sequences
        Real documents to draw from, and those on which the perplexity is
        measured, without end tokens.
    token_bytes : array_like of int, shape (V,)
        Bytes that each token of the vocabulary stands for; 0 for the end token.
    end : int
        The token that starts and ends a document.
    config : Config
        Sizes of the network and of its training.
    device : {"auto", "cpu", "cuda"}
        Where it runs; "auto" takes the GPU if there is one.
    compile : bool
        Whether training goes through ``torch.compile``; without a C++ compiler it does not.
    validation : sequence of token sequences, optional
        Real documents that decide when training stops, where ``config`` has a patience.

    Raises
    ------
    ValueError
        If a document has fewer than two tokens or one outside the vocabulary,
        if a document is in two of the three parts, if there are validation
        documents without a patience or the other way round, or if a GPU is
        asked for and there is none.

    Notes
    -----
    Every repetition has a network of its own, trained one after the other: a
    step of one keeps the machine busy, and stacking them measured no faster.
    No real document is used twice in a run, so the cycle must have exact counts, as in the
    paper's figure. Tracks ``perplexity`` (per held-out token, end
    tokens included), ``bits_per_byte``, ``training_loss`` (nats per token,
    mean over the last tenth of the steps), ``epochs`` and ``steps``, all as they
    were at the weights that were kept.
    """

    def __init__(
        self,
        documents,
        held_out,
        token_bytes,
        end,
        config=None,
        *,
        validation=None,
        device="auto",
        compile=False,
    ) -> None:
        self.config = config = config or Config()
        self.token_bytes = np.asarray(token_bytes)
        if not 0 <= end < len(self.token_bytes):
            raise ValueError(f"the end token {end} is outside the vocabulary")
        self.end = int(end)
        self.truth = self._rows("document", documents)
        self.held_out = self._rows("held-out document", held_out)
        if (validation is None) != (config.patience is None):
            raise ValueError("validation documents and a patience need each other")
        self.validation = self.held_out[:0]
        if validation is not None:
            self.validation = self._rows("validation document", validation)
        parts = [("training", self.truth), ("held-out", self.held_out)]
        parts.append(("validation", self.validation))
        for (one, first), (other, second) in combinations(parts, 2):
            both = {row.tobytes() for row in first} & {row.tobytes() for row in second}
            if both:
                raise ValueError(
                    f"{len(both)} {other} documents are also {one} documents "
                    f"in their first {config.length} tokens"
                )
        self.device = pick_device(device)
        self.forward = (
            torch.compile(Network.forward) if compile and _compiles() else Network.forward
        )

    def _rows(self, name: str, documents: Sequence[Sequence[int]]) -> np.ndarray:
        if len(documents) == 0:
            raise ValueError(f"there is no {name}")
        length = self.config.length
        rows = np.full((len(documents), length), -1, dtype=np.int32)
        for number, document in enumerate(documents):
            if len(document) < 2:
                raise ValueError(f"{name} {number} has fewer than two tokens")
            if not 0 <= min(document) <= max(document) < len(self.token_bytes):
                raise ValueError(
                    f"{name} {number} has a token outside the vocabulary of {len(self.token_bytes)}"
                )
            if self.end in document:
                raise ValueError(f"{name} {number} contains the end token")
            tokens = [*document, self.end][:length]
            rows[number, : len(tokens)] = tokens
        return rows

    def open_truth(self, items, repetitions, rng):
        """A random order of the documents for each repetition."""
        if items > len(self.truth):
            raise ValueError(
                f"the run needs {items} real documents, but there are {len(self.truth)}"
            )
        order = [rng.permutation(len(self.truth)) for _ in range(repetitions)]
        return Fresh(np.stack(order), np.zeros(repetitions, dtype=np.int64))

    def sample(self, models, weights, size, rng):
        """Documents of each law, their numbers shared out by the weights."""
        rows = np.full((len(size), int(max(size)), self.config.length), -1, dtype=np.int32)
        for r, total in enumerate(size):
            filled = 0
            for model, count in zip(models, split(weights, total), strict=True):
                drawn = self._draw(model, r, count, rng)
                rows[r, filled : filled + count] = drawn
                filled += count
        return Sample(rows)

    def _draw(self, model, r: int, count: int, rng) -> np.ndarray:
        if isinstance(model, Fresh):
            first, last = model.used[r], model.used[r] + count
            if last > model.order.shape[1]:
                raise ValueError(f"there are only {model.order.shape[1]} real documents")
            model.used[r] = last
            return self.truth[model.order[r, first:last]]
        if not np.isfinite(model.loss[r]):  # lost: empty documents, and nobody trains on them
            rows = np.full((count, self.config.length), -1, dtype=np.int32)
            rows[:, 0] = self.end
            return rows
        uniforms = rng.random((count, self.config.length))
        portion = PORTION[self.device.type]
        parts = [uniforms[k : k + portion] for k in range(0, count, portion)]
        drawn = [generate(model.networks[r], part, self.end) for part in parts]
        return np.concatenate([np.empty((0, self.config.length), dtype=np.int32), *drawn])

    def generate(self, model, count, rng):
        """Documents of a model, shape (repetitions, count, length); -1 after the end."""
        return np.stack([self._draw(model, r, count, rng) for r in range(len(model.networks))])

    def fit(self, sample, previous, round):
        """Networks trained from scratch; where the loss is no number, the repetition is lost."""
        networks, losses, epochs, steps = [], [], [], []
        gone = np.zeros(len(sample.rows), dtype=bool) if previous is None else self.lost(previous)
        own = round.rng.spawn(len(sample.rows))
        for r, (rows, rng) in enumerate(zip(sample.rows, own, strict=True)):
            if gone[r]:
                networks.append(previous.networks[r])
                losses.append(math.nan)
                epochs.append(math.nan)
                steps.append(0)
                continue
            network = Network(self.config, len(self.token_bytes)).to(self.device)
            network.initialise(rng)
            with fast_products(self.device, rounded=True):
                loss, passes = train(network, rows, self.end, rng, self.forward, self._measure)
            networks.append(network)
            sound = np.isfinite(loss).all()
            losses.append(loss[-math.ceil(len(loss) / 10) :].mean() if sound else math.nan)
            epochs.append(passes)
            steps.append(len(loss))
        return Model(networks, np.array(losses, dtype=float), np.array(epochs), np.array(steps))

    def lost(self, model):
        """Whether the loss became no number."""
        return ~np.isfinite(model.loss)

    def _measure(self, network: Network) -> float:
        """Nats per token of the validation documents."""
        return surprise(network, self.validation, self.end).mean()

    def surprises(self, model):
        """Nats of every held-out token, shape (repetitions, tokens), in the same order always."""
        return np.stack([surprise(n, self.held_out, self.end) for n in model.networks])

    def track(self, model):
        """Perplexity and bits per byte of the held-out documents, and the training."""
        text = self.token_bytes[self.held_out[self.held_out >= 0]].sum()
        nats = self.surprises(model)
        return {
            "perplexity": np.exp(nats.mean(axis=1)),
            "bits_per_byte": nats.sum(axis=1) / math.log(2) / text,
            "training_loss": model.loss,
            "epochs": model.epochs,
            "steps": model.steps,
        }

    def pool(self, first, second):
        """Documents of both."""
        return Sample(np.concatenate([first.rows, second.rows], axis=1))

    def count(self, sample):
        """Number of documents."""
        return (sample.rows[..., 0] >= 0).sum(axis=1)

    def subset(self, sample, size, rng):
        """``size`` of each repetition's documents."""
        chosen = [rows[rng.choice(len(rows), size, replace=False)] for rows in sample.rows]
        return Sample(np.stack(chosen))

    def identity(self):
        """The configuration and a checksum of all documents."""
        digest = hashlib.sha256()
        for array in (self.truth, self.held_out, self.validation, self.token_bytes):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return {**asdict(self.config), "end": self.end, "data": digest.hexdigest()}

    def pack(self, value):
        """Arrays of a model, a sample or an opened truth."""
        if not isinstance(value, Model):
            return vars(value)
        packed = {"loss": value.loss, "epochs": value.epochs, "steps": value.steps}
        for r, network in enumerate(value.networks):
            packed |= {f"{r}.{k}": w.cpu().numpy() for k, w in network.state_dict().items()}
        return packed

    def unpack(self, arrays):
        """The model, sample or opened truth back."""
        for kind in (Sample, Fresh):
            if arrays.keys() == kind.__annotations__.keys():
                return kind(**arrays)
        networks = []
        for r in range(len(arrays["loss"])):
            network = Network(self.config, len(self.token_bytes))
            names = network.state_dict()
            network.load_state_dict({k: torch.from_numpy(arrays[f"{r}.{k}"]) for k in names})
            networks.append(network.to(self.device))
        return Model(networks, arrays["loss"], arrays["epochs"], arrays["steps"])


def _compiles() -> bool:
    """Whether there is the C++ compiler that torch.compile needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
