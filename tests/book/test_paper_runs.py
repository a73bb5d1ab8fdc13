"""A kept run in the paper's profile stands below the claims of its page."""

import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from docutils import nodes
from docutils.core import publish_doctree

from stlcore.pages.repository import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))
import page_status

ORIGIN = {
    **{"page": "C-02", "seconds": 90.0, "device": "CPU", "versions": {"python": "3.11"}},
    **{"finished": "today", "commit": "0123456789", "command": "papermill"},
    "parameters": {"profile": "paper", "seed": 1, "repetitions": 900},
}
TEXT = "Title\n=====\n\nClaims\n------\n\nThe table.\n\nExercises\n---------\n\nNone.\n"


def row(name, sentence, verdict, control_of=""):
    return {"id": name, "control_of": control_of, "sentence": sentence, "verdict": verdict}


@pytest.fixture
def kept(monkeypatch):
    """What the book shows of C-02, and what was kept of its longer run."""
    shown = [
        row("C-02.1", "It falls.", "reproduced"),
        row("C-02.2", "It rises.", "not reproduced", "C-02.1"),
        row("C-02.3", "Its limit is 2.", "not testable here"),
        row("C-02.4", "In 100 loops it holds.", "reproduced"),
    ]
    there = [*shown[:2], row("C-02.3", "Its limit is 2.", "reproduced")]
    there.append(row("C-02.4", "In 900 loops it holds.", "reproduced"))
    record = {
        "page": {"id": "C-02"},
        "provenance": {"parameters": {"profile": "quick", "seed": 1, "repetitions": 100}},
        "claims": shown,
    }
    results = {"c02": (pd.DataFrame(there), ORIGIN)}
    monkeypatch.setattr(page_status, "_records", lambda: {"C-02": record})
    monkeypatch.setattr(page_status, "read_result", lambda page, name: results.get(page))
    return record


def test_sizes_verdicts_and_what_moved(kept):
    origin, sizes, outcome, moved = page_status.paper_run(kept)
    assert origin == ORIGIN
    assert (sizes, outcome) == ("repetitions 900", "3 reproduced")
    assert moved == "C-02.3 is reproduced; 1 with other words there"
    assert page_status.paper_run({**kept, "page": {"id": "C-03"}}) is None


def test_they_stand_below_the_claims(kept):
    text = publish_doctree(TEXT, settings_overrides={"doctitle_xform": False})
    env = SimpleNamespace(docname="notebooks/contamination/c02_thm31_risk_recurrence")
    page_status.say_below_claims(SimpleNamespace(env=env), text)
    claims = text[0][1]
    assert claims[0].astext() == "Claims"
    assert claims[-2].astext().startswith("A longer run of this page (repetitions 900) was made")
    assert "commit 0123456789" in claims[-1].astext()
    env.docname = "status"
    before = len(list(text.findall(nodes.paragraph)))
    page_status.say_below_claims(SimpleNamespace(env=env), text)
    assert len(list(text.findall(nodes.paragraph))) == before
