r"""A collapse criterion that can be checked before the loop is run.

From a learner, one real data set and a planned cycle, :func:`collapse_criterion` measures how
a planned round, real data included, passes on a small change of the model it starts from: in
the mean, and in the mean square. Whether both die out is the verdict, and they predict how
far the loop will move. No true law is needed. Real points that a round uses again are points
of the data; fresh ones are drawn from a resample of them or by a function of the user's, and
never by the learner's own sampler, which may be the very thing that is wrong.

Paper A says that a constant real share suffices; which one is derived for this companion.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import numpy as np

from stlcore.checks import check_count
from stlcore.cycles import Cycle, fixed_real
from stlcore.loop import First
from stlcore.stability.growth import Growth
from stlcore.stability.planned_rounds import STEPS, Rounds, common_share, mean_radii
from stlcore.stability.real_items import (
    Planned,
    check_methods,
    check_sample,
    fresh_source,
    resampled,
)
from stlcore.stability.replaced_example import plan_of, recursive_stability, summary
from stlcore.stability.report import Criterion
from stlcore.stability.response import (
    from_vector,
    last_model,
    response_operators,
    stacked,
    to_vector,
)
from stlcore.stability.scale import Scale

__all__ = ["collapse_criterion"]

AGAIN = 8  # planned rounds in every world, to tell what stays from what is new
DRAWS = 8  # learners that differ by what they draw, for the error of the choice


def collapse_criterion(
    learner: Any,
    data: Any,
    cycle: Cycle,
    size: int,
    rounds: int,
    rng: np.random.Generator,
    *,
    real: Any = None,
    repetitions: int = 400,
) -> Criterion:
    r"""Measure whether a planned loop will hold, before it is run.

    Parameters
    ----------
    learner : Learner
        With ``sample``, ``fit``, ``pool`` and ``subset``; neither ``truth`` nor ``track`` is
        asked for. Its models must have parameters, see
        :func:`~stlcore.stability.response.to_vector`.
    data : sample
        The real data, as the learner's ``sample`` gives them, repetition axis of length 1.
    cycle : Cycle
        The plan: ``fixed_real(share)``, ``fresh_mixture(share)`` or ``full_synthetic()``.
        Sources are taken to give their shares exactly.
    size : int
        Items in ``data`` and in every round.
    rounds : int
        Generations planned after the first fit.
    rng : numpy.random.Generator
        The only source of randomness.
    real : sample or callable, optional
        Where fresh real items come from: a hold-out, like ``data``, from which they are
        resampled, or ``real(size, rng)`` that returns a sample of ``size[r]`` items for
        repetition r. By default the data.
    repetitions : int
        Trainings that every mean is taken over, from 20 up.

    Returns
    -------
    Criterion

    Raises
    ------
    TypeError
        If the learner lacks a method, its models have no parameters, or the data are no
        sample of it.
    ValueError
        If the data hold another number of items or more than one repetition, the cycle has no
        constant share, a number is out of range, or trainings fail near the first model.

    Notes
    -----
    Every repetition has a world of its own: a bootstrap sample of the data (or the hold-out)
    that fresh items come from, and a random part of the data to use again. So the prediction
    holds on average over what one data set leaves open about its law.

    The derivative of a planned round is measured by central differences with common random
    numbers, along every axis of the scale, with steps of a half and of one standard error.

    Gamma comes from a rehearsal, two planned loops from resampled data. At the models in which
    it ends the factor of the mean is measured again, in the same worlds with other random
    numbers. What both operators of a world share is its own, and tells by how much the factors
    of one data set miss those of its law, where fresh items come from the data or a hold-out.

    A learner whose parameters depend on something drawn, the queries that a predictor is
    asked for example, may offer ``redrawn(rng)``: the same learner with another draw. Then all
    is measured with eight draws, and the errors cover one more.

    The cost is that of about ``6 k + 2 rounds + 10`` rounds of the loop with ``repetitions``
    repetitions, k the number of axes, for every draw.
    """
    check_methods(learner)
    if not isinstance(rng, np.random.Generator):
        raise TypeError("rng must be a numpy.random.Generator, for example stream(1)")
    rounds = check_count("rounds", rounds)
    if check_count("repetitions", repetitions) < 20:
        raise ValueError(f"the errors need at least 20 repetitions, not {repetitions}")
    if not isinstance(cycle, Cycle):
        raise TypeError(f"the cycle must be one, for example fresh_mixture(0.3), not {cycle!r}")
    check_sample(learner, data, "the data", size)
    call = data, cycle, size, rounds, real, repetitions
    found = [_measured(learner, rng, *call)]
    if hasattr(learner, "redrawn"):
        found += [_measured(learner.redrawn(own), own, *call) for own in rng.spawn(DRAWS - 1)]
    return Criterion.over(found)


def _measured(learner, rng, data, cycle, size, rounds, real, repetitions) -> Criterion:
    """The criterion for one learner."""
    plan, cycle = plan_of(cycle, size), cycle.exact()
    of_first, of_worlds, of_scale, of_round, of_again, of_gamma, of_later = rng.spawn(7)
    worlds = resampled(learner, data, size, repetitions, of_worlds)
    source = fresh_source(learner, worlds, real, size, repetitions, of_worlds)
    planned = Planned(learner, source)
    model = last_model(planned, cycle, size, 1, 1, of_first, First(data))
    at = to_vector(model, learner)[0]
    if not np.isfinite(at).all():
        raise ValueError(f"the fit of {type(learner).__name__} to the data is not finite: {at}")
    parts = None
    if plan.again:
        parts = stacked([learner.subset(data, plan.again, of_worlds) for _ in range(repetitions)])

    def lost(model):
        return np.asarray(planned.lost(model) if hasattr(planned, "lost") else False)

    def trained(parameters, rng, template=model, cycle=cycle, part=parts):
        """The parameters, (repetitions, p), after one round that starts from given ones."""
        vectors = np.broadcast_to(parameters, (repetitions, len(at))).copy()
        first = First(model=from_vector(vectors, template, learner), part=part)
        last = last_model(planned, cycle, size, 2, repetitions, rng, first)
        found = to_vector(last, learner)
        failed = lost(last) | ~np.isfinite(found).all(axis=1)
        if failed.any():
            raise ValueError(
                f"{failed.sum()} of {failed.size} trainings of {type(learner).__name__} diverge or "
                "are not finite one round from the first model, so no response can be measured"
            )
        return found

    scale = Scale.of(at, trained(at, of_scale, cycle=fixed_real(1.0), part=worlds))

    def respond(coordinates, rng):
        return scale.coordinates(trained(scale.parameters(coordinates), rng))

    centre = np.zeros(scale.axes)
    moves = respond(centre, copy.deepcopy(of_round))
    again = np.array([respond(centre, one) for one in of_again.spawn(AGAIN)])
    try:
        steps = [response_operators(respond, centre, of_round, length) for length in STEPS]
    except ValueError as error:
        error.add_note(
            f"This was with a model of {type(learner).__name__} up to one standard error from the "
            "first. If some parameters may not take such values, give the learner to_vector and "
            "from_vector with others, the logarithm of a variance, say."
        )
        raise
    operators, middles = map(np.array, zip(*steps, strict=True))
    seen = Rounds(operators, middles, moves, again, plan.again > 0 or plan.fresh > 0)
    trajectory, band = seen.prediction(rounds)
    rehearsed = None

    def apart(*models):
        """Distance of models in standard errors, missing where one is lost."""
        nonlocal rehearsed
        rehearsed = models[0]
        far = scale.distance(*(to_vector(model, learner) for model in models))
        return np.where(lost(models[0]) | lost(models[1]), np.nan, far)

    gamma = recursive_stability(planned, cycle, size, rounds, repetitions, of_gamma, apart)
    places, later, common = to_vector(rehearsed, learner), None, 0.0

    def respond_later(coordinates, rng):
        start = scale.parameters(coordinates, places)
        return scale.coordinates(trained(start, rng, rehearsed))

    if np.isfinite(places).all():
        # A training may fail where a loop has run away; then there is no factor.
        with suppress(ValueError, np.linalg.LinAlgError), np.errstate(all="ignore"):
            there, _ = response_operators(respond_later, centre, of_later, STEPS[0])
            if plan.fresh > 0 and not callable(real):
                common = common_share(operators[0], there)
            later = Growth.of(lambda chosen: mean_radii(there[None, chosen]), repetitions, common)
    return Criterion(
        share=1 - plan.new * (1 - plan.fresh) / size,
        mean=Growth.of(seen.mean, repetitions, common),
        mean_square=Growth.of(seen.square, repetitions, common),
        later=later,
        curvature=seen.curvature,
        gamma=summary(gamma),
        trajectory=trajectory,
        band=band,
        scale=scale,
        learner=learner,
    )
