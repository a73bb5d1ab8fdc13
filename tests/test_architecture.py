"""Who may import whom: the rooms of the package stay apart."""

import runpy
import subprocess
import sys

import pytest

from stlcore.page import ROOT
from stlcore.runner import imports

MODULES = sorted((ROOT / "stlcore").rglob("*.py"))


def below(room):
    return [path for path in MODULES if path.is_relative_to(ROOT / "stlcore" / room)]


def test_theory_and_learners_do_not_know_each_other():
    assert below("theory")
    assert below("learners")
    for path in below("theory"):
        assert not any(
            name.startswith("stlcore.learners")
            for name in imports(path.read_text(encoding="utf-8"))
        ), path.name
    for path in below("learners"):
        assert not any(
            name.startswith("stlcore.theory") for name in imports(path.read_text(encoding="utf-8"))
        ), path.name


def test_the_loop_knows_no_learner_by_name():
    learners = {
        n
        for n in imports((ROOT / "stlcore/loop.py").read_text(encoding="utf-8"))
        if n.startswith("stlcore.learners.")
    }
    assert {name.split(".")[2] for name in learners} == {"base"}


def test_only_what_runs_pages_imports_page():
    allowed = {"__main__.py", "runner.py", "page.py"}
    for path in MODULES:
        if path.name not in allowed:
            assert "stlcore.page" not in imports(path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("module", ["stlcore.loop", "stlcore.learners.categorical", "stlcore.page"])
def test_a_categorical_page_starts_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_every_benchmark_finds_what_it_imports(path):
    assert "main" in runpy.run_path(str(path), run_name="benchmark")
