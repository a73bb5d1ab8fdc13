"""The curves that sliders show in the browser, against the theory."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stlcore.pages.repository import ROOT
from stlcore.streams import stream
from stlcore.theory.beyond import best_gains, coevolution, curation_balance, gain_risk
from stlcore.theory.contamination import filtered_risk, limit_fixed, risk
from stlcore.theory.tv_bounds import phase_curve

STATIC = ROOT / "book" / "_static"
SHARES, SIZES, ROUNDS = (0, 0.01, 0.1, 0.35, 1), (1, 2, 5, 100, 5000), (1, 60, 2)


def loop(chosen):
    T = chosen["rounds"]
    return np.r_[1, np.full(T - 1, chosen["share"])], np.full(T, chosen["size"])


def gain(share, size, gain, rounds):
    shares, sizes = loop({"share": share, "size": size, "rounds": rounds})
    rules = {
        "retrain, gain 1": np.ones(rounds),
        "fixed gain": np.r_[1, np.full(rounds - 1, gain)],
        "accumulate, gain 1/t": 1 / np.arange(1, rounds + 1),
        "best gain": best_gains(shares, sizes, 1),
    }
    return {name: size * gain_risk(shares, sizes, 1, rule) for name, rule in rules.items()}


def moving(share, kappa, archive, size, rounds):
    S = coevolution(share, kappa, np.full(rounds, size), 1, archive)
    return {"truth": S[:, 0, 0], "model": S[:, 1, 1]}


def curation(share, strength, truth):
    weights = np.exp(strength * np.linspace(0, 1, len(truth)))
    return {"truth": truth, "balance": curation_balance(truth, weights, share)}


def fixed_share(share, size, rounds):
    shares, sizes = loop({"share": share, "size": size, "rounds": rounds})
    limit = np.full(rounds, limit_fixed(share, size, 1) if share else 1)
    return {"risk": risk(shares, sizes, 1), "limit": limit}


def filtered(share, size, type1, type2, rounds):
    given = loop({"share": share, "size": size, "rounds": rounds})
    curves = {"no filter": risk(*given, 1)}
    if share * (1 - type1) + (1 - share) * type2 > 0:
        curves["with the filter"] = filtered_risk(*given, type1, type2, 1)
        curves["mean-field form"] = filtered_risk(*given, type1, type2, 1, exact=False)
    return curves


def phase(generation, rate, floor):
    amounts, curves = np.geomspace(0.01, 1e5, 281), {}
    for name, grows in (("generation 1 grows too", True), ("generation 1 has n points", False)):
        curve = phase_curve(amounts, generation, rate, first_grows=grows, floor=floor)
        curves[name] = curve / (1 + floor)
    return curves


LOOP = {"share": SHARES, "size": SIZES, "rounds": ROUNDS}
RATES = (0, 0.2, 0.5, 1)
LAWS = ([1.0], [0.5, 0.5], [0.2, 0.5, 0.3], [0.3, 0.7, 0.0])
KINDS = {
    "gain": (gain, {**LOOP, "gain": (0.02, 0.3, 1)}),
    "coevolution": (moving, {**LOOP, "kappa": SHARES, "archive": SHARES}),
    "curation": (curation, {"share": SHARES, "strength": (0, 0.3, 1.5, 8), "truth": LAWS}),
    "fixedShare": (fixed_share, LOOP),
    "filtered": (filtered, {**LOOP, "type1": RATES, "type2": RATES}),
    "phase": (phase, {"generation": (1, 2, 10, 100), "rate": (0.05, 0.25, 0.95), "floor": RATES}),
}


@pytest.fixture(scope="module")
def shown(browser):
    """A page as narrow as a phone, with sliders of every kind."""
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    places = []
    for kind, (_, given) in KINDS.items():
        start = {name: values[len(values) // 2] for name, values in given.items()}
        told = f"data-curves='{kind}' data-start='{json.dumps(start)}'"
        places.append(f"<div class='sliders' {told}><p></p></div>")
    style, script = ((STATIC / name).read_text("utf-8") for name in ("book.css", "sliders.js"))
    page.set_content(f"<style>{style}</style>{''.join(places)}<script>{script}</script>")
    yield page
    page.close()


@pytest.mark.parametrize("kind", KINDS)
def test_curves_against_the_theory(shown, kind):
    """At the edges of every setting, and at forty random ones between."""
    theory, given = KINDS[kind]
    rng = stream(20261119, kind)
    chosen = [{name: values[end] for name, values in given.items()} for end in (0, -1)]
    for _ in range(40):
        drawn = {name: values[rng.integers(len(values))] for name, values in given.items()}
        chosen.append(drawn)
    found = shown.evaluate(f"all => all.map(one => stlCurves.{kind}(one).curves)", chosen)
    for settings, curves in zip(chosen, found, strict=True):
        wanted = theory(**settings)
        assert list(curves) == list(wanted), settings
        for name, curve in wanted.items():
            assert curves[name] == pytest.approx(np.array(curve), rel=1e-9, abs=1e-9), settings


@pytest.mark.parametrize("kind", KINDS)
def test_a_slider_moves_the_curves(shown, kind):
    place = shown.locator(f"div.sliders[data-curves={kind}]")
    drawn = "root => [...root.querySelectorAll('polyline[data-name]')].map(l => l.outerHTML)"
    result = "root => ({...root.result.curves, settings: root.settings()})"
    before = place.evaluate(drawn)
    slider = place.locator("input[name=share], input[name=rate]")
    for _ in range(8):
        slider.press("ArrowLeft")
    assert place.evaluate(drawn) != before
    found = place.evaluate(result)
    theory, given = KINDS[kind]
    settings = {name: found["settings"][name] for name in given}
    for name, curve in theory(**settings).items():
        assert found[name] == pytest.approx(np.array(curve), rel=1e-9, abs=1e-9)
    told = slider.get_attribute("aria-valuetext")
    assert float(told) == settings["rate" if kind == "phase" else "share"]


def test_sliders_fit_a_phone_and_have_names(shown):
    assert shown.errors == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    assert shown.evaluate("[...document.querySelectorAll('input')].every(i => i.labels.length)")
    outside = shown.evaluate(
        """() => [...document.querySelectorAll('div.sliders > svg')].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            return [...svg.children].map(part => part.getBoundingClientRect())
                .filter(p => p.left < box.left - 1 || p.right > box.right + 1
                    || p.top < box.top - 1 || p.bottom > box.bottom + 1);
        }).length"""
    )
    assert outside == 0
