"""Memory and time of the measures of B-08, and of its convolutional network, on large images.

Run by itself: ``python benchmarks/bench_images.py``. See README.md for what is measured.
"""

from __future__ import annotations

import argparse
import math
import resource
import time

import numpy as np
import torch
from sklearn.datasets import load_digits

from stlcore.learners.diffusion import ConvolutionalDenoiser
from stlcore.metrics import fidelity, mmd_squared, nearest
from stlcore.streams import stream

SHAPES = {"28x28": (28, 28), "32x32x3": (32, 32, 3)}


def images(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Digits enlarged to 28 x 28 and drawn with noise, or random colours; one in each row."""
    rng = stream(1, "images", str(shape))
    noise = rng.standard_normal((count, math.prod(shape)), dtype=np.float32)
    if len(shape) == 3:
        return noise
    small = load_digits().images.astype(np.float32) / 16
    large = torch.nn.functional.interpolate(torch.from_numpy(small)[:, None], shape)
    noise *= 0.1
    noise += large.flatten(1).numpy()[rng.integers(len(small), size=count)]
    return noise


def main() -> None:
    """Measure one shape and one number of images, in a process of its own for its memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("count", type=int, help="images, half of them real")
    parser.add_argument("--steps", type=int, default=20, help="of Adam, for their time")
    options = parser.parse_args()
    shape = SHAPES[options.shape]

    def told(what: str, start: float) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{what}: {time.process_time() - start:.1f} s, {memory:.2f} GB so far", flush=True)

    start = time.process_time()
    together = images(shape, options.count)
    real, made = np.array_split(together, 2)
    told(f"{options.count} images of {options.shape}", start)
    start = time.process_time()
    bandwidth = float(np.median(nearest(made[:1000], 5, to=real)))
    told("a thousand to their neighbours", start)
    start = time.process_time()
    mmd_squared(real, made, bandwidth)
    told("maximum mean discrepancy", start)
    start = time.process_time()
    fidelity(real, made)
    told("precision and coverage", start)
    points = torch.from_numpy(real[: min(len(real), 2500)])[None]
    for steps in (1, options.steps):
        start = time.process_time()
        network = ConvolutionalDenoiser(shape, 32, 2, steps=steps)
        fitted = network.fit(points, (2e-4, 3.0), torch.Generator().manual_seed(1))
        told(f"{steps} steps of the convolutional network, batch 128", start)
    start = time.process_time()
    network(fitted, torch.randn(1, 500, points.shape[-1], dtype=torch.float64), 0.5)
    told("its score at 500 images", start)


if __name__ == "__main__":
    main()
