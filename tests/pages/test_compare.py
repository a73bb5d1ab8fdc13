"""Two runs held against each other: rounding, chance, other settings, and what is different."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd
import pytest

from stlcore.__main__ import main
from stlcore.pages.compare import compare, in_words, load, numbers, write_numbers
from stlcore.pages.repository import UsageError


def claim(id="C-90.1", **changes):
    row = {"id": id, "sentence": "It holds.", "measured": 0.5, "expected": 0.5, "tolerance": 1e-3}
    return {**row, "false_alarm": 0.0, "verdict": "reproduced", **changes}


def record(*claims, seed=5, results=None, page="C-90", numpy="2.4.6"):
    origin = {"page": page, "parameters": {"seed": seed, "size": 9}, "versions": {"numpy": numpy}}
    return {"provenance": origin, "claims": list(claims), "results": results or {}}


def verdicts(receipt, part="claims"):
    return [row["verdict"] for row in receipt[part]]


@pytest.mark.parametrize(
    ("change", "seed", "verdict"),
    [
        ({}, 5, "same"),
        ({"measured": 0.5009}, 5, "same"),  # within the claim's own tolerance
        ({"measured": 0.502}, 5, "different"),
        ({"expected": 0.502}, 5, "different"),
        ({"measured": 0.502}, 6, "other settings"),
        ({"measured": None}, 5, "different"),
        ({"verdict": "not reproduced"}, 5, "different"),
        ({"verdict": "not reproduced"}, 6, "different"),
        ({"sentence": "It does not."}, 5, "other settings"),
    ],
)
def test_a_number_of_a_claim(change, seed, verdict):
    receipt = compare(record(claim(**change), seed=seed), record(claim()))
    assert verdicts(receipt) == [verdict]
    json.dumps(receipt)


def test_a_test_that_comes_to_the_same_verdict_is_within_chance():
    test = {"false_alarm": 1e-4, "tolerance": 0.0, "expected": 1e-4}
    mine, other = (record(claim(measured=p, **test), seed=s) for p, s in ((0.8, 6), (0.01, 5)))
    receipt = compare(mine, other)
    assert verdicts(receipt) == ["within chance"]
    assert receipt["false_alarm"] == pytest.approx(2e-4)
    assert receipt["parameters"] == {"seed": [6, 5]}


def test_what_differs_comes_first_in_words():
    mine = record(claim(verdict="not reproduced"), claim("C-90.2"), seed=6, numpy="3.0")
    assert in_words(compare(mine, record(claim(), claim("C-90.2")))) == [
        "C-90: seed is 6, not 5",
        "C-90: numpy is 3.0, not 2.4.6",
        "C-90.1 different: reproduced, now not reproduced [0.5, not 0.5]",
        "C-90: claims 1 different, 1 same",
    ]


def test_a_claim_of_one_run_only():
    receipt = compare(record(claim(), claim("C-90.10")), record(claim(), claim("C-90.2")))
    assert [row["id"] for row in receipt["claims"]] == ["C-90.1", "C-90.2", "C-90.10"]
    assert verdicts(receipt) == ["same", "other settings", "other settings"]


def table(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"repetition": np.repeat(range(30), 3), "round": [1, 2, 3] * 30})
    frame["risk"] = rng.normal(size=30).repeat(3) + shift
    return {"risks": frame.to_csv(index=False)}


@pytest.mark.parametrize(
    ("mine", "seed", "verdict"),
    [
        (table(1), 5, "same"),
        (table(2), 6, "within chance"),
        (table(2, shift=3.0), 6, "different"),  # three standard deviations of a repetition
        ({"risks": "a\n1\n"}, 6, "other settings"),
        ({"risks": "a\n1\n"}, 5, "different"),
    ],
)
def test_a_kept_table(mine, seed, verdict):
    receipt = compare(record(seed=seed, results=mine), record(results=table(1)))
    assert verdicts(receipt, "tables") == [verdict]


def test_two_right_runs_are_rarely_called_different():
    """A pair is called different with probability 1e-4 at most; with fixed seeds, none is."""
    pairs = [
        compare(record(seed=k, results=table(k)), record(results=table(1000 + k)))
        for k in range(100)
    ]
    assert {verdicts(pair, "tables")[0] for pair in pairs} == {"within chance"}


def test_runs_of_two_pages_are_not_compared():
    with pytest.raises(UsageError, match="runs of two pages, C-90 and C-91"):
        compare(record(), record(page="C-91"))


def test_a_record_is_found_beside_its_notebook_or_in_it(executed, tmp_path):
    found, folder = executed
    assert load(folder / "c90_tiny.ipynb") == load(folder / "c90_tiny.json") == found
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bare.json").write_text('{"provenance": {"page": "C-90"}, "claims": []}')
    older = copy.deepcopy(found)
    for row in older["claims"]:
        del row["tolerance"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    for name, message in {
        "none.json": "cannot read .*none.json: No such file",
        "list.json": r"^\S+list.json is no record of a run$",
        "bad.json": "bad.json is no record of a run",
        "bare.json": "bare.json is no record of a run",
        "older.json": "older.json is of another version, its claims have no tolerance: run it",
    }.items():
        with pytest.raises(UsageError, match=message):
            load(tmp_path / name)


def test_the_known_numbers_come_back(executed, tmp_path):
    path = tmp_path / "numbers.json"
    write_numbers([executed[0]], path)
    assert verdicts(compare(executed[0], numbers(path)["C-90"])) == ["same", "same"]
    assert len(path.read_text().splitlines()) == 5  # a line for each claim


def test_the_command(project, executed, tmp_path, capsys):
    own, receipt = tmp_path / "own.json", tmp_path / "receipt.json"
    changed = copy.deepcopy(executed[0])
    own.write_text(json.dumps(changed))
    theirs = executed[1] / "c90_tiny.ipynb"
    assert main(["compare", str(own), str(theirs), "-o", str(receipt)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "C-90: claims 2 same"
    assert verdicts(json.loads(receipt.read_text())[0]) == ["same", "same"]
    changed["claims"][0]["measured"] = 0.75
    own.write_text(json.dumps(changed))
    assert main(["compare", str(own), str(theirs)]) == 1
    assert "C-90.1 different: the number moved [0.75, not" in capsys.readouterr().out
    assert main(["compare", str(own)]) == 2
    assert "no numbers of C-90 are known to compare with" in capsys.readouterr().err
    assert main(["compare"]) == 0
