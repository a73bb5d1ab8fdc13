"""What a publication needs around its text: licences, a citation, one version, references."""

import re
import sys
import tomllib

import pytest
import yaml

import stlcore
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import pages

sys.path.append(str(ROOT / "book" / "_ext"))
from symbols import read_symbols, used

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_has_what_its_format_asks_for():
    """Citation File Format 1.2.0: what it requires, of the work and of what that refers to."""
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", CITATION["date-released"])
    assert CITATION["message"]
    for work in (CITATION, *CITATION["references"]):
        assert work["title"]
        assert work["authors"]
        assert all({"name", "family-names"} & set(author) for author in work["authors"])
    assert all(
        work["type"] and work["url"].startswith("https://") for work in CITATION["references"]
    )


def test_there_is_one_version_and_one_licence():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert CITATION["version"] == stlcore.__version__
    assert re.search(r"^## (\S+)", changes, re.M)[1] == stlcore.__version__
    assert CITATION["license"] == PROJECT["license"]["text"] == "BSD-3-Clause"


@pytest.mark.parametrize(
    ("name", "words"), [("LICENSE", "BSD 3-Clause License"), ("LICENSE-TEXT", "CC BY 4.0")]
)
def test_licences_are_there_and_named_in_the_footer(name, words):
    assert words in (ROOT / name).read_text(encoding="utf-8")
    footer = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["html"][
        "extra_footer"
    ]
    assert words.removesuffix(" License") in footer


def bibliography(path):
    text = path.read_text(encoding="utf-8")
    return {m[1]: m[2] for m in re.finditer(r"(?ms)^@\w+\{([^,]+),(.*?)^\}", text)}


def entries():
    return bibliography(ROOT / "book" / "references.bib")


@pytest.mark.parametrize("key", entries())
def test_every_reference_can_be_followed(key):
    assert re.search(r"^ +(?:doi +=|url +=|isbn +=)", entries()[key], re.M), key


def test_the_paper_has_what_its_journal_asks_for():
    """The Journal of Open Source Education: front matter, sections, length, references at hand."""
    _, head, text = (ROOT / "paper.md").read_text(encoding="utf-8").split("---\n", 2)
    head = yaml.safe_load(head)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= set(head)
    known = {affiliation["index"] for affiliation in head["affiliations"]}
    assert all(author["affiliation"] in known for author in head["authors"])
    for section in ("Summary", "Statement of need", "Learning objectives", "References"):
        assert f"# {section}\n" in text
    assert len(text.split()) < 1500
    own = bibliography(ROOT / head["bibliography"])
    assert set(re.findall(r"@(\w+)", text)) == set(own)
    assert own.items() <= entries().items()


def test_the_checklist_points_to_what_is_there():
    text = (ROOT / "book" / "checklist.md").read_text(encoding="utf-8")
    places = [word for word in re.findall(r"`([^`]+)`", text) if re.search(r"[/.]", word)]
    assert len(places) > 20
    for place in places:
        assert place == "stlcore.__version__" or (ROOT / place).exists(), place


def test_the_glossary_is_in_the_order_of_the_alphabet():
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"(?m)^(\S.*)\n  \S", text.split("{glossary}\n")[1])
    assert len(terms) > 10
    assert terms == sorted(terms, key=str.lower)


def test_every_page_has_a_way_to_it():
    """What a page needs is a page, and no page needs itself, not even by way of others."""
    ways = yaml.safe_load((ROOT / "book" / "paths.yml").read_text(encoding="utf-8"))
    assert set(ways) == {page.id for page in pages()}
    done: set[str] = set()
    while ready := {name for name, way in ways.items() if set(way["needs"]) <= done} - done:
        done |= ready
    assert done == set(ways)


def formulas(page):
    prose = [c.source for c in page.notebook.cells if c.cell_type == "markdown"]
    found = re.findall(r"(?s)\$\$(.+?)\$\$|\$([^$]+)\$", "\n".join(prose))
    return [display or inline for display, inline in found]


def test_every_symbol_is_used_and_means_one_thing_on_a_page():
    shown = {
        page.id: [e for e in read_symbols() if used(e, page.id, formulas(page))] for page in pages()
    }
    for entry in read_symbols():
        assert any(entry in entries for entries in shown.values()), entry
    for name, entries in shown.items():
        symbols = [part.strip() for e in entries for part in re.split(r",\\ |=", e["symbol"])[:1]]
        assert len(symbols) == len(set(symbols)), name


@pytest.mark.parametrize(
    ("tex", "formula", "stands"),
    [
        ("V", "V/n", True),
        ("V", r"\mathrm{TV}", False),
        ("i", r"\sin x", False),
        ("i", "x_i+1", True),
        ("n_t", "n_t^2", True),
        (r"\alpha", r"\alpha_t", True),
        (r"\TV", r"\TVx", False),
    ],
)
def test_a_letter_is_not_found_inside_a_word(tex, formula, stands):
    entry = {"tex": [tex], "pages": ["C"]}
    assert bool(used(entry, "C-02", [formula])) is stands
    assert not used(entry, "B-02", [formula])
