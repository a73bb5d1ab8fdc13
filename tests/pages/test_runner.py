"""Running a page from outside: found, checked, executed, put in place in one step."""

from __future__ import annotations

import io
import json
import os

import jupytext
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

import stlcore.pages.runner
from stlcore.pages.page import read_result
from stlcore.pages.parameters import by_profile
from stlcore.pages.provenance import WORDS_MIME
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import (
    NotebookPage,
    UsageError,
    check_parameters,
    executed_records,
    find_page,
    imports,
    keep_results,
    pages,
    pair,
    read_record,
    run_page,
    sources,
)

# --- Finding pages ---------------------------------------------------------------------------


def test_pages_come_in_order(project):
    (project / "notebooks" / "tv_bounds").mkdir()
    (project / "notebooks" / "tv_bounds" / "b07_bound.md").write_text("# B\n")
    (project / "notebooks" / "contamination" / "draft.md").write_text("# no page\n")
    assert [page.name for page in pages()] == ["b07", "c90", "c91"]


@pytest.mark.parametrize(
    "name",
    [
        "c90",
        "C-90",
        "C90",
        "c90_tiny",
        "notebooks/contamination/c90_tiny.md",
        "/elsewhere/c90_tiny.ipynb",
    ],
)
def test_a_page_has_several_names(project, name):
    page = find_page(name)
    assert page.path == project / "notebooks" / "contamination" / "c90_tiny.md"
    assert page.name == "c90"
    assert page.id == "C-90"
    assert page.title == "A tiny page"
    assert page.source == "Paper C, Theorem 0"
    assert page.executed == project / "book" / "notebooks" / "contamination" / "c90_tiny.ipynb"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c80", "there is no page 'c80'; did you mean 'c90'?"),
        ("C-80", "there is no page 'C-80'; did you mean 'c90'?"),
        ("intro", "there is no page 'intro'; there are c90, c91"),
        ("../c90", "there is no page '../c90'; did you mean 'c90'?"),
        ("", "there is no page ''; there are c90, c91"),
    ],
)
def test_an_unknown_page(project, name, message):
    with pytest.raises(UsageError) as caught:
        find_page(name)
    assert str(caught.value) == message


# --- Parameters ------------------------------------------------------------------------------


def test_parameters_of_a_page(project):
    found = {name: default for name, (_, default) in find_page("c90").parameters.items()}
    assert found == {
        "profile": "quick",
        "seed": 5,
        "rounds": by_profile(4, 9),
        "sizes": [1, 2],
        "rate": 0.5,
        "fail": "no",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"round": 3}, "c90 has no parameter 'round'; did you mean 'rounds'?"),
        (
            {"xyz": 3},
            "c90 has no parameter 'xyz'; it takes profile, seed, rounds, sizes, rate, fail",
        ),
        ({"page": 3}, "c90 has no parameter 'page'"),
        ({"rounds": 0}, "c90: rounds must be a whole number from 1 up, not 0"),
        ({"rounds": "many"}, "c90: rounds must be a whole number from 1 up, not 'many'"),
        ({"rounds": 2.5}, "c90: rounds must be a whole number from 1 up, not 2.5"),
        ({"rounds": None}, "c90: rounds must be a whole number from 1 up, not None"),
        ({"seed": 1, "sizes": [0]}, "c90: sizes must be a list of whole numbers from 1 up"),
        ({"rate": -1}, "c90: rate must be a number above 0, not -1"),
        ({"profile": "fast"}, "c90: profile must be 'quick' or 'paper', not 'fast'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_written(project, tree, given, message):
    before = tree(project)
    with pytest.raises(UsageError) as caught:
        run_page(find_page("c90"), project / "new" / "out.ipynb", given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert tree(project) == before


def test_right_parameters_pass(project):
    check_parameters(find_page("c90"), {"rounds": 7, "sizes": [3], "rate": 2, "profile": "paper"})


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("rounds = 3", "every parameter needs a type of stlcore.pages"),
        ("rounds: int = 3", "every parameter needs a type of stlcore.pages"),
        ("rounds: list[int] = [3]", "every parameter needs a type of stlcore.pages"),
        ("rounds: Count = 10**3", "the default of 'rounds' must be a plain value"),
        ("rounds: Count", "the default of 'rounds' must be a plain value"),
        ("rounds: Count = by_profile(3)", "the default of 'rounds' must be a plain value"),
    ],
)
def test_a_parameters_cell_that_cannot_be_read(project, cell, message):
    path = project / "notebooks" / "contamination" / "c91_silent.md"
    path.write_text(path.read_text().replace("rounds: Count = 3", cell))
    with pytest.raises(UsageError, match=message):
        _ = find_page("c91").parameters


def test_a_page_has_one_parameters_cell(project):
    path = project / "notebooks" / "contamination" / "c91_silent.md"
    path.write_text(path.read_text().replace(":tags: [parameters]\n", ""))
    with pytest.raises(UsageError, match=r"c91_silent.md must have exactly one cell tagged"):
        _ = find_page("c91").parameters


# --- Where the output goes -------------------------------------------------------------------


def test_outputs_that_cannot_be_written(project, tree):
    # (a path below a regular file cannot be made even by root)
    (project / "file").write_text("in the way")
    (project / "folder.ipynb").mkdir()
    before = tree(project)
    for output, message in [
        ("file/out.ipynb", "cannot write to .*file: File exists"),
        ("file/deeper/out.ipynb", "cannot write to .*deeper: Not a directory"),
        ("out.html", r"the output must be a notebook \(.ipynb\), not out.html"),
        ("out", r"the output must be a notebook \(.ipynb\), not out"),
        ("folder.ipynb", "the output .*folder.ipynb is a folder"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            run_page(find_page("c90"), project / output, {})
        assert "\n" not in str(caught.value)
    assert tree(project) == before


# --- A run -----------------------------------------------------------------------------------


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_a_run_leaves_notebook_and_record(executed):
    record, folder = executed
    assert sorted(os.listdir(folder)) == ["c90_tiny.ipynb", "c90_tiny.json"]
    assert json.loads((folder / "c90_tiny.json").read_text()) == record
    assert record["page"] == {
        "id": "C-90",
        "title": "A tiny page",
        "source": "Paper C, Theorem 0",
    }
    assert record["provenance"]["parameters"] == {
        "profile": "quick",
        "seed": 5,
        "rounds": 4,
        "sizes": [1, 2],
        "rate": 0.25,
        "fail": "no",
    }
    assert [row["id"] for row in record["claims"]] == ["C-90.1", "C-90.2"]
    assert [row["verdict"] for row in record["claims"]] == ["reproduced", "not reproduced"]
    assert record["results"]["values"].startswith("value\n0.")
    assert list(record["figures"]) == ["fig-c90"]
    drawn, values = (
        pd.read_csv(io.StringIO(text))
        for text in (record["figures"]["fig-c90"], record["results"]["values"])
    )
    np.testing.assert_allclose(drawn["y"], values["value"], rtol=1e-6)
    assert record["provenance"]["command"].endswith("-p rate 0.25 -r fail no")


def test_the_notebook_is_what_a_reader_should_see(executed):
    path = executed[1] / "c90_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text()
    assert "papermill" not in json.dumps(notebook.metadata)
    assert "vnd.stlcore" not in text
    assert str(path.parents[3]) not in text  # no path of the machine
    for cell in notebook.cells:
        assert "papermill" not in cell.metadata
    (injected,) = (c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "rate = 0.25" in injected.source
    assert "remove-cell" in injected.metadata["tags"]
    assert not any(output.output_type == "error" for output in outputs(notebook))


def test_the_provenance_line_has_a_cell_of_its_own(executed):
    cells = nbformat.read(executed[1] / "c90_tiny.ipynb", as_version=4).cells
    (place,) = (k for k, cell in enumerate(cells) if "page.show(figure)" in cell.source)
    figure, line = cells[place].outputs, cells[place + 1].outputs
    assert len(figure) == len(line) == 1
    assert "image/png" in figure[0].data
    assert line[0].data["text/html"].startswith('<details class="provenance">')
    assert cells[place + 1].metadata["tags"] == ["remove-input"]


def test_glued_values_are_in_the_notebook(executed):
    notebook = nbformat.read(executed[1] / "c90_tiny.ipynb", as_version=4)
    glued = {
        output.metadata["scrapbook"]["name"].split("/")[-1]: output.data
        for output in outputs(notebook)
        if "scrapbook" in output.get("metadata", {})
    }
    assert set(glued) == {"mean", "rate"}
    assert "0.25" in str(glued["rate"])
    # a plain number, not numpy's "np.float64(0.5)", which the book would show as it is
    assert "np." not in str(glued["mean"])


def test_the_claims_table_is_in_the_notebook(executed):
    notebook = nbformat.read(executed[1] / "c90_tiny.ipynb", as_version=4)
    tables = [
        output.data["text/html"]
        for output in outputs(notebook)
        if '<div class="claims">' in output.get("data", {}).get("text/html", "")
    ]
    assert len(tables) == 1
    assert "The mean is small." in tables[0]


def test_running_again_gives_the_same(executed, project):
    record, folder = executed
    output = project / "again {seed} %s" / "it's out.ipynb"
    again = run_page(find_page("c90"), output, {"rate": 0.25})
    assert again["claims"] == record["claims"]
    assert again["results"] == record["results"]
    assert again["provenance"]["parameters"] == record["provenance"]["parameters"]
    assert sorted(os.listdir(output.parent)) == ["it's out.ipynb", "it's out.json"]

    def visible(path):
        """Sources and outputs, without the lines that hold the time."""
        cells = nbformat.read(path, as_version=4).cells
        return [
            (cell.id, cell.source, [dict(o) for o in cell.get("outputs", [])])
            for cell in cells
            if "provenance" not in cell.id
        ]

    assert visible(output) == visible(folder / "c90_tiny.ipynb")


def test_what_a_kernel_leaves_behind_goes_with_the_folder_of_its_run(tmp_path):
    kernels = stlcore.pages.runner._this_python(tmp_path)
    assert kernels().kernel_spec.env["TMPDIR"] == str(tmp_path)


def test_a_page_is_parsed_once_and_everyone_has_a_copy(project):
    first, second = find_page("c90").notebook, find_page("c90").notebook
    assert first == second
    first.cells[0].source = "changed"
    assert first != second == find_page("c90").notebook


def test_a_number_that_is_not_finite_has_its_place_in_a_caption():
    words = {"ratio": "nan", "name": "plots"}  # as a kernel hands them over
    cell = nbformat.v4.new_code_cell(
        outputs=[nbformat.v4.new_output("display_data", {WORDS_MIME: words})],
        metadata={"mystnb": {"figure": {"caption": "[[ratio:.2f]] of [[name]]"}}},
    )
    stlcore.pages.runner._fill_in(cell)
    assert cell.metadata["mystnb"]["figure"]["caption"] == "nan of plots"


def test_a_run_that_surprises_can_be_kept(project, remembered):
    output = project / "out.ipynb"
    record = run_page(find_page("c90"), output, {"fail": "claim"}, surprises=True)
    assert [row["surprising"] for row in record["claims"]] == [False, False, True]
    assert json.loads(output.with_suffix(".json").read_text()) == record


@pytest.mark.parametrize("fail", ["error", "claim"])
def test_a_page_that_fails_leaves_the_target_alone(project, remembered, fail):
    output = project / "book" / "notebooks" / "contamination" / "c90_tiny.ipynb"
    output.parent.mkdir(parents=True)
    output.write_text("the last good run")
    output.with_suffix(".json").write_text('{"provenance": "its record"}')
    error = "ClaimError" if fail == "claim" else "RuntimeError"
    with pytest.raises(papermill.PapermillExecutionError, match=error):
        run_page(find_page("c90"), output, {"fail": fail})
    assert sorted(os.listdir(output.parent)) == ["c90_tiny.ipynb", "c90_tiny.json"]
    assert output.read_text() == "the last good run"
    assert output.with_suffix(".json").read_text() == '{"provenance": "its record"}'
    kept = project / "runs" / "failed" / "book" / "notebooks" / "contamination" / output.name
    failed = nbformat.read(kept, as_version=4)
    assert [o.ename for o in outputs(failed) if o.output_type == "error"] == [error]


# --- Records ---------------------------------------------------------------------------------


def test_read_record_of_a_notebook_without_one(tmp_path):
    path = tmp_path / "plain.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    with pytest.raises(UsageError, match=r"plain.ipynb holds no record: the page did not call"):
        read_record(path)


def test_read_record(tmp_path):
    record = {"claims": [], "results": {}, "provenance": {"seconds": 1.5}}
    output = nbformat.v4.new_output("display_data", {stlcore.pages.runner.RECORD_MIME: record})
    cells = [
        nbformat.v4.new_markdown_cell("text"),
        nbformat.v4.new_code_cell("page.finish()", outputs=[output]),
    ]
    path = tmp_path / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert read_record(path) == record


def test_executed_records(project):
    assert executed_records() == []
    for part, name in (("contamination", "C-03"), ("tv_bounds", "B-01"), ("contamination", "C-02")):
        folder = project / "book" / "notebooks" / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({"page": {"id": name}}))
    assert [record["page"]["id"] for record in executed_records()] == ["B-01", "C-02", "C-03"]


def test_kept_results_come_back(executed, project):
    record = executed[0]
    written = keep_results(find_page("c90"), record)
    folder = project / "book" / "results"
    assert written == [folder / "c90.values.csv", folder / "c90.values.json"]
    assert sorted(folder.iterdir()) == sorted(written)  # no drafts left
    frame, provenance = read_result("c90", "values")
    assert frame.to_csv(index=False) == record["results"]["values"]
    assert provenance == record["provenance"]
    assert read_result("c90", "other") is None
    assert keep_results(find_page("c90"), record) == written  # over what is there
    assert keep_results(find_page("c90"), {**record, "results": {}}) == []


# --- Twins -----------------------------------------------------------------------------------


def test_pair(project):
    page = find_page("c90")
    files = pair(page)
    assert list(files) == [page.path, page.path.with_suffix(".ipynb")]
    text, twin = files.values()
    assert "Does it run?" in text
    notebook = nbformat.reads(twin, as_version=4)
    nbformat.validate(notebook)
    assert outputs(notebook) == []
    assert twin.endswith("}\n")
    # what is in normal form stays as it is, and both hold the same cells
    page.path.write_text(text)
    assert pair(NotebookPage(page.path)) == files
    again = jupytext.reads(text, fmt="md:myst")
    assert [c.source for c in again.cells] == [c.source for c in notebook.cells]


def test_a_page_is_found_by_its_file_name_too():
    for page in pages():
        assert find_page(page.path.stem) == page
        assert find_page(page.id) == page


def test_a_page_depends_on_what_it_imports_and_no_more():
    names = {str(path.relative_to(ROOT)) for path in sources(find_page("c02"))}
    assert {
        f"stlcore/{name}.py" for name in ("__init__", "__main__", "pages/runner", "pages/page")
    } <= names
    assert "stlcore/learners/categorical.py" in names  # imported by the page
    assert "stlcore/checkpoints.py" in names  # by what it imports
    assert "stlcore/learners/gpt2/learner.py" not in names


def test_imports_are_found_wherever_they_stand():
    code = "import numpy\nfrom stlcore import data\ndef f():\n    import stlcore.loop as loop\n"
    assert imports(code) == {"stlcore", "stlcore.data", "stlcore.loop"}


def test_a_paper_profile_for_a_gpu_is_refused_where_there_is_none(monkeypatch):
    page = next(page for page in pages() if page.notebook.metadata["stlcore"].get("gpu"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    check_parameters(page, {"profile": "quick"})
    with pytest.raises(UsageError, match="needs a GPU, and PyTorch finds none"):
        check_parameters(page, {"profile": "paper"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    check_parameters(page, {"profile": "paper"})


def test_an_edit_reruns_what_goes_through_it_and_no_more():
    files = {page.name: sources(page) for page in pages()}
    everything = set(files)

    def goes_through(file):
        """The pages that have to run again when a file of the package has changed."""
        return {name for name, found in files.items() if ROOT / "stlcore" / file in found}

    assert goes_through("learners/gpt2/network.py") == {"c13"}
    assert "b07" in goes_through("learners/kde.py") < everything
    assert goes_through("pages/claims.py") == goes_through("pages/runner.py") == everything
    assert "c10" in goes_through("learners/categorical.py") < everything
    assert goes_through("stability/criterion.py") == {"a08", "g01"}


def test_names_handed_on_lead_to_their_modules():
    """Every name a page imports from a folder of the package is traced to the file that has it."""
    for page in pages():
        code = "\n".join(c.source for c in page.notebook.cells if c.cell_type == "code")
        found = {path.relative_to(ROOT).as_posix() for path in sources(page)}
        for name in imports(code):
            folder, _, last = name.rpartition(".")
            if (ROOT / folder.replace(".", "/") / "__init__.py").is_file() and folder != "stlcore":
                owner = getattr(__import__(folder, fromlist=[last]), last)
                owner = getattr(owner, "__module__", None) or ""
                if owner.startswith("stlcore."):
                    assert owner.replace(".", "/") + ".py" in found, name
