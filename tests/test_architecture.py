"""Who may import whom: the storeys of the package, and how light the lower ones are."""

import ast
import json
import runpy
import subprocess
import sys

import pytest

import stlcore
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import imports, pages

MODULES = sorted((ROOT / "stlcore").rglob("*.py"))

#: From the ground up. A floor may import the floors below it and its own.
FLOORS = [
    {"checks", "lazy"},
    {"schedules", "streams", "laws"},
    {"cycles", "metrics", "data"},
    {"learners", "theory"},
    {"loop", "checkpoints"},
    {"stability"},
    {"pages"},
    {"__main__"},
]
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}


def room(path) -> str:
    """The room that a file of the package belongs to."""
    return path.relative_to(ROOT / "stlcore").with_suffix("").parts[0]


def rooms_used(path) -> set[str]:
    names = imports(path.read_text(encoding="utf-8"))
    return {name.split(".")[1] for name in names if name.count(".") >= 1}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "stlcore")))
def test_arrows_run_downwards(path):
    if path == ROOT / "stlcore" / "__init__.py":
        assert not imports(path.read_text(encoding="utf-8"))
        return
    for other in rooms_used(path) - {room(path)}:
        assert LEVEL[other] <= LEVEL[room(path)], other
        if LEVEL[other] == LEVEL[room(path)] >= LEVEL["learners"]:
            assert {other, room(path)} == {"loop", "checkpoints"}, other


def test_the_loop_knows_no_learner_by_name():
    for name in ("loop.py", "checkpoints.py"):
        code = (ROOT / "stlcore" / name).read_text(encoding="utf-8")
        modules = {n.split(".")[2] for n in imports(code) if n.startswith("stlcore.learners.")}
        assert modules == {"base"}


def test_the_storeys_are_named_where_a_newcomer_looks():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(LEVEL) - {"__main__"}:
        assert f"`{name}`" in stlcore.__doc__
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    "init", [p for p in MODULES if p.name == "__init__.py"], ids=lambda p: p.parent.name
)
def test_a_folder_says_what_lives_there_and_hands_on_what_exists(init):
    assert len(ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))).split()) > 15
    folder = ".".join(init.parent.relative_to(ROOT).parts)
    module = __import__(folder, fromlist=["*"])
    for name in getattr(module, "__all__", []):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_pages_import_names_and_not_folders():
    """Of a whole folder the pipeline could not tell which modules the page goes through."""
    folders = {p.parent.name for p in MODULES if p.name == "__init__.py"} - {"stlcore"}
    for page in pages():
        for cell in page.notebook.cells:
            tree = ast.parse(cell.source) if cell.cell_type == "code" else ast.Module([], [])
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    assert not any(a.name.startswith("stlcore") for a in node.names), page.name
                if isinstance(node, ast.ImportFrom) and node.module == "stlcore":
                    assert not folders & {a.name for a in node.names}, page.name


def loaded_by(code: str) -> set[str]:
    """The packages that a fresh Python has loaded after running some code."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_loop_over_arrays_starts_with_little():
    code = "from stlcore.loop import run\nfrom stlcore.learners import Categorical"
    slow = {"pandas", "torch", "scipy.stats", "sklearn", "tokenizers", "matplotlib", "IPython"}
    assert not slow & loaded_by(code)


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("stlcore.pages.page", {"scipy", "matplotlib"}),
        ("stlcore.metrics.distances", set()),
        # Every start of the pipeline looks for pages; lark comes with JupyterLab.
        ("stlcore.pages.runner", {"numpy", "pandas", "papermill", "tornado", "lark"}),
    ],
)
def test_a_categorical_page_starts_without_torch(module, slow):
    assert not (slow | {"torch", "sklearn", "tokenizers"}) & loaded_by(f"import {module}")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_every_benchmark_finds_what_it_imports(path):
    assert "main" in runpy.run_path(str(path), run_name="benchmark")
