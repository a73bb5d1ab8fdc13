"""The plan of a sweep: every combination, checked before anything runs, by names that stay."""

import json
import shlex

import pandas as pd
import pytest

from stlcore.pages.repository import UsageError
from stlcore.pages.runner import find_page, read_parameters
from stlcore.pages.sweep import count_surprises, gather, options, plan, write_plan


def test_every_combination_has_a_name_that_stays(project):
    page = find_page("c90")
    runs = plan(page, [("seed", "1:3"), ("rate", "[0.5, 2]")])
    assert len(runs) == 6
    assert list(runs.values())[:3] == [
        {"seed": 1, "rate": 0.5},
        {"seed": 1, "rate": 2},
        {"seed": 2, "rate": 0.5},
    ]
    assert set(runs) < set(plan(page, [("seed", "1:5"), ("rate", "[0.5, 2]")]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a sweep needs values of a parameter"),
        ([("rates", "[1]")], "c90 has no parameter 'rates'; did you mean 'rate'"),
        ([("rate", "[1, 0]")], "c90: rate must be a number above 0, not 0"),
        ([("rate", "0.5")], "the values of rate must be a list, .* not '0.5'"),
        ([("rate", "[]")], "the values of rate must be a list"),
        ([("seed", "3:1")], "the range 3:1 of seed is empty"),
        ([("sizes", "[[1], [0]]")], "c90: sizes must be a list of whole numbers from 1 up"),
    ],
)
def test_a_plan_that_cannot_be(project, words, message):
    with pytest.raises(UsageError, match=message):
        plan(find_page("c90"), words)


def test_the_options_of_a_run_read_back(project):
    page = find_page("c90")
    run = {"seed": 7, "sizes": [3, 4], "rate": 1e-300, "fail": 'it\'s "no"'}
    words = shlex.split(options(run))
    assert read_parameters(page, zip(words[1::3], words[2::3], strict=True)) == run


def test_a_folder_belongs_to_one_page(project, tmp_path):
    write_plan(tmp_path, find_page("c90"), {"a": {"seed": 1}})
    write_plan(tmp_path, find_page("c90"), {"b": {"seed": 2}})
    assert set(json.loads((tmp_path / "plan.json").read_text())["runs"]) == {"a", "b"}
    with pytest.raises(UsageError, match="holds a sweep of c90"):
        write_plan(tmp_path, find_page("c91"), {})


def test_gathered_tables_begin_with_the_parameters(executed, tmp_path):
    record, folder = executed
    gather([folder / "c90_tiny.json"] * 2, tmp_path)
    claims = pd.read_parquet(tmp_path / "claims.parquet")
    assert claims.columns[:6].tolist() == list(record["provenance"]["parameters"])
    assert len(claims) == 2 * len(record["claims"])
    values = pd.read_parquet(tmp_path / "values.parquet")
    assert len(values) == 8
    assert set(values.rate) == {0.25}


def test_surprises_are_counted_for_claims_and_controls():
    def row(name, surprising, control_of=None, false_alarm=0.0):
        return {
            "id": name,
            "surprising": surprising,
            "control_of": control_of,
            "false_alarm": false_alarm,
        }

    runs = [
        {"claims": [row("C-90.1", k == 2, None, 1e-4), row("C-90.2", k < 2, "C-90.1")]}
        for k in range(4)
    ]
    counts = count_surprises(runs)
    assert counts.to_dict("list") == {
        "id": ["C-90.1", "C-90.2"],
        "control_of": ["", "C-90.1"],
        "false_alarm": [1e-4, 0.0],
        "runs": [4, 4],
        "surprises": [1, 2],
    }


def test_what_the_figures_draw_is_gathered_too(tmp_path):
    paths = []
    for seed in (1, 2):
        record = {
            "provenance": {"parameters": {"seed": seed, "rounds": 3}},
            "claims": [{"id": "C-90.1"}],
            "results": {},
            "figures": {"fig-risk": f"rounds,risk\n1,{seed}\n2,{seed / 2}\n"},
        }
        paths.append(tmp_path / f"{seed}.json")
        paths[-1].write_text(json.dumps(record), encoding="utf-8")
    gather(paths, tmp_path)
    drawn = pd.read_parquet(tmp_path / "fig-risk.parquet")
    assert drawn.to_dict("list") == {
        "seed": [1, 1, 2, 2],
        "rounds": [3] * 4,
        "rounds_found": [1, 2, 1, 2],
        "risk": [1, 0.5, 2, 1],
    }
