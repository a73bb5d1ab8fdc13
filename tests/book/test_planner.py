"""Plans: the theory against brute force, and the browser's numbers against the theory."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from stlcore.cycles import Filter
from stlcore.pages.repository import ROOT
from stlcore.schedules import Growth, Share, Size
from stlcore.streams import stream
from stlcore.theory.contamination import (
    classify,
    filtered_risk,
    limit_fixed,
    mean_inverse,
    smallest_size,
)
from stlcore.theory.enumeration import risk_by_enumeration
from stlcore.theory.planning import KEEP_ALL, Plan, effective_size, fresh_needed

V = 0.9
BOOK = ROOT / "_build" / "html" / "notebooks" / "contamination" / "c16_plan_a_loop.html"
NUMBERS = ROOT / "notebooks" / "contamination" / "c16_planner.js"
OPEN_ALL = "() => document.querySelectorAll('#planner details').forEach(d => (d.open = true))"


# --- Schedules made of volumes -----------------------------------------------------------------


def test_share_and_total_are_those_of_the_volumes():
    real, synthetic = Size.power(3, 0.5), Size.power(7, 1)
    total = Size.total(real, synthetic)
    assert total.values(4).tolist() == [10, 19, 27, 34]
    assert Share.of(real, synthetic).values(4) == pytest.approx([1, 5 / 19, 6 / 27, 6 / 34])


def test_volumes_of_none_at_all():
    assert Share.of(None, 5).values(3).tolist() == [1, 0, 0]
    assert Share.of(5, None).values(3).tolist() == [1, 1, 1]
    assert Size.total(None, 5).values(2).tolist() == [5, 5]
    with pytest.raises(ValueError, match="a total needs at least one size"):
        Share.of(None, None)


@pytest.mark.parametrize(
    ("real", "synthetic", "share", "total"),
    [
        (5, 15, (0.25, 0, 0), (20, 0, 0)),
        (5, Size.power(10, 1), (0.5, -1, 0), (10, 1, 0)),
        (Size.power(5, 2), Size.power(10, 1), (1, 0, 0), (5, 2, 0)),
        (Size.power(5, 1), Size.log(10), (0.5, 0, -1), (10, 1, 1)),
        (None, 15, (0, 0, 0), (15, 0, 0)),
    ],
)
def test_growth_of_volumes(real, synthetic, share, total):
    assert Share.of(real, synthetic).growth == Growth(*share)
    assert Size.total(real, synthetic).growth == Growth(*total)


def test_volumes_as_maths():
    assert Share.of(5, Size.power(10, 1)).latex == r"\alpha_t = 5/(5 + 10\,t)"
    assert Share.of(None, 5).latex == r"\alpha_t = 0"
    assert Size.total(5, Size.power(10, 1)).latex == r"n_t = 5 + 10\,t"


@pytest.mark.parametrize(
    ("real", "synthetic"),
    [(Size.power(3, 0.5), Size.power(2, 2)), (Size.power(1, 0.1), Size.power(5, 1.7)), (9, 4)],
)
def test_bound_of_a_share(real, synthetic):
    share = Share.of(real, synthetic)
    start, t = 100, np.arange(101, 20001)
    bound = share.bound(start)
    assert np.all(share.values(20000)[start:] <= bound.scale * t**bound.power * (1 + 1e-12))


def test_classify_in_volumes():
    def verdict(real, synthetic):
        return classify(Share.of(real, synthetic), Size.total(real, synthetic), V)

    assert verdict(5, 15).limit == limit_fixed(0.25, 20, V)
    borderline = verdict(5, Size.power(15, 1))
    assert borderline.limit == pytest.approx(V / 11)
    assert verdict(Size.power(5, 0.5), Size.power(15, 1.5)).kind == "consistency"
    assert verdict(None, Size.power(15, 1)).limit == V


# --- Effective sizes ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 199, 200, 201, 250, 5000])
@pytest.mark.parametrize("q", [1.0, 0.9, 0.3, 0.04, 1e-6])
def test_effective_size_of_a_batch(n, q):
    assert effective_size(n, q) * mean_inverse(n, q) == pytest.approx(1, abs=1e-13)
    pooled = n * q / -math.expm1(n * math.log1p(-q)) if q < 1 else n
    assert effective_size(n, q, accumulate=True) == pytest.approx(pooled, rel=1e-13)


def test_effective_size_of_nothing():
    assert effective_size(0, 0.5) == effective_size(5, 0) == 0
    assert effective_size([0, 4], [1, 1], accumulate=True).tolist() == [0, 4]


# --- Plans --------------------------------------------------------------------------------------

PLAN = Plan(100, Size.fixed(60), Size.power(100, 1), 3000, Filter(0.1, 0.5))


def test_the_budget_is_spent_to_the_last_item():
    real, synthetic = PLAN.volumes(60)
    assert PLAN.spent == 50
    assert real.sum() == 3000
    assert real[[0, 1, 48, 49, 50]].tolist() == [100, 60, 60, 20, 0]
    assert synthetic[[0, 1, 59]].tolist() == [0, 200, 6000]
    assert replace(PLAN, budget=100).spent == 1
    assert replace(PLAN, budget=None).spent is None
    assert replace(PLAN, fresh=None).spent is None


def test_a_plan_has_the_filtered_risk_of_theorem_d2():
    for filter in (PLAN.filter, Filter(0.0, 0.003), Filter(0.97, 1.0)):
        plan = replace(PLAN, filter=filter, first=4, fresh=Size.fixed(3), synthetic=Size.fixed(5))
        real, synthetic = plan.volumes(80)
        drawn = real + synthetic
        exact = filtered_risk(real / drawn, drawn, *filter, V)
        assert plan.risk(80, V) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("filter", [KEEP_ALL, Filter(0.2, 0.4)])
def test_a_small_plan_outcome_by_outcome(filter):
    plan = Plan(3, Size.fixed(1), Size.fixed(2), filter=filter)
    truth = np.array([0.5, 0.3, 0.2])
    listed = risk_by_enumeration(truth, [1, 1 / 3, 1 / 3], [3, 3, 3], filter=tuple(filter))
    assert plan.risk(3, 1 - (truth**2).sum()) == pytest.approx(listed, abs=1e-12)


def test_an_accumulating_plan_without_a_filter_outcome_by_outcome():
    plan = Plan(3, Size.fixed(1), Size.fixed(2), accumulate=True)
    truth = np.array([0.5, 0.3, 0.2])
    listed = risk_by_enumeration(truth, [1, 1 / 3, 1 / 3], [3, 3, 3], accumulate=True)
    assert plan.risk(3, 1 - (truth**2).sum()) == pytest.approx(listed, abs=1e-12)


def test_a_plan_that_runs_dry_keeps_its_model():
    dry = Plan(10, Size.fixed(5), Size.fixed(7), 23, Filter(0.0, 0.0))  # 10, 5, 5, 3 real items
    assert dry.ends == 4
    expected = V / np.array([10, 1 / mean_inverse(12, 5 / 12)])
    assert dry.risk(2, V) == pytest.approx(expected)
    assert np.all(dry.risk(9, V)[3:] == dry.risk(9, V)[3])
    assert dry.verdict(V).limit == dry.risk(9, V)[-1]
    assert Plan(10, None, None).verdict(V).limit == pytest.approx(V / 10)
    assert Plan(10, Size.fixed(5), None, 23).ends == 4


def test_plans_that_cannot_be():
    with pytest.raises(ValueError, match="the budget must cover the first real set"):
        replace(PLAN, budget=99)
    with pytest.raises(ValueError, match=r"the error rates must lie in \[0, 1\]"):
        replace(PLAN, filter=Filter(0.1, 1.2))
    with pytest.raises(ValueError, match="the budget lasts for more than 1000000 rounds"):
        replace(PLAN, fresh=Size.fixed(1), budget=10**7).verdict(V)


# --- What the next round needs --------------------------------------------------------------------


def next_risk(R, fresh, synthetic, filter, pooled):
    """The risk after one more round with V = 1, written down once more."""
    real, copied = (1 - filter.type1) * fresh, filter.type2 * synthetic
    if real + copied == 0:
        return R
    n, q, alpha = fresh + synthetic, (real + copied) / (fresh + synthetic), real / (real + copied)
    if pooled is None:
        m = mean_inverse(n, q)
        return (1 - alpha) ** 2 * (1 - m) * R + m
    m = n * q / (1 - (1 - q) ** n)
    w = m / (pooled + m)
    return (1 - alpha * w) ** 2 * R + w**2 / m * (1 - (1 - alpha) ** 2 * R)


@pytest.mark.parametrize("filter", [KEEP_ALL, Filter(0.1, 0.5), Filter(0.9, 1.0), Filter(0.3, 0.0)])
@pytest.mark.parametrize("synthetic", [0, 1, 3, 10, 100, 1000])
@pytest.mark.parametrize("worth", [1, 1.5, 2, 10, 33.3, 100])
def test_fresh_needed_by_brute_force(worth, synthetic, filter):
    for pooled in (None, worth, 3 * worth):
        needed = fresh_needed(worth, synthetic, filter, pooled)
        for fresh in range(int(needed)):
            assert next_risk(1 / worth, fresh, synthetic, filter, pooled) >= (1 - 1e-13) / worth
        assert next_risk(1 / worth, int(needed), synthetic, filter, pooled) < 1 / worth


@pytest.mark.parametrize("worth", [1, 2, 10, 37.5, 1000, 12345])
@pytest.mark.parametrize("synthetic", [1, 7, 100, 10**4, 10**8, 10**12])
def test_bounds_on_the_need(worth, synthetic):
    replaced = fresh_needed(worth, synthetic)
    assert (worth - 1) / 2 < replaced <= math.floor(worth) + 1
    assert fresh_needed(worth, 0) == math.floor(worth) + 1
    for pooled in (worth, 1.2 * worth, 50 * worth):
        bound = worth * synthetic / (2 * pooled + 2 * synthetic - worth)
        assert fresh_needed(worth, synthetic, pooled=pooled) <= math.floor(bound) + 1


def test_a_flood_of_synthetic_items_halves_the_need():
    for worth in (10, 37.5, 1000):
        assert fresh_needed(worth, 10**12) == math.floor((worth - 1) / 2) + 1


def test_the_need_agrees_with_the_smallest_size():
    """At the share and size that it leads to, Proposition 3.4 says the same."""
    for worth, synthetic in [(10, 10), (50, 200), (33.3, 7)]:
        fresh = fresh_needed(worth, synthetic)
        alpha, less = fresh / (fresh + synthetic), (fresh - 1) / (fresh - 1 + synthetic)
        assert smallest_size(alpha, V / worth, V) <= fresh + synthetic
        assert smallest_size(less, V / worth, V) > fresh - 1 + synthetic


def test_no_need_can_be_met_when_all_real_items_are_lost():
    assert fresh_needed(10, 5, Filter(1.0, 0.5)) == math.inf


def test_needs_that_make_no_sense():
    with pytest.raises(ValueError, match="worth at least one real item"):
        fresh_needed(0.5, 10)
    with pytest.raises(ValueError, match="must not be negative"):
        fresh_needed(5, -1)


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_round_with_what_it_needs_improves(accumulate):
    plan = replace(PLAN, budget=None, accumulate=accumulate)
    needs, risks = plan.needed(40), plan.risk(41, V)
    falls = risks[1:] < risks[:-1]
    assert np.array_equal(falls, needs <= 60)
    assert not accumulate or falls.any()


# --- Where a plan ends ---------------------------------------------------------------------------


def test_verdict_is_that_of_classify_where_both_can_be_asked():
    real, synthetic = Size.fixed(60), Size.power(100, 1)
    plan = Plan(160, real, synthetic)  # the first round of Size.total(real, synthetic)
    for accumulate in (False, True):
        ours = replace(plan, accumulate=accumulate).verdict(V)
        theirs = classify(
            Share.of(real, synthetic), Size.total(real, synthetic), V, accumulate=accumulate
        )
        assert (ours.kind, ours.limit) == (theirs.kind, pytest.approx(theirs.limit))


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("budget", [None, 3000])
@pytest.mark.parametrize(("a", "b"), [(0, 1), (0, 2), (0.5, 2), (1, 1.5)])
def test_the_bracket_holds_a_long_run(a, b, budget, accumulate):
    plan = Plan(
        100, Size.power(60, a), Size.power(100, b), budget, Filter(0.1, 0.5), accumulate=accumulate
    )
    verdict = plan.verdict(V)
    long = plan.risk(200_000, V)
    if verdict.kind == "consistency":
        assert long[-1] < long[20_000] / 3
    elif verdict.error:  # the run has not gone as far as the bracket
        assert abs(long[-1] - verdict.limit) <= verdict.error + 0.03 * verdict.limit
    else:
        gap = np.abs(long[[200, 2000, -1]] - verdict.limit)
        assert np.all(np.diff(gap) < 0)


# --- The browser ---------------------------------------------------------------------------------


def settings(rng, **fixed) -> dict:
    """Settings of a random plan, as the planner's controls have them."""
    halves = lambda top: float(rng.integers(0, 2 * top + 1)) / 2  # noqa: E731
    first = int(np.ceil(10 ** rng.uniform(0, 3.5)))
    chosen = {
        "first": first,
        "fresh": int(rng.choice([0, np.ceil(10 ** rng.uniform(0, 3))], p=[0.1, 0.9])),
        "freshPower": halves(2),
        "synthetic": int(rng.choice([0, np.ceil(10 ** rng.uniform(0, 4))], p=[0.1, 0.9])),
        "syntheticPower": halves(3),
        "budget": None if rng.random() < 0.4 else first + int(10 ** rng.uniform(0, 5)),
        "type1": float(
            rng.choice([0, 0.01, 0.2, 0.5, 0.99, 1], p=[0.35, 0.2, 0.2, 0.1, 0.1, 0.05])
        ),
        "type2": float(rng.choice([1, 0.9, 0.3, 0.01, 0], p=[0.35, 0.2, 0.2, 0.15, 0.1])),
        "accumulate": bool(rng.random() < 0.5),
        "classes": int(rng.choice([2, 3, 50, 5000])),
        "rounds": int(rng.integers(2, 120)),
    }
    return {**chosen, **fixed}


def plan_of(chosen: dict) -> Plan:
    return Plan(
        chosen["first"],
        Size.power(chosen["fresh"], chosen["freshPower"]) if chosen["fresh"] else None,
        Size.power(chosen["synthetic"], chosen["syntheticPower"]) if chosen["synthetic"] else None,
        chosen["budget"],
        Filter(chosen["type1"], chosen["type2"]),
        chosen["accumulate"],
    )


@cache
def verdict_of(plan: Plan, V: float, unlimited: bool = False) -> tuple:
    if unlimited and plan.budget is None:
        return verdict_of(plan, V)
    try:
        verdict = plan.verdict(V, unlimited=unlimited)
    except ValueError as error:
        if "too close" not in str(error):
            raise
        return ("undecided",)
    return verdict.kind, verdict.limit, verdict.error


def same_verdict(found: dict, expected: tuple) -> None:
    assert found["kind"] == expected[0]
    if expected[0] != "undecided":
        assert found["limit"] == pytest.approx(expected[1], rel=1e-9, abs=0)
        assert found["error"] == pytest.approx(expected[2], rel=1e-6, abs=1e-9 * expected[1])


def same_numbers(found: dict, chosen: dict) -> None:
    plan, rounds, V = plan_of(chosen), chosen["rounds"], 1 - 1 / chosen["classes"]
    assert found["risk"] == pytest.approx(plan.risk(rounds, V), rel=1e-9, abs=0)
    real, synthetic = plan.volumes(rounds + 1)
    assert found["real"] == real[:-1].tolist()
    assert found["synthetic"] == synthetic[:-1].tolist()
    needed = plan.needed(rounds)
    assert found["needed"][1:] == needed[:-1].tolist()
    assert found["next"] == {
        "round": rounds + 1,
        "needed": needed[-1],
        "planned": real[-1],
        "synthetic": synthetic[-1],
    }
    assert found["spent"] == plan.spent
    assert found["ends"] == plan.ends
    same_verdict(found["verdict"], verdict_of(plan, V))
    same_verdict(found["unlimited"], verdict_of(plan, V, unlimited=True))


@pytest.fixture(scope="module")
def script(browser):
    """An empty page with the planner's numbers in it."""
    page = browser.new_page()
    page.add_script_tag(path=NUMBERS)
    yield page
    page.close()


def computed(script, chosen: dict) -> dict:
    plan = {**chosen, "V": 1 - 1 / chosen["classes"]}
    return script.evaluate(
        """([plan, rounds]) => {
            return {...stlPlanner.trajectory(plan, rounds), ...stlPlanner.verdicts(plan)};
        }""",
        [plan, plan["rounds"]],
    )


@pytest.mark.parametrize("number", range(40))
def test_script_against_the_package(script, number):
    chosen = settings(stream(20260316, "plans", number))
    same_numbers(computed(script, chosen), chosen)


def test_mean_inverse_in_the_browser(script):
    cases = [(n, q) for n in (1, 2, 17, 199, 250, 3000, 10**5) for q in (1, 0.97, 0.4, 1e-2, 1e-5)]
    found = script.evaluate("cases => cases.map(([n, q]) => stlPlanner.meanInverse(n, q))", cases)
    assert found == pytest.approx([mean_inverse(n, q) for n, q in cases], rel=1e-12)


def corners():
    """A grid of growths, and the settings at which one verdict turns into another."""
    base = {"first": 100, "budget": None, "type1": 0, "type2": 1, "accumulate": False}
    for a in (0, 0.5, 1):
        for b in (0, 0.5, 1, 1.5, 2):
            for accumulate in (False, True):
                yield {
                    **base,
                    "fresh": 60,
                    "synthetic": 100,
                    "freshPower": a,
                    "syntheticPower": b,
                } | {"accumulate": accumulate}
    volumes = {"synthetic": 100, "freshPower": 0, "syntheticPower": 1}
    for fresh in (49, 50, 51):  # V / (2 f + 1) against V / 101
        yield {**base, **volumes, "first": 101, "fresh": fresh}
        yield {**base, **volumes, "first": 101, "fresh": 2 * fresh, "type1": 0.5}
        yield {**base, **volumes, "first": 101, "fresh": fresh, "syntheticPower": 0.5}
    for first in (44, 45, 46):  # 60 - (2/3)^2 59 = 33.8; with f = 40, s = 20 it is 53.4
        yield {**base, "first": first, "fresh": 20, "synthetic": 40, "freshPower": 0} | {
            "syntheticPower": 0
        }
    for first in (9, 10, 11):  # fresh items only: as many as in round 1, or more, or fewer
        yield {**base, **volumes, "first": first, "fresh": 10, "synthetic": 0}
        yield {**base, **volumes, "first": first, "fresh": 10, "type2": 0}
    for b in (0, 1, 2):  # no fresh items at all, or none that pass
        yield {**base, **volumes, "fresh": 0, "syntheticPower": b}
        yield {**base, **volumes, "fresh": 9, "type1": 1, "syntheticPower": b}
        yield {**base, **volumes, "fresh": 0, "syntheticPower": b, "accumulate": True}
        yield {**base, **volumes, "fresh": 60, "syntheticPower": b, "budget": 100}
        yield {**base, **volumes, "fresh": 60, "syntheticPower": b, "budget": 3000}
    yield {**base, **volumes, "fresh": 0, "synthetic": 0}
    yield {**base, **volumes, "fresh": 5, "type1": 1, "type2": 0}


@pytest.mark.parametrize(
    "chosen", list(corners()), ids=lambda c: " ".join(f"{k}={v}" for k, v in c.items())
)
def test_verdicts_at_the_corners(script, chosen):
    found = script.evaluate("plan => stlPlanner.verdict(plan)", {**chosen, "V": V})
    same_verdict(found, verdict_of(plan_of(chosen), V))


@pytest.fixture(scope="module")
def planner(browser):
    """The page of the built book, with its planner ready."""
    if not BOOK.exists():
        pytest.fail("there is no book to look at: run 'make book' first")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.outside, page.errors = [], []
    page.on("request", lambda r: page.outside.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(BOOK.as_uri())
    page.wait_for_function("() => window.planner")
    page.evaluate("() => planner.ready")
    yield page
    page.close()


def move(page, chosen: dict) -> None:
    """Put the controls where they should be; keys and sliders have a test of their own."""
    page.evaluate(OPEN_ALL)
    page.set_checked("#planner-limited", chosen["budget"] is not None)
    page.set_checked("#planner-accumulate", chosen["accumulate"])
    numbers = {k: v for k, v in chosen.items() if k != "accumulate" and v is not None}
    page.evaluate(
        """numbers => Object.entries(numbers).forEach(([name, value]) => {
            const input = document.getElementById(`planner-${name}`);
            input.value = value;
            input.dispatchEvent(new Event("change"));
        })""",
        numbers,
    )


@pytest.mark.parametrize("number", range(24))
def test_controls_of_the_book_against_the_package(planner, number):
    chosen = settings(stream(20260316, "controls", number))
    move(planner, chosen)
    found = planner.evaluate("() => planner.result()")
    same_numbers(found, chosen)
    drawn = planner.evaluate(
        "() => Object.fromEntries(Object.entries(planner.drawn()).map(([k, v]) => [k, [...v]]))"
    )
    assert drawn["risk"] == found["risk"]
    assert drawn["real"] == found["real"]
    words = planner.inner_text("#planner .words")
    kind = found["verdict"]["kind"]
    assert ("too close to call" if kind == "undecided" else kind) in words
    assert f"Next, round {chosen['rounds'] + 1}" in words
    if math.isfinite(found["next"]["needed"]):
        assert f"{int(found['next']['needed']):,}".replace(",", "\u202f") in words


def test_sliders_and_keys_move_the_plan(planner):
    move(planner, settings(stream(1, "keys"), first=100, type1=0.2, rounds=50))
    slider = planner.locator("#planner-first ~ input[type=range]")
    slider.press("ArrowRight")
    assert planner.evaluate("() => planner.state().first") > 100
    planner.locator("#planner-type1 ~ input[type=range]").press("ArrowLeft")
    assert planner.evaluate("() => planner.state().type1") == pytest.approx(0.19)
    planner.fill("#planner-rounds", "100000")
    planner.press("#planner-rounds", "Enter")
    assert planner.evaluate("() => planner.state().rounds") == 500
    planner.fill("#planner-rounds", "")
    planner.press("#planner-rounds", "Enter")
    assert planner.input_value("#planner-rounds") == "500"


def test_every_control_has_a_name(planner):
    unnamed = planner.evaluate(
        """() => [...document.querySelectorAll('#planner input')].filter(
            i => !(i.labels.length || i.getAttribute('aria-label'))).length"""
    )
    assert unnamed == 0


def test_controls_stay_inside_their_box(planner):
    planner.evaluate(OPEN_ALL)
    outside = planner.evaluate(
        """() => {
            const box = document.getElementById('planner').getBoundingClientRect();
            return [...document.querySelectorAll('#planner input, #planner label')]
                .map(part => part.getBoundingClientRect())
                .filter(part => part.left < box.left - 0.5 || part.right > box.right + 0.5).length;
        }"""
    )
    assert outside == 0


def test_planner_needs_no_network_and_raises_no_error(planner):
    ink = "() => Bokeh.documents.at(-1).get_model_by_name('log').below[0].axis_label_text_color"
    inks = set()
    planner.set_checked("#planner-log", True)
    for theme in ("light", "dark"):
        planner.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        planner.wait_for_timeout(200)
        inks.add(planner.evaluate(ink))
    assert len(inks) == 2, "the plots keep their ink in the dark"
    assert planner.outside == []
    assert [error for error in planner.errors if "THEBE_JS_URL" not in error] == []
    assert planner.evaluate("document.documentElement.scrollWidth") <= 390
