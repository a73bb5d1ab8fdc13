"""A course graded from end to end by nbgrader: nothing done is worth nothing, all is worth all."""

from __future__ import annotations

import os
import shutil
import sys

import nbformat
import pytest

from stlcore.pages.course import build_course
from stlcore.pages.repository import ROOT

PAGES = ("c02", "n06")
PLAN = "title: Two pages\nlessons:\n  - {title: All, pages: [c02, n06]}\n"


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


def test_an_untouched_copy_gets_nothing_and_the_solution_all(course, monkeypatch, tmp_path):
    """By nbgrader's own functions, for each of its commands takes seconds to start."""
    pytest.importorskip("nbgrader", reason="grading is tested where `make grading` was called")
    from nbgrader.api import Gradebook
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config.loader import PyFileConfigLoader

    monkeypatch.setenv("HOME", str(tmp_path))
    # As stlcore.pages does: what nbgrader starts is not to build a parser of addresses first.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['rfc3987_syntax'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    nbgrader = NbGraderAPI(CourseDirectory(config=config), config=config)
    for page in PAGES:
        done = [nbgrader.generate_assignment(page)]
        released = course / "release" / page
        text = (released / f"{page}.ipynb").read_text(encoding="utf-8")
        assert "SOLUTION" not in text
        assert "HIDDEN" not in text
        assert "Points:" not in text  # of a solution for teachers
        assert "raise NotImplementedError" in text
        shutil.copytree(released, course / "submitted" / "untouched" / page)
        shutil.copytree(course / "source" / page, course / "submitted" / "solved" / page)
        done += [nbgrader.autograde(page, student) for student in ("untouched", "solved")]
        assert all(one["success"] for one in done), done
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
