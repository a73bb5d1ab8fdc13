"""A training step and generation of `stlcore.learners.gpt2` against plain code and HuggingFace.

Run: python benchmarks/bench_gpt2.py [--sizes small paper] [--tries 5] [--device auto]
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stlcore.learners.devices import fast_products, pick_device
from stlcore.learners.gpt2 import Config
from stlcore.learners.gpt2.learner import PORTION
from stlcore.learners.gpt2.network import Network, generate, train

END = 0
SIZES = {
    "small": (1024, Config()),
    "paper": (50257, Config(layers=4, heads=4, width=256, context=128, length=128)),
}
#: Steps in one try.
STEPS = {"small": 20, "paper": 1}
TARGETS = {"small": 1.8, "paper": 2.5, "uncached": 20, "HuggingFace": 5}


class PlainBlock(nn.Module):
    """A block as in nanoGPT: scaled_dot_product_attention, eager, nothing else."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.read(self.norms[0](x)).split(width, dim=2)
        heads = [p.view(batch, tokens, self.heads, -1).transpose(1, 2) for p in parts]
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.write(mixed.transpose(1, 2).contiguous().view(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))


class Plain(nn.Module):
    """The network of nanoGPT."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.context = config.context
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.blocks = nn.Sequential(*(PlainBlock(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))

    @torch.no_grad()
    def generate(self, tokens, count):
        for _ in range(count):
            law = self(tokens[:, -self.context :])[:, -1].softmax(-1)
            tokens = torch.cat([tokens, torch.multinomial(law, 1)], dim=1)
        return tokens


def step_plain(network, optimiser, tokens, logits):
    """One step as nanoGPT takes it."""
    loss = functional.cross_entropy(
        logits(network, tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def huggingface(config: Config, vocabulary: int):
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=config.context,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=END,
            eos_token_id=END,
        )
    )


def seconds(call, device) -> float:
    """Processor time on a CPU (the machine may be shared), wall time on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def best(calls: dict, tries: int, device) -> dict[str, float]:
    """Least seconds of each, all taken in turn."""
    found = dict.fromkeys(calls, math.inf)
    for attempt in range(tries + 1):
        for name, call in calls.items():
            taken = seconds(call, device)
            if attempt:  # the first warms up
                found[name] = min(found[name], taken)
    return found


def training(size: str, tries: int, device, compiled) -> dict[str, float]:
    """Tokens a second of a training step."""
    vocabulary, config = SIZES[size]
    steps, rng = STEPS[size], np.random.default_rng(1)
    rows = rng.integers(1, vocabulary, size=(4 * config.batch, config.length), dtype=np.int32)
    config = Config(**{**vars(config), "iterations": steps})
    forward = torch.compile(Network.forward) if compiled else Network.forward
    tokens = torch.from_numpy(rng.integers(1, vocabulary, size=(config.batch, config.length + 1)))
    tokens = tokens.to(device)
    ours = Network(config, vocabulary).to(device)
    ours.initialise(rng)

    def stlcore():
        with fast_products(device, rounded=True):
            train(ours, rows, END, rng, forward)

    def peer(network, logits):
        network.to(device).train()
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)

        def steps_of_it():
            for _ in range(steps):
                step_plain(network, optimiser, tokens, logits)

        return steps_of_it

    calls = {
        "stlcore": stlcore,
        "nanoGPT style": peer(Plain(config, vocabulary), lambda n, x: n(x)),
        "HuggingFace": peer(huggingface(config, vocabulary), lambda n, x: n(x).logits),
    }
    work = steps * config.batch * config.length
    return {name: work / taken for name, taken in best(calls, tries, device).items()}


def generation(size: str, tries: int, device) -> dict[str, float]:
    """Tokens a second when documents of full length are written."""
    vocabulary, config = SIZES[size]
    rng = np.random.default_rng(1)
    ours = Network(config, vocabulary).to(device)
    ours.initialise(rng)
    plain = Plain(config, vocabulary).to(device).eval()
    theirs = huggingface(config, vocabulary).to(device).eval()
    many, length = PORTION[device.type], config.length
    uniforms = rng.random((many, length))
    # Few steps of the uncached peer are enough, taken where a window is half full.
    half, few = length // 2, 8 if size == "small" else 1
    start = torch.full((32, half), 1, device=device)

    def stlcore():
        generate(ours, uniforms, END)  # a few documents end early; all are written on

    def with_cache(documents):
        def call():
            first = torch.full((documents, 1), 1, device=device)
            theirs.generate(
                first,
                attention_mask=torch.ones_like(first),
                max_length=length,
                min_length=length,
                do_sample=True,
                top_k=0,
                pad_token_id=END,
            )

        return call

    calls = {
        "stlcore": (stlcore, many * length),
        "nanoGPT style, 32": (lambda: plain.generate(start, few), 32 * few),
        "HuggingFace, 32": (with_cache(32), 32 * (length - 1)),
    }
    if size == "small":
        calls[f"HuggingFace, {many}"] = (with_cache(many), many * (length - 1))
    taken = best({name: call for name, (call, _) in calls.items()}, tries, device)
    return {name: work / taken[name] for name, (_, work) in calls.items()}


def peak(device) -> float:
    """Floating-point operations a second of a large product of matrices."""
    n = 1024 if device.type == "cpu" else 8192
    left, right = torch.randn(2, n, n, device=device)
    with fast_products(device, rounded=True):
        taken = best({"product": lambda: left @ right}, 10, device)["product"]
    return 2 * n**3 / taken


def operations(size: str) -> float:
    """Floating-point operations of a training step for each token: three times the forward pass."""
    vocabulary, config = SIZES[size]
    layer = 12 * config.width**2 + 2 * config.width * config.context
    return 6 * (config.layers * layer + config.width * vocabulary)


def table(title: str, rates: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, rate in rates.items():
        print(f"  {name:20s} {rate:12,.0f} tokens/s   stlcore is {rates['stlcore'] / rate:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = pick_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    fastest = peak(device)
    print(f"{device}, peak of a matrix product: {fastest / 1e9:,.0f} GFLOP/s")
    for size in options.sizes:
        rates = training(size, options.tries, device, options.compile)
        table(f"{size}: training, batch {SIZES[size][1].batch}", rates)
        reached = rates["stlcore"] * operations(size)
        print(f"  {reached / 1e9:,.0f} GFLOP/s, {reached / fastest:.0%} of the peak;"
              f" aim against nanoGPT style: {TARGETS[size]}")  # fmt: skip
        rates = generation(size, options.tries, device)
        table(f"{size}: generation, {PORTION[device.type]} documents", rates)
        print(f"  aims: {TARGETS['uncached']} and {TARGETS['HuggingFace']}")


if __name__ == "__main__":
    main()
