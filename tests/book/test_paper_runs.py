"""A kept run in the paper's profile stands below the claims of its page.

That the pages with large networks run to the end in that profile is tried at tiny sizes; it
takes some minutes, so it has to be asked for: ``STLCORE_SLOW=1`` in the environment.
"""

import csv
import os
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from docutils import nodes
from docutils.core import publish_doctree

from stlcore.pages import runner
from stlcore.pages.repository import ROOT
from stlcore.streams import stream

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


TINY = {
    "a04": {
        "dimension": 2, "length": 6, "width": 4, "depth": 2, "steps": 2, "batch": 2, "tasks": 20,
        "pair_tasks": 20, "generations": 20, "trainings": 2, "table_lengths": [6],
    },
    "a05": {
        "dimension": 2, "width": 4, "depth": 2, "steps": 2, "batch": 2, "lengths": [6, 8],
        "long_lengths": [6, 16, 64], "tasks": 20, "generations": 3, "trainings": 2, "grown": [6],
    },
    "b08": {
        "steps": 2, "batch": 4, "width": 40, "components": 10, "generations": 2,
        "repetitions": 2, "sampler_steps": 5,
    },
    "c13": {
        "documents": 5, "held_out": 6, "length": 20, "rounds": 2, "repetitions": 2, "layers": 1,
        "heads": 1, "width": 4, "context": 8, "iterations": 2, "most_steps": 3, "batch": 2,
    },
}  # fmt: skip
KEPT = {
    "a04": {"growth", "loops", "pretrainings"},
    "a05": {"networks"},
    "b08": {"measures", "pictures"},
    "c13": {"", "-corpus", "-counting", "-first", "-texts", "-yardsticks"},
}


def write_plots(folder):
    """A file of film plots with the columns of Kaggle's."""
    rng = stream(1, "plots")
    words = ["".join(rng.choice(list("aeioubdgklmnprst"), 5)) for _ in range(1500)]
    with (folder / "wiki_movie_plots_deduped.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Release Year", "Title", "Origin/Ethnicity", "Wiki Page", "Plot"])
        for k in range(400):
            rows.writerow([1950, f"Film {k}", "American", "", " ".join(rng.choice(words, 40))])
    return file.name


@pytest.mark.skipif("STLCORE_SLOW" not in os.environ, reason="some minutes: STLCORE_SLOW=1")
@pytest.mark.parametrize("name", TINY)
def test_the_paper_profile_runs_to_the_end(name, tmp_path, monkeypatch):
    """At tiny sizes on the CPU, which needs no GPU; the sizes of the profile do."""
    monkeypatch.setattr(runner, "_has_gpu", lambda: True)
    monkeypatch.setenv("STLCORE_CACHE", str(tmp_path))  # for the networks of the transformers
    given, kind = {"profile": "paper", **TINY[name]}, ""
    if name == "c13":
        given |= {"corpus": write_plots(tmp_path), "folder": str(tmp_path / "checkpoints")}
        kind = "plots-50257-1x4"
    record = runner.run_page(runner.find_page(name), tmp_path / "page.ipynb", given, surprises=True)
    assert set(record["results"]) == {kind + ending for ending in KEPT[name]}
    assert record["claims"]
    assert record["provenance"]["parameters"]["profile"] == "paper"
