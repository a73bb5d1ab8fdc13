"""The trained denoisers: what it learns, that repetitions do not meet, and checkpoints."""

import numpy as np
import pytest
import torch

from stlcore.cycles import balanced, fixed_real, full_synthetic
from stlcore.learners.base import Resumes, Round
from stlcore.learners.checking import check_learner
from stlcore.learners.diffusion.convolutional import ConvolutionalDenoiser
from stlcore.learners.diffusion.denoiser import Denoiser
from stlcore.learners.diffusion.learner import Diffusion, EmpiricalLaw
from stlcore.learners.diffusion.scores import LinearScore, Network, RandomFeatures
from stlcore.loop import run
from stlcore.streams import stream

POINTS = np.repeat([[-1.5, 0.0], [1.5, 0.0]], 100, axis=0) + 0.1 * stream(
    1, "points"
).standard_normal((200, 2))


def small(**settings):
    return Denoiser(24, 1, **({"steps": 300, "batch": 32, "rate": 5e-3} | settings))


def convolutional(**settings):
    return ConvolutionalDenoiser((2, 2), 4, 1, **({"steps": 3, "batch": 8} | settings))


def learner(score, **settings):
    return Diffusion(EmpiricalLaw(POINTS), score, **({"cutoff": 1e-3, "steps": 20} | settings))


@pytest.mark.parametrize("sampler", ["sde", "flow"])
def test_it_learns_two_clusters_that_no_normal_law_has(sampler):
    own = learner(small(steps=1000), sampler=sampler)
    model = own.fit(own.given(POINTS, 2), None, Round(1, stream(1, "fit")))
    for made in own.generate(model, 400, stream(1, "made")):
        near = np.abs(np.abs(made[:, 0]) - 1.5) < 0.5
        assert near.mean() > 0.9
        assert 0.35 < (made[:, 0] > 0).mean() < 0.65
    normal = learner(LinearScore(), sampler=sampler)
    plain = normal.fit(normal.given(POINTS), None, Round(1, stream(1, "fit")))
    made = normal.generate(plain, 400, stream(1, "made"))[0]
    assert (np.abs(np.abs(made[:, 0]) - 1.5) < 0.5).mean() < 0.6


def test_convolutions_learn_stripes_that_no_normal_law_has():
    rng = stream(2, "stripes")
    signs = rng.choice([-1.0, 1.0], size=(200, 4, 1)) * np.ones((1, 1, 4))
    down = rng.random((200, 1, 1)) < 0.5
    stripes = np.where(down, signs, signs.swapaxes(1, 2)).reshape(200, 16)
    score = ConvolutionalDenoiser((4, 4), 16, 1, steps=400, batch=64, rate=1e-2, average=0.99)
    own = Diffusion(EmpiricalLaw(stripes), score, cutoff=1e-3, steps=40)
    model = own.fit(own.given(stripes, 2), None, Round(1, stream(1, "fit")))

    def striped(made):
        """The share of images whose rows, or whose columns, are each of one colour."""
        images = np.sign(made).reshape(-1, 4, 4)
        rows = np.ptp(images, axis=2).max(axis=1) == 0
        return np.mean(rows | (np.ptp(images, axis=1).max(axis=1) == 0))

    for made in own.generate(model, 300, stream(1, "made")):
        assert striped(made) > 0.8
    assert striped(rng.standard_normal((300, 16))) < 0.1


def scrambled(score, repetitions=2):
    """Weights of which none is 0, and points."""
    rng = torch.Generator().manual_seed(1)
    points = torch.randn(repetitions, 5, int(np.prod(score.shape)), generator=rng)
    return [torch.randn(w.shape, generator=rng) / 8 for w in score._start(points, rng)], points


def test_convolutions_see_an_image_with_its_rows_columns_and_colours():
    # Everything mirrored, kernels and image, mirrors the guess; so does no other order of pixels.
    score = ConvolutionalDenoiser((4, 6, 3), 8, 1)
    weights, points = scrambled(score)
    level = torch.zeros(2, 1, 1)

    def mirror(images):
        return images.unflatten(2, (4, 6, 3)).flip(3).flatten(2)

    mirrored = [w.flip(-1) if w.dim() == 5 else w for w in weights]
    guess = mirror(score._network(weights, points, level))
    torch.testing.assert_close(guess, score._network(mirrored, mirror(points), level))
    assert not torch.allclose(guess, score._network(weights, mirror(points), level), atol=1e-2)


def test_repetitions_of_a_convolution_do_not_meet():
    score = ConvolutionalDenoiser((4, 4), 8, 2)
    weights, points = scrambled(score)
    level = torch.tensor([[[-1.0]], [[0.5]]])
    both = score._network(weights, points, level)
    for r in range(2):
        alone = score._network([w[r : r + 1] for w in weights], points[r : r + 1], level[r : r + 1])
        torch.testing.assert_close(both[r : r + 1], alone)


def test_an_untrained_network_gives_the_preconditioned_score():
    # The last layer starts at 0, so the guess is v / (v + sigma^2) times the noisy point.
    family = small()
    points = torch.from_numpy(POINTS)[None]
    weights = [w.detach() for w in family._start(points.float(), torch.Generator().manual_seed(1))]
    variance, t = 2.0, 0.7
    x = torch.tensor([[[0.3, -1.0]]], dtype=torch.float64)
    score = family((weights, torch.full((1, 1, 1), variance)), x, t)
    expected = -x / (variance * np.exp(-2 * t) + 1 - np.exp(-2 * t))
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-6)


def test_repetitions_do_not_meet():
    # One repetition's points change; the other's model must not.
    family, other = small(steps=20), POINTS.copy()
    other[:, 0] += 3
    fitted = [
        family.fit(torch.from_numpy(np.stack(pair)), (0.01, 3.0), torch.Generator().manual_seed(1))
        for pair in ([POINTS, POINTS], [POINTS, other])
    ]
    for first, second in zip(fitted[0][0], fitted[1][0], strict=True):
        torch.testing.assert_close(first[0], second[0], rtol=1e-4, atol=1e-5)
    assert not torch.equal(fitted[0][0][0][1], fitted[1][0][0][1])


@pytest.mark.parametrize(
    "score",
    [
        small(steps=3),
        convolutional(),
        LinearScore(),
        Network([8], steps=3),
        RandomFeatures(2, 8, stream(1, "features"), flow_time=10.0),
    ],
    ids=["denoiser", "convolutional", "linear", "network", "features"],
)
@pytest.mark.parametrize("cycle", [full_synthetic(), fixed_real(0.5), balanced()])
def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(score, cycle, tmp_path):
    own = learner(score, steps=4)
    if isinstance(score, ConvolutionalDenoiser):  # it takes images, of 2 x 2 pixels
        own = Diffusion(EmpiricalLaw(np.repeat(POINTS, 2, axis=1)), score, cutoff=1e-3, steps=4)
    assert isinstance(own, Resumes)
    seen = []

    def go(rounds, **settings):
        rng = stream(3, "loop")
        return run(own, cycle, 20, rounds, 2, rng, observe=lambda t, m: seen.append(m), **settings)

    whole = go(4)
    unbroken = own.generate(seen[-1], 5, stream(4, "made"))
    go(2, checkpoint=tmp_path / "a")
    again = go(4, checkpoint=tmp_path / "a")
    np.testing.assert_array_equal(whole.to_numpy(), again.to_numpy())
    np.testing.assert_array_equal(unbroken, own.generate(seen[-1], 5, stream(4, "made")))


def test_another_width_is_another_run(tmp_path):
    def go(width):
        own = learner(Denoiser(width, 1, steps=2), steps=2)
        run(own, full_synthetic(), 10, 1, 1, stream(1, "loop"), checkpoint=tmp_path / "a")

    go(8)
    with pytest.raises(ValueError, match="another run"):
        go(9)


def test_it_keeps_the_protocol():
    assert not check_learner(learner(small(steps=2), steps=2))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"rate": 0.0}, "learning rate"),
        ({"average": 1.0}, "decay of the average"),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        small(**settings)


@pytest.mark.parametrize(
    ("shape", "width", "words"),
    [
        ((5, 4), 8, "both sides even"),
        ((4, 4, 3, 1), 8, "both sides even"),
        ((4, 4), 6, "multiple of 4"),
        ((0, 4), 8, "side of an image"),
    ],
)
def test_images_that_cannot_be_halved_are_named(shape, width, words):
    with pytest.raises(ValueError, match=words):
        ConvolutionalDenoiser(shape, width)


def test_points_that_are_no_such_images_are_named():
    own = learner(ConvolutionalDenoiser((4, 4), 4), steps=4)
    with pytest.raises(ValueError, match="2 coordinates"):
        own.fit(own.given(POINTS, 1), None, Round(1, stream(1, "fit")))
