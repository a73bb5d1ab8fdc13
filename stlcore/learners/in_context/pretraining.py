"""Pretraining of the in-context transformer, and a cache of what it gave.

Every step shows the network new tasks, so that what it learns is an algorithm.
Pretrained networks are kept in the cache folder: ``$STLCORE_CACHE``, or
``~/.cache/stlcore``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from stlcore.checks import check_count
from stlcore.data.corpus import cache_folder
from stlcore.lazy import extra
from stlcore.learners.base import Diverged
from stlcore.learners.devices import pick_device
from stlcore.learners.in_context.network import Architecture, Transformer

with extra("torch"):
    import torch
    from safetensors import safe_open
    from safetensors.torch import save
    from torch import Tensor, nn

__all__ = ["Pretraining", "draw_tasks", "pretrain", "pretrained", "train_step"]

#: Raised whenever the network or its pretraining changes, so that no old file is taken for new.
RULES = 1


@dataclass(frozen=True)
class Pretraining:
    """How a network is trained.

    Attributes
    ----------
    noise : float
        Standard deviation of the labels around the linear function.
    steps, batch : int
        Steps of AdamW, and tasks in each, all of them new.
    rate : float
        Largest learning rate; it rises over a tenth of the steps and then falls to 0.
    seed : int
        Of the first weights and of the tasks.

    Raises
    ------
    ValueError
        If a number is no count, or the noise or the rate not positive.
    """

    noise: float = 0.5
    steps: int = 600
    batch: int = 32
    rate: float = 5e-3
    seed: int = 1

    def __post_init__(self) -> None:
        check_count("the number of steps", self.steps)
        check_count("the batch", self.batch)
        if not (self.noise > 0 and self.rate > 0):
            raise ValueError("the noise and the learning rate must be positive")


def draw_tasks(
    count: int, length: int, dimension: int, noise: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Contexts of new tasks: :math:`y=w^{*\top}x+\sigma\epsilon`, the weights :math:`N(0,I/d)`.

    Returns
    -------
    x, y : Tensor, shapes (count, length, d) and (count, length)
        On the generator's device.
    """
    draw = {"generator": generator, "device": generator.device}
    weights = torch.randn(count, dimension, 1, **draw) / math.sqrt(dimension)
    x = torch.randn(count, length, dimension, **draw)
    return x, (x @ weights)[..., 0] + noise * torch.randn(count, length, **draw)


def pretrain(
    architecture: Architecture, pretraining: Pretraining, device: str = "auto"
) -> Transformer:
    """Train a new network to predict every label of a context from the pairs before it.

    Parameters
    ----------
    architecture, pretraining : Architecture, Pretraining
        What, and how.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for the GPU where there is one.

    Returns
    -------
    Transformer
        With frozen weights. On one machine the same call gives the same weights.

    Raises
    ------
    Diverged
        If the weights are no longer finite.
    """
    device = pick_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(pretraining.seed)
        network = Transformer(architecture).to(device)
    generator = torch.Generator(device).manual_seed(pretraining.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=pretraining.rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    steps = pretraining.steps
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate((step + 0.5) / steps))
    # One label more than the longest context: its prediction has read all the pairs.
    size = (pretraining.batch, architecture.length + 1, architecture.dimension, pretraining.noise)
    for _ in range(steps):
        train_step(network, optimizer, *draw_tasks(*size, generator))
        rates.step()
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise Diverged(f"pretraining diverged at a learning rate of {pretraining.rate:g}")
    return network.eval().requires_grad_(False)


def _rate(done: float) -> float:
    """Learning rate, as a part of the largest, when a fraction ``done`` of the steps is."""
    return done / 0.1 if done < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.1) / 0.9)


def train_step(network: Transformer, optimizer, x: Tensor, y: Tensor) -> None:
    """One step on the mean squared error of all predictions of the labels ``y``."""
    memory = network.read(x[:, :-1], y[:, :-1])
    loss = (network.answer(memory, x, causal=True) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def pretrained(
    architecture: Architecture, pretraining: Pretraining, device: str = "auto"
) -> Transformer:
    """The network of ``pretrain``, from the cache folder where that holds it.

    A file that is damaged, or of another architecture or pretraining, is
    replaced, with a warning. Any number of processes may do this at once.
    """
    identity = {"rules": RULES, **asdict(architecture), **asdict(pretraining)}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / f"in_context-{digest}.safetensors"
    try:
        weights = _read(path, identity)
    except ValueError as error:
        warnings.warn(f"{error}, so the network is trained again", stacklevel=2)
        weights = None
    if weights is None:
        network = pretrain(architecture, pretraining, device)
        _write(path, identity, network.cpu().state_dict())
    else:
        network = Transformer(architecture)
        network.load_state_dict(weights)
    return network.to(pick_device(device)).eval().requires_grad_(False)


def _read(path: Path, identity: dict) -> dict[str, Tensor] | None:
    """Weights; None where there is no file, ValueError where there is another one."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        saved, whole = json.loads(head["identity"]), head["sha256"] == _digest(weights)
    except Exception as error:  # whatever is wrong with the bytes, it is said in one sentence
        raise ValueError(f"the file {path} is damaged") from error
    if not whole:
        raise ValueError(f"the file {path} is damaged")
    if saved != identity:
        other = [name for name in identity if saved.get(name) != identity[name]]
        raise ValueError(f"the file {path} holds another network ({', '.join(other)} differs)")
    return weights


def _write(path: Path, identity: dict, weights: dict[str, Tensor]) -> None:
    """Write in one step: a reader sees the old file or the new one, never a part."""
    content = save(weights, {"identity": json.dumps(identity), "sha256": _digest(weights)})
    # Without a folder to write to there is no cache, but there is still the network.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".in_context-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.write_bytes(content)
            os.replace(draft, path)


def _digest(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tuple(weights[name].shape)}".encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()
