"""A course graded from end to end by nbgrader: nothing done is worth nothing, all is worth all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from stlcore.pages.course import build_course
from stlcore.pages.repository import ROOT

PAGES = ("a01", "c02", "c04")
PLAN = "title: Three pages\nlessons:\n  - {title: All, pages: [a01, c02, c04]}\n"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Folder of the course."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "plan.yml").write_text(PLAN)
    build_course(folder / "plan.yml", folder / "made")
    return folder / "made" / "nbgrader"


def points(notebook) -> float:
    """Points that are given by a test, not by hand."""
    grading = [c.metadata.get("nbgrader", {}) for c in notebook.cells if c.cell_type == "code"]
    return sum(found.get("points", 0) for found in grading)


def test_an_untouched_copy_gets_nothing_and_the_solution_all(course, tmp_path):
    pytest.importorskip("nbgrader", reason="grading is tested where the extra 'course' is there")
    from nbgrader.api import Gradebook

    environment = os.environ | {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
    }

    def nbgrader(*words):
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=course,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    for page in PAGES:
        nbgrader("generate_assignment", page, "--create")
        released = course / "release" / page
        text = (released / f"{page}.ipynb").read_text(encoding="utf-8")
        assert "SOLUTION" not in text
        assert "HIDDEN" not in text
        assert "Points:" not in text  # of a solution for teachers
        assert "raise NotImplementedError" in text
        shutil.copytree(released, course / "submitted" / "untouched" / page)
        shutil.copytree(course / "source" / page, course / "submitted" / "solved" / page)
        nbgrader("autograde", page, "--create")
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for page in PAGES:
            source = nbformat.read(course / "source" / page / f"{page}.ipynb", as_version=4)
            untouched = book.find_submission(page, "untouched")
            solved = book.find_submission(page, "solved")
            assert untouched.score == 0
            assert solved.score == points(source) > 0
            assert solved.needs_manual_grade  # answers in words are for a person


def test_every_place_for_an_answer_has_a_name_and_points(course):
    for page in PAGES:
        notebook = nbformat.read(course / "source" / page / f"{page}.ipynb", as_version=4)
        nbformat.validate(notebook)
        found = [c.metadata["nbgrader"] for c in notebook.cells if "nbgrader" in c.metadata]
        names = [grading["grade_id"] for grading in found]
        assert len(set(names)) == len(names)
        exercises = {name.removesuffix("-check") for name in names}
        text = next((ROOT / "notebooks").glob(f"*/{page}_*.md")).read_text(encoding="utf-8")
        assert exercises == {name for name in exercises if f":label: {name}\n" in text}
        assert len(exercises) == text.count("```{exercise}")
        assert all(grading["points"] >= 1 for grading in found if grading["grade"])
