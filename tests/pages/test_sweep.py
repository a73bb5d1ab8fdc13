"""The plan of a sweep: every combination, checked before anything runs, by names that stay."""

import json

import pandas as pd
import pytest

from stlcore.pages.repository import UsageError
from stlcore.pages.runner import find_page, run_page
from stlcore.pages.sweep import count_surprises, gather, plan, run_chunk, write_plan


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
        ([("seed", "1:2"), ("seed", "4:5")], "c90: seed is given twice; a list holds"),
        ([("seed", "3:1")], "the range 3:1 of seed is empty"),
        ([("sizes", "[[1], [0]]")], "c90: sizes must be a list of whole numbers from 1 up"),
    ],
)
def test_a_plan_that_cannot_be(project, words, message):
    with pytest.raises(UsageError, match=message):
        plan(find_page("c90"), words)


def test_a_path_means_what_it_means_to_the_caller(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runs = plan(find_page("c13"), [("corpus", '["my texts", ""]')])
    assert [run["corpus"] for run in runs.values()] == [str(tmp_path / "my texts"), ""]


def test_a_folder_belongs_to_one_page(project, tmp_path):
    write_plan(tmp_path, find_page("c90"), {"a": {"seed": 1}})
    write_plan(tmp_path, find_page("c90"), {"b": {"seed": 2}})
    assert set(json.loads((tmp_path / "plan.json").read_text())["runs"]) == {"a", "b"}
    with pytest.raises(UsageError, match="holds a sweep of c90"):
        write_plan(tmp_path, find_page("c91"), {})


@pytest.mark.parametrize("text", ["", "[]", '{"page": "c90", "runs": {}}'])
def test_a_plan_that_cannot_be_read_is_named_with_the_remedy(project, tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan.json is no plan of this version: remove it and"):
        write_plan(tmp_path, find_page("c90"), {"a": {"seed": 1}})


def test_a_chunk_and_the_table_are_done_when_all_records_are_there(project, tmp_path):
    runs = {name: {"seed": k} for k, name in enumerate("abcd")}
    write_plan(tmp_path, find_page("c90"), runs, cores=2)
    (tmp_path / "chunks").mkdir()
    (tmp_path / "runs").mkdir()
    for name in ("runs/a.json", "runs/b.json", "runs/c.json"):
        (tmp_path / name).touch()
    for name in "ac":
        (tmp_path / "chunks" / f"{name}.done").touch()
    (tmp_path / "chunks" / "table.done").touch()
    write_plan(tmp_path, find_page("c90"), runs, cores=2)
    assert [path.name for path in (tmp_path / "chunks").iterdir()] == ["a.done"]


def test_every_core_has_a_chunk_and_a_new_run_leaves_the_old_ones_alone(project, tmp_path):
    runs = {f"run{k}": {"seed": k} for k in range(9)}
    write_plan(tmp_path, find_page("c90"), runs, cores=2)
    before = json.loads((tmp_path / "plan.json").read_text())["chunks"]
    assert [len(chunk) for chunk in before.values()] == [5, 4]
    write_plan(tmp_path, find_page("c90"), {f"run{k}": {"seed": k} for k in range(10)}, cores=2)
    after = json.loads((tmp_path / "plan.json").read_text())["chunks"]
    assert after == before | {"run9": ["run9"]}


def test_a_run_of_a_sweep_is_the_run_of_the_page(project, tmp_path):
    """Record, kept table and the numbers of the figure, bit for bit; no state from run to run."""
    page = find_page("c90")
    run_page(page, tmp_path / "x.ipynb", {"seed": 7, "rate": 0.25})
    through_kernel = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    runs = {"a": {"seed": 8}, "b": {"seed": 7, "rate": 0.25}, "c": {"seed": 7, "fail": "claim"}}
    write_plan(tmp_path, page, runs)
    assert run_chunk(tmp_path, "a") == 0
    record = json.loads((tmp_path / "runs" / "b.json").read_text(encoding="utf-8"))
    assert set(record) == set(through_kernel)
    for part in ("claims", "results", "figures", "page"):
        assert record[part] == through_kernel[part]
    assert record["provenance"]["parameters"] == through_kernel["provenance"]["parameters"]
    surprising = json.loads((tmp_path / "runs" / "c.json").read_text(encoding="utf-8"))["claims"]
    assert [row["id"] for row in surprising if row["surprising"]] == ["C-90.3"]


def test_a_run_that_fails_or_dies_costs_no_other_and_is_done_again(project, tmp_path):
    runs = {"a": {"fail": "error"}, "b": {"fail": "death"}, "c": {"seed": 1}}
    write_plan(tmp_path, find_page("c90"), runs)
    assert run_chunk(tmp_path, "a") == 1
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "a.log",
        "b.log",
        "c.json",
    ]
    said = (tmp_path / "runs" / "a.log").read_text(encoding="utf-8")
    assert said == "c90 -p fail 'error' failed with RuntimeError: the tiny page was told to fail\n"
    text = find_page("c90").path
    text.write_text(text.read_text("utf-8").replace('if fail == "error"', "if False"), "utf-8")
    before = (tmp_path / "runs" / "c.json").stat().st_mtime_ns
    assert run_chunk(tmp_path, "a") == 1
    found = {path.name: path for path in (tmp_path / "runs").iterdir()}
    assert sorted(found) == ["a.json", "b.log", "c.json"]
    assert found["c.json"].stat().st_mtime_ns == before


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
