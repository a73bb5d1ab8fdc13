"""The files that set a machine up agree with each other."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import yaml

from stlcore.page import ROOT


def pinned(path):
    """Name and version of every package that a requirements file pins."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\]+)", text, re.MULTILINE))


def test_environment_file_names_the_locked_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    listed = dict(entry.split("==") for entry in pip if "==" in entry)
    locked = pinned("locks/core.txt") | pinned("locks/torch.txt")
    assert listed == {name: locked.get(name) for name in listed}
    assert {"jupyter-book", "jupytext", "numpy", "scipy", "seaborn", "torch", "papermill"} <= set(
        listed
    )


def test_lock_holds_every_direct_requirement_with_a_hash():
    wanted = (ROOT / "locks/core.in").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[<>=]", line)[0] for line in wanted if line and not line.startswith("#")}
    text = (ROOT / "locks/core.txt").read_text(encoding="utf-8")
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert names <= set(locked)
    assert len(locked) == len(pinned("locks/core.txt"))


def test_lock_names_no_package_host():
    for name in ("core.in", "core.txt", "torch.txt"):
        assert "://" not in (ROOT / "locks" / name).read_text(encoding="utf-8")


def third_party(path):
    """Packages from elsewhere that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[0] for name in found} - sys.stdlib_module_names - {"stlcore"}


def test_package_requires_what_it_imports():
    imported = set().union(*map(third_party, (ROOT / "stlcore").rglob("*.py")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {*project["dependencies"], *project["optional-dependencies"]["torch"]}
    providers = packages_distributions()
    for name in imported:
        assert {d.lower().replace("_", "-") for d in providers[name]} & listed, name
