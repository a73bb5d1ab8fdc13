"""Exact gradient flow against gradient descent, and batched against one-by-one sampling.

Run by itself: ``python benchmarks/bench_diffusion.py``. See README.md for what is measured.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from stlcore.laws import NormalMixture
from stlcore.learners import Diffusion, Round
from stlcore.learners.diffusion import RandomFeatures, gradient_flow
from stlcore.streams import stream

WIDTH, SIZE, FLOW_TIMES = 192, 3000, (300.0, 1000.0)
DRAWN, ONE_BY_ONE = 100_000, 20
TRIES = 3


def seconds(action):
    """Result and processor seconds of the best of some tries."""
    best = np.inf
    for _ in range(TRIES):
        start = time.process_time()
        result = action()
        best = min(best, time.process_time() - start)
    return result, best


def loss(outer, gram, cross):
    """The loss without its constant."""
    m = gram.shape[-1]
    return float(((outer @ gram) * outer).sum() / m**2 - 2 * (outer * cross).sum() / m)


def descend(gram, cross, target):
    """Plain gradient descent with the largest stable step (2 / L, less a tenth), to ``target``."""
    m = gram.shape[-1]
    scaled = gram / m
    step = 0.9 / float(torch.linalg.eigvalsh(scaled)[..., -1].max())
    outer, steps = torch.zeros_like(cross), 0
    while loss(outer, gram, cross) > target:
        for _ in range(100):  # the loss is looked at now and then only
            outer = outer - step * (outer @ scaled - cross)
        steps += 100
    return outer, steps


def data_step(features, learner, points):
    """A step of gradient descent over all data, as a loop over a data set takes it.

    The noised points and their hidden units are computed once and kept, in its favour.
    """
    rows, targets = [], []
    noise = torch.Generator().manual_seed(1)
    for t in np.geomspace(*learner.span, features.noises):
        sigma = np.sqrt(-np.expm1(-2 * t))
        drawn = torch.randn(points.shape, generator=noise, dtype=points.dtype)
        rows.append(features.features(np.exp(-t) * points + sigma * drawn, t, learner.span)[0])
        targets.append(-drawn[0] / sigma)
    phi, target = torch.cat(rows), torch.cat(targets)
    outer = torch.zeros(WIDTH, 1, dtype=points.dtype)
    return lambda: outer - 1e-3 * (phi.T @ (phi @ outer / WIDTH - target)) / len(phi)


def compare_training(features, learner, truth) -> None:
    sample = learner.sample([truth], np.ones(1), np.array([SIZE]), stream(1, "sample"))

    def prepare():
        noise = torch.Generator().manual_seed(1)
        return features.normal_equations(sample, learner.span, noise)

    (gram, cross), of_equations = seconds(prepare)
    _, of_step = seconds(data_step(features, learner, sample))
    print(f"normal equations ({SIZE} points, {WIDTH} features)  {1e3 * of_equations:8.1f} ms")
    for flow_time in FLOW_TIMES:
        exact, of_flow = seconds(lambda time=flow_time: gradient_flow(gram, cross, time))
        target = loss(exact, gram, cross)
        (_, steps), of_descent = seconds(lambda target=target: descend(gram, cross, target))
        ours, over_data = of_equations + of_flow, steps * of_step
        print(f"training to the same loss, flow time {flow_time:g}: {steps} steps of descent")
        print(f"  exact flow, given the equations     {1e3 * of_flow:10.1f} ms")
        print(
            f"  descent, given the equations        {1e3 * of_descent:10.1f} ms"
            f"   ratio {of_descent / of_flow:6.1f}"
        )
        print(f"  exact flow, equations included      {1e3 * ours:10.1f} ms")
        print(
            f"  descent over the data, extrapolated {1e3 * over_data:10.1f} ms"
            f"   ratio {over_data / ours:6.1f}"
        )


def compare_sampling(learner, truth) -> None:
    sample = learner.sample([truth], np.ones(1), np.array([SIZE]), stream(1, "sample"))
    model = learner.fit(sample, None, Round(1, stream(1, "fit")))
    _, batched = seconds(lambda: learner.generate(model, DRAWN, stream(1, "batched")))

    def one_by_one():
        rng = stream(1, "single")
        return [learner.generate(model, 1, rng) for _ in range(ONE_BY_ONE)]

    _, single = seconds(one_by_one)
    whole = single / ONE_BY_ONE * DRAWN
    print(f"sampling {DRAWN:,} points ({len(learner.times) - 1} steps)")
    print(f"  batched                             {batched:10.2f} s")
    print(
        f"  one by one, extrapolated            {whole:10.1f} s "
        f"   ratio {whole / batched:6.1f}   ({ONE_BY_ONE} points measured)"
    )


def main() -> None:
    torch.set_num_threads(1)
    truth = NormalMixture([0.4, 0.6], [-1.0, 0.8], [0.45, 0.55])
    features = RandomFeatures(1, WIDTH, stream(1, "features"), flow_time=FLOW_TIMES[0])
    learner = Diffusion(truth, features, device="cpu")
    compare_training(features, learner, truth)
    compare_sampling(learner, truth)


if __name__ == "__main__":
    main()
