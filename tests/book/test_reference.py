"""The reference of the book names all of the package that is for others to use."""

import inspect
import re
from importlib import import_module

import pytest

from stlcore.pages.repository import ROOT

#: What only the package itself uses.
INTERNAL = {
    *("stlcore", "stlcore.__main__", "stlcore.checks", "stlcore.lazy"),
    *("stlcore.stability.planned_rounds", "stlcore.stability.real_items"),
    *(
        f"stlcore.pages.{name}"
        for name in ("claims_table", "compare", "provenance", "repository", "runner", "sweep")
    ),
}
TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "book" / "reference").glob("*.rst"))
)


def modules() -> list[str]:
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "stlcore").rglob("*.py"))
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files)


def test_every_module_is_described_once():
    described = re.findall(r"^\.\. automodule:: (\S+)$", TEXT, re.M)
    assert sorted(described) == sorted(set(modules()) - INTERNAL)


def test_the_names_of_every_folder_are_listed():
    listed = re.findall(r"^\.\. handed-on:: (\S+)$", TEXT, re.M)
    described = set(modules()) - INTERNAL
    folders = {name for name in described if hasattr(import_module(name), "__path__")}
    assert sorted(listed) == sorted(folders - {"stlcore.theory"})  # which hands on no names


@pytest.mark.parametrize("name", sorted(set(modules()) - INTERNAL))
def test_what_is_public_lives_there_and_is_explained(name):
    """Autodoc leaves out what has no docstring, and links go to where a thing is defined."""
    module = import_module(name)
    for public in getattr(module, "__all__", []):
        found = getattr(module, public)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert found.__doc__, public
            home = import_module(found.__module__)
            assert public in home.__all__, f"{home.__name__} does not offer {public}"
