"""Decks of slides: they open without a network, with formulas set and figures described."""

from __future__ import annotations

import re

import pytest

from stlcore.pages.repository import UsageError
from stlcore.pages.runner import NotebookPage, find_page
from stlcore.pages.slides import build_slides, deck


def test_a_deck_opens_without_a_network(browser, tmp_path):
    (made,) = build_slides([find_page("c02")], tmp_path / "slides")
    page = browser.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(made.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert not errors
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert page.evaluate("Reveal.getTotalSlides()") >= 8
    assert page.locator("mjx-container").count() > 20
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("img[alt^='Figure 1. The risk of a loop']").count() == 1
    assert "Theorem 1" in page.locator("main").text_content()
    page.close()


@pytest.mark.parametrize("name", ["a01", "b06", "n02"])
def test_a_deck_has_statements_and_no_proof_code_or_exercise(name):
    text = deck(find_page(name))
    assert "<h2>The statement</h2>" in text
    assert not re.search(r"Proof\.|Exercise \d|stlcore\.|\{(doc|prf:ref|glue:text)\}`|____", text)


def test_a_page_that_was_not_run_has_no_deck(tmp_path):
    (tmp_path / "c91_not_run.md").write_text("# Title\n")
    with pytest.raises(UsageError, match="C-91 has not been run: run 'make pages' first"):
        build_slides([NotebookPage(tmp_path / "c91_not_run.md")], tmp_path / "slides")
    assert not (tmp_path / "slides").exists()
