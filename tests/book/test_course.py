"""What a student gets of a page: readable in plain Jupyter, without answers, and it runs."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys

import nbformat
import pytest

from stlcore.pages.course import names, student_version
from stlcore.pages.plain import BLANK, plain
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import NotebookPage, find_page, pages

PAGES = pages()


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
    return request.param


@pytest.fixture
def student(page):
    return student_version(page)


def prose(notebook) -> str:
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


# --- Plain Jupyter ---------------------------------------------------------------------------


@pytest.mark.parametrize("made", [student_version, lambda p: plain(p.notebook, p.id)])
def test_no_directive_and_no_role_is_left(page, made):
    notebook = made(page)
    nbformat.validate(notebook)
    text = prose(notebook)
    assert not re.findall(r"(?m)^(?:`{3,}|:{3,})\{.*", text)
    assert not re.findall(r"\{[\w:-]+\}`", text)
    assert not re.findall(
        r"(?m)^:[\w-]+:|^\([\w-]+\)=|\[\[\w+(?::[^\]]*)?\]\]", re.sub("`[^`]*`", "", text)
    )
    for cell in notebook.cells:
        assert "mystnb" not in cell.metadata


def test_what_the_book_folds_is_folded(student):
    for cell in student.cells:
        if "hide-input" in cell.metadata.get("tags", []):
            assert cell.metadata["jupyter"]["source_hidden"] is True


def test_every_statement_and_exercise_has_a_heading(page, student):
    for word in ("exercise", "prf:theorem", "prf:proposition"):
        count = page.path.read_text(encoding="utf-8").count(f"```{{{word}}}")
        heading = word.removeprefix("prf:").capitalize()
        assert len(re.findall(rf"(?m)^\*\*{heading} \d", prose(student))) == count


def test_values_stand_where_a_run_gives_them():
    page = find_page("c02")
    assert f"both say {BLANK} (`last`)" in prose(plain(page.notebook, page.id))
    text = prose(plain(page.notebook, page.id, {"last": 0.25, "gap": 1e-17, "ratio": 2}))
    assert "both say 0.2500000000; over all rounds they differ by at most 1.0e-17" in text
    assert BLANK not in text


def test_an_unknown_role_is_a_mistake():
    cell = nbformat.v4.new_markdown_cell("{magic}`x`")
    with pytest.raises(ValueError, match="the role 'magic' has no plain form"):
        plain(nbformat.v4.new_notebook(cells=[cell]), "C-02")


# --- Student versions ------------------------------------------------------------------------


def test_student_version(project):
    page = find_page("c90")
    before = nbformat.writes(page.notebook)
    student = student_version(page)
    text = nbformat.writes(student)
    nbformat.validate(student)
    assert "secret" not in text
    assert "{solution}" not in text
    assert "How large is it?" in text
    assert "The end." in text
    assert "page.finish()" not in text
    assert not any(cell.get("outputs") for cell in student.cells)
    assert nbformat.writes(page.notebook) == before


def test_student_version_keeps_what_stands_around_a_solution(tmp_path):
    path = tmp_path / "c92_around.md"
    path.write_text(
        "# Title\n\nBefore.\n\n```{solution} one\n$1$\n```\n\nBetween.\n\n"
        "`````{solution} two\n````{note}\n```\ncode\n```\n````\n`````\n\nAfter.\n"
    )
    (cell,) = student_version(NotebookPage(path)).cells
    assert [line for line in cell.source.splitlines() if line] == [
        "# Title",
        "Before.",
        "Between.",
        "After.",
    ]


def test_no_claim_is_left_and_no_name_is_missing(student):
    """Nothing that is left out is needed by what is left; a function's names may come later."""
    code = [cell.source for cell in student.cells if cell.cell_type == "code"]
    assert not any("page.finish" in source or "claims." in source for source in code)
    bound = set(dir(builtins)).union(*(names(source)[0] for source in code))
    for source in code:
        assert not names(source)[1] - bound


@pytest.mark.parametrize("name", ["c02", "a01"])
def test_a_student_version_runs_outside_the_repository(name, tmp_path):
    """With a copy of the package alone, as where it is installed."""
    nbformat.write(student_version(find_page(name)), tmp_path / "page.ipynb")
    subprocess.run(["cp", "-r", ROOT / "stlcore", tmp_path / "stlcore"], check=True)
    code = (
        "import nbformat, nbclient\n"
        "notebook = nbformat.read('page.ipynb', as_version=4)\n"
        "nbclient.NotebookClient(notebook, kernel_name='python3', timeout=300).execute()\n"
        "import stlcore; print(stlcore.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(str(tmp_path))
