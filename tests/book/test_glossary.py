"""The glossary, and the links to it that the build puts on the pages."""

import sys
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from sphinx import addnodes

from stlcore.pages.repository import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))
import glossary_links

PAGE = "notebooks/contamination/c02_thm31_risk_recurrence"


def links(text, docname=PAGE):
    """Term and words of every link that a page with this text gets."""
    tree = publish_doctree(text)
    before = tree.astext()
    glossary_links.add(SimpleNamespace(env=SimpleNamespace(docname=docname)), tree)
    assert tree.astext() == before
    found = tree.findall(addnodes.pending_xref)
    return [(link["reftarget"], link.astext()) for link in found]


def test_the_first_use_of_a_term_is_linked_and_no_other():
    text = "The risk of a loop.\n\nRisks of models, a risk.\n\nTwo *bandwidths* and the risk."
    assert links(text) == [("risk", "risk"), ("bandwidth", "bandwidths")]


def test_of_two_terms_in_one_place_the_longer_is_meant():
    assert links("A share of\nfresh data and fresh data.") == [
        ("share of fresh data", "share of\nfresh data"),
        ("fresh data", "fresh data"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "A title with its risk\n=====================\n\nWords.",
        "The code ``risk`` and the formula :math:`risk`.",
        "A link: `the risk <https://example.org>`_.",
        "Part of another word: asterisk, risk-free, risky.",
        ".. container:: dropdown\n\n   The risk.",
        "A gain in time is worth it; models **replace** each other.",
    ],
)
def test_what_is_not_the_term_or_no_running_text_stays_as_it_is(text):
    assert links(text) == []


def test_a_word_of_plain_english_is_a_term_where_it_is_set_off():
    assert links("No gain here. This is the *gain* of a round.") == [("gain", "gain")]


def test_a_word_of_one_part_is_a_term_there_only():
    assert links("The mixing measure.") == []
    assert links("A mixing.", "notebooks/recursive_stability/a02_x") == [("mixing", "mixing")]
    assert links("A mixing.", "parts/stability") == [("mixing", "mixing")]


def test_only_pages_and_the_introductions_to_their_parts_are_looked_through():
    assert links("The risk.", "parts/contaminated")
    assert links("The risk.", "claims") == []


def test_the_words_of_a_link_stay_what_they_were():
    tree = publish_doctree("Models with *risk*, and more.")
    glossary_links.add(SimpleNamespace(env=SimpleNamespace(docname=PAGE)), tree)
    (link,) = tree.findall(addnodes.pending_xref)
    assert isinstance(link.parent, nodes.emphasis)
