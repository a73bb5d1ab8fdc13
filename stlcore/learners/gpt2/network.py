"""GPT-2 as a network: how it predicts, how it is trained and how it writes.

Documents are rows of tokens; -1 fills a row after its end. The model reads the
end token first, so it gives every document a probability, and what it writes
is an exact draw from that law.

**Windows.** Where a document is longer than the context of T tokens, the model
sees part of it: with h = T // 2, the token at position i (from 0, the start
token counts) is predicted from the tokens w, ..., i - 1, where w is the
smallest multiple of h that leaves at most T of them. Generation and held-out
perplexity follow this rule; training takes the same windows and predicts every
token in each. Keys and values are cached within a window only, so the cache
changes nothing but the time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stlcore.checks import check_count
from stlcore.lazy import extra
from stlcore.learners.devices import fast_products

with extra("torch"):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

__all__ = ["Config", "Network", "generate", "surprise", "train", "windows"]

LONGEST_CONTEXT = 1024  # GPT-2's own
LOGITS = 2**23  # logits held at once in training, 32 MiB
PRODUCTS = 2**20  # products of queries and keys held at once in generation, 4 MiB
TILE = 64  # tokens whose probabilities are summed first, in generation


@dataclass(frozen=True)
class Config:
    """Sizes of the network and of its training.

    Parameters
    ----------
    layers, heads, width, context : int
        Blocks, attention heads, width of the residual stream, longest window in tokens.
    length : int
        Tokens to which a document is cut; it may exceed the context.
    init_std : float
        Standard deviation of the initial weights; those that write to the
        residual stream get it divided by the root of twice the layers.
    iterations : int or None
        Steps of AdamW in each round, at most if ``patience`` is given. None: as
        many as ``epochs`` needs.
    epochs : float or None
        Passes over the data in each round, in place of ``iterations``.
    batch : int
        Windows in a step.
    learning_rate, weight_decay : float
        Peak of the rate, which rises over the first twentieth of the steps; then
        it falls as a cosine to 0, or stays where it is if ``patience`` is given.
        Decay of the matrices.
    patience : int or None
        None: all steps are taken, and the last weights are the model. A number:
        training is stopped on validation. The validation documents are measured
        every ``measure_every`` steps and after the last one; after ``patience``
        measurements in a row without a new best the training stops, and the
        weights of the best measurement are the model.
    measure_every : int
        Steps between two measurements of the validation documents.

    Raises
    ------
    ValueError
        If a count is not positive, the heads do not divide the width, the
        context is over 1024, or not exactly one of iterations and epochs is given.

    Notes
    -----
    A rate that falls to 0 at a step known beforehand decides itself when the
    training ends: a small set over-fits long before, while the rate is still
    high, and a large one is held back at the end. With a constant rate what a
    step does is independent of the steps that are still allowed, so the
    validation alone decides, and the maximum does not matter unless it is met.
    """

    layers: int = 2
    heads: int = 2
    width: int = 64
    context: int = 64
    length: int = 64
    init_std: float = 0.05
    iterations: int | None = 300
    epochs: float | None = None
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    patience: int | None = None
    measure_every: int = 25

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "length", "batch", "measure_every"):
            check_count(name, getattr(self, name))
        if not 2 <= check_count("context", self.context) <= LONGEST_CONTEXT:
            raise ValueError(
                f"the context must be 2 to {LONGEST_CONTEXT} tokens, not {self.context}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError("give either iterations or epochs, and None for the other")
        for name in ("iterations", "patience"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in ("init_std", "learning_rate", "epochs"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, not {value!r}")

    def steps(self, windows: int) -> int:
        """Steps of training on that many windows."""
        return self.iterations or math.ceil(self.epochs * windows / self.batch)


class KeyValues:
    """Keys and values of the positions that a window has seen, for every layer."""

    def __init__(self, config: Config, documents: int, device: torch.device) -> None:
        size = config.width // config.heads
        # The position comes first, so that what has been seen lies together in memory.
        shape = (config.layers, config.context, documents, config.heads, size)
        self.keys = torch.empty(shape, device=device)
        self.values = torch.empty(shape, device=device)
        self.seen = 0

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of the window so far, these included; the position comes first."""
        end = self.seen + len(keys)
        self.keys[layer, self.seen : end] = keys
        self.values[layer, self.seen : end] = values
        return self.keys[layer, :end], self.values[layer, :end]


class Block(nn.Module):
    """Attention, then a perceptron, each added to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        width = config.width
        self.layer, self.heads = layer, config.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.attn_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp, self.mlp_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x: Tensor, mask: Tensor, cache: KeyValues | None) -> Tensor:
        """Weighted means of the values that ``mask`` lets a position see."""
        width, size = x.shape[-1], x.shape[-1] // self.heads
        parts = self.attn(x).transpose(0, 1).split(width, -1)
        queries, keys, values = (part.unflatten(-1, (-1, size)) for part in parts)
        queries = queries / math.sqrt(size)
        if cache is not None:
            keys, values = cache.add(self.layer, keys, values)
        if cache is not None and len(queries) == 1 and x.device.type == "cpu":
            mixed = look_back(queries, keys, values)[:, None]
        else:
            # Written out: on a CPU this is faster than scaled_dot_product_attention.
            queries, keys, values = (part.permute(1, 2, 0, 3) for part in (queries, keys, values))
            scores = queries @ keys.transpose(-1, -2) + mask
            mixed = (scores.softmax(-1) @ values).transpose(1, 2)
        return self.attn_proj(mixed.flatten(2))

    def forward(self, x: Tensor, mask: Tensor, cache: KeyValues | None) -> Tensor:
        x = x + self.attention(self.ln_1(x), mask, cache)
        return x + self.mlp_proj(functional.gelu(self.mlp(self.ln_2(x)), approximate="tanh"))


def look_back(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one new token of every document to all before it, shape as ``queries[0]``.

    On a CPU products and sums are faster than many tiny products of matrices,
    if a few documents are taken at a time, so that the products stay in its cache.
    """
    few = max(PRODUCTS * keys.shape[1] // keys.numel(), 1)
    mixed = []
    for query, key, value in zip(*(x.split(few, 1) for x in (queries, keys, values)), strict=True):
        scores = (query * key).sum(-1, keepdim=True)
        mixed.append((scores.softmax(0) * value).sum(0))
    return torch.cat(mixed)


class Network(nn.Module):
    """GPT-2 (Radford et al., 2019): the last layer shares its weights with the embedding."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(vocabulary, config.width)
        self.wpe = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width)
        mask = torch.full((config.context, config.context), -math.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """Draw the weights; biases are 0 and the norms 1."""
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                std = self.config.init_std
                if "proj" in name:
                    std /= math.sqrt(2 * self.config.layers)
                drawn = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
                weight.copy_(torch.from_numpy(drawn * np.float32(std)))
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)

    def forward(self, tokens: Tensor, cache: KeyValues | None = None) -> Tensor:
        """Last hidden states, shape (documents, tokens, width), of the window's next tokens."""
        seen = cache.seen if cache is not None else 0
        end = seen + tokens.shape[1]
        x = self.wte(tokens) + self.wpe.weight[seen:end]
        for block in self.blocks:
            x = block(x, self.mask[seen:end, :end], cache)
        if cache is not None:
            cache.seen = end
        return self.ln_f(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the next token."""
        return functional.linear(hidden, self.wte.weight)


class HeadLoss(torch.autograd.Function):
    """Summed cross entropy of the next tokens, a few rows of logits at a time.

    At GPT-2's vocabulary the logits of one step take most of its memory traffic;
    a part of them that stays in the processor's cache makes the step faster.
    The gradient is taken on the way, so no logits are kept.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        rows = max(LOGITS // len(weight), 1)
        total = hidden.new_zeros(())
        to_hidden, to_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        memory = hidden.new_empty(min(rows, len(hidden)), len(weight))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            at_target = targets[part, None]
            law = memory[: len(at_target)]  # first the logits, then the law, then its slope
            torch.mm(hidden[part], weight.T, out=law)
            total -= law.gather(1, at_target).sum()
            highest = law.amax(-1)
            torch.softmax(law, -1, out=law)
            # The normaliser, from the likeliest token: its probability cannot vanish.
            total += (highest - law.amax(-1).log()).sum()
            law.scatter_add_(1, at_target, -torch.ones_like(at_target, dtype=law.dtype))
            torch.mm(law, weight, out=to_hidden[part])
            to_weight.addmm_(law.T, hidden[part])
        ctx.save_for_backward(to_hidden, to_weight)
        return total

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * slope, to_weight * slope, None


def windows(rows: np.ndarray, end: int, context: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut documents into windows; see the module's rule.

    Parameters
    ----------
    rows : ndarray of int, shape (documents, length)
        Documents, -1 after their end.

    Returns
    -------
    inputs, targets : Tensor, shape (windows, min(context, length))
        Tokens read, and the tokens to predict; -1 where there is none.
    new : Tensor of bool, same shape
        Targets that no window before had.
    """
    length = rows.shape[1]
    width, step = min(context, length), context // 2
    starts = range(0, max(length - context, 0) + step, step)
    rows = np.pad(
        rows.astype(np.int64), [(0, 0), (0, starts[-1] + width - length)], constant_values=-1
    )
    read = np.pad(np.maximum(rows[:, :-1], 0), [(0, 0), (1, 0)], constant_values=end)
    inputs = np.concatenate([read[:, w : w + width] for w in starts])
    targets = np.concatenate([rows[:, w : w + width] for w in starts])
    new = targets >= 0
    new[len(rows) :, : width - step] = False
    keep = new.any(axis=1)
    return tuple(torch.from_numpy(array[keep]) for array in (inputs, targets, new))


def train(
    network: Network,
    rows: np.ndarray,
    end: int,
    rng: np.random.Generator,
    forward: Callable[[Network, Tensor], Tensor],
    measure: Callable[[Network], float] | None = None,
) -> tuple[np.ndarray, float]:
    """Train on documents, by fixed steps or until ``measure`` no longer falls.

    Parameters
    ----------
    network : Network
        Trained in place, as its configuration says.
    rows : ndarray of int, shape (documents, length)
        Documents, -1 after their end.
    end : int
        The end token.
    rng : numpy.random.Generator
        Draws the order of the windows.
    forward : callable
        ``Network.forward``, compiled or not.
    measure : callable, optional
        What is to be small, on documents that are not in ``rows``; needed if the
        configuration has a ``patience``.

    Returns
    -------
    losses : ndarray, shape (steps,)
        Nats per token, in every step up to the weights that were kept.
    epochs : float
        Passes over the documents up to there.
    """
    config = network.config
    device = network.mask.device
    inputs, targets, _ = windows(rows, end, config.context)
    steps, count = config.steps(len(inputs)), len(inputs)
    passes = math.ceil(steps * config.batch / count)
    order = np.concatenate([rng.permutation(count) for _ in range(passes)])
    order = torch.from_numpy(order[: steps * config.batch]).view(steps, config.batch)
    weights = list(network.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim == 2], "weight_decay": config.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    warm = max(steps // 20, 1)
    losses = torch.full((steps,), math.nan, device=device)
    lowest, kept, best, worse = math.inf, steps, None, 0
    for step, batch in enumerate(order):
        rate = config.learning_rate * min((step + 1) / warm, 1)
        if config.patience is None:
            rate *= (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = rate
        hidden = forward(network, inputs[batch].to(device))
        wanted = targets[batch].to(device)
        there = wanted >= 0
        loss = HeadLoss.apply(hidden[there], network.wte.weight, wanted[there]) / there.sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        losses[step] = loss.detach()
        done = step + 1
        if config.patience and (done % config.measure_every == 0 or done == steps):
            if (measured := measure(network)) < lowest:
                lowest, kept, worse = measured, done, 0
                best = copy.deepcopy(network.state_dict())
            else:
                worse += 1
            if worse == config.patience:
                break
    if best is not None:
        network.load_state_dict(best)
    return losses[:kept].cpu().numpy(), kept * config.batch / count


@torch.no_grad()
def surprise(network: Network, rows: np.ndarray, end: int) -> np.ndarray:
    """Negative log-likelihood of every token, in nats; the order is fixed by the documents."""
    device, found = network.mask.device, []
    parts = (part.split(64) for part in windows(rows, end, network.config.context))
    for inputs, targets, new in zip(*parts, strict=True):
        hidden = network(inputs.to(device))[new.to(device)]
        wanted = targets[new].to(device)
        for part, answer in zip(hidden.split(512), wanted.split(512), strict=True):
            found.append(functional.cross_entropy(network.logits(part), answer, reduction="none"))
    return torch.cat(found).cpu().numpy().astype(float)


@torch.no_grad()
def generate(
    network: Network, uniforms: np.ndarray, end: int, *, cached: bool = True
) -> np.ndarray:
    """Draw documents by inversion: one uniform number decides one token.

    Parameters
    ----------
    network : Network
        What is drawn from, at temperature 1.
    uniforms : ndarray, shape (documents, length)
        Numbers in [0, 1).
    end : int
        The end token.
    cached : bool
        Whether keys and values are kept; without, every token reads its whole window again.

    Returns
    -------
    ndarray of int32, shape (documents, length)
        Tokens, -1 after the end.
    """
    config, device = network.config, network.mask.device
    documents, length = uniforms.shape
    levels = torch.from_numpy(uniforms.T.astype(np.float32, order="C")).to(device)
    tokens = torch.full((documents, length + 1), end, device=device)
    done = torch.zeros(documents, dtype=torch.bool, device=device)
    cache = KeyValues(config, documents, device) if cached else None
    weight = network.wte.weight
    law = torch.empty(documents, math.ceil(len(weight) / TILE) * TILE, device=device)
    start = 0
    for place in range(length):
        if place + 1 - start > config.context:
            start += config.context // 2
            if cached:
                cache.seen = 0
        seen = cache.seen if cached else 0
        hidden = network(tokens[:, start + seen : place + 1], cache)[:, -1]
        tokens[:, place + 1] = pick(hidden, weight, levels[place, :, None], law)
        done |= tokens[:, place + 1] == end
        if done.all():
            break
    rows = tokens[:, 1:].cpu().numpy().astype(np.int32)
    before = np.pad((rows == end).cumsum(axis=1), [(0, 0), (1, 0)])[:, :-1]
    return np.where(before > 0, np.int32(-1), rows)


def pick(hidden: Tensor, weight: Tensor, levels: Tensor, law: Tensor) -> Tensor:
    """The first tokens at which the distribution function passes the levels.

    ``law`` is memory kept for all tokens: at GPT-2's vocabulary, fresh memory
    for each would take as long as the product that fills it. The function is
    summed over tiles of tokens first, then within the tile that is met.
    """
    vocabulary = len(weight)
    law[:, vocabulary:] = -math.inf
    with fast_products(hidden.device, rounded=False):
        torch.mm(hidden, weight.T, out=law[:, :vocabulary])
    tiles = torch.softmax(law, -1, out=law).unflatten(-1, (-1, TILE))
    tile, rest = first_over(tiles.sum(-1), levels)
    token, _ = first_over(tiles.take_along_dim(tile[..., None], 1)[:, 0], rest)
    return (tile * TILE + token)[:, 0].clamp_(max=vocabulary - 1)


def first_over(mass: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Place at which the running sum of ``mass`` passes the level, and what the level has left."""
    total = mass.cumsum(-1)
    place = torch.searchsorted(total, levels, right=True).clamp_(max=mass.shape[-1] - 1)
    return place, levels - (total - mass).gather(-1, place)
