"""The whole book as one PDF, printed by Chromium from the pages that were built.

    python workflow/print_book.py [_build/html] [_build/book.pdf]

One document of all chapters is laid beside them and printed: links lead to pages of the PDF, the
headings are its outline, solutions stand in an appendix.
"""

import re
import sys
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from chromium import INSTALL, find_chromium
from pikepdf import ObjectStreamMode, Pdf, String
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
#: What only a screen can use, and what each page repeats.
SCREEN_ONLY = (
    "script, a.headerlink, a.numbers, button, .claims-filter, .prev-next-area, iframe, canvas, "
    "details.legend"
)
STYLE = """
@page { size: A4; margin: 16mm 16mm 18mm; }
body { font-size: 10pt; line-height: 1.4; }
body::before, .pst-scroll-pixel-helper { display: none !important; }
section.chapter { break-before: page; }
/* Without the space a heading at the top of a page is twice in the outline. */
h1, h2, h3, h4 { margin: 2mm 0 1.5mm !important; padding-top: 3mm !important; }
h1 { font-size: 20pt !important; }
h2 { font-size: 16pt !important; }
h3 { font-size: 13pt !important; }
h4, h5, h6 { font-size: 11pt !important; }
p, ul, ol, dl, dd, .admonition, .cell { margin-bottom: 1.8mm !important; }
p.origin { margin-top: 0; }
details.provenance { break-inside: avoid; }
.title-page { break-after: page; padding-top: 30vh; text-align: center; }
.contents a { display: block; }
/* Chromium draws shadows as pictures, which are a third of the file. */
@layer paper { * { box-shadow: none !important; } }
/* Wide formulas and tables shrink to the paper. */
mjx-container > svg { max-width: 100% !important; }
mjx-container[display="true"] { margin: 1mm 0 !important; }
.bd-article table { font-size: 8pt !important; width: 100%; }
.bd-article table.dataframe { border: 0; }
.bd-article td, .bd-article th { padding: 0.8mm 1.5mm !important; overflow-wrap: break-word; }
.bd-article td code, .claims a { overflow-wrap: anywhere; }
.bd-article td p { margin: 0 !important; }
div.claims .source { font-size: 7pt; }
div.claims td:nth-child(4) { min-width: 24mm; }
div.claims td:nth-child(5) { min-width: 22mm; }
figure img { max-height: 18cm; max-width: 100% !important; }
figure img:not(.wide) { max-width: 12.5cm !important; }
div.cell_input pre, div.highlight pre {
  font-size: 7.4pt !important; line-height: 1.25;
}
"""


def chapters(contents):
    """Title of the part, or "", and document of every chapter, in the order of the contents."""
    yield "", contents["root"]
    for part in contents["parts"]:
        title = part["caption"]
        for chapter in part["chapters"]:
            yield title, chapter["file"]
            title = ""
            for section in chapter.get("sections", []):
                yield "", section["file"]


def name(document, place=""):
    """The id of a chapter, or of a place in it, in the one document."""
    return "-".join(["at", re.sub(r"\W", "-", document), *([place] if place else [])])


def article(html, document, known):
    """The article of a built page, its ids and links those of the one document."""
    path = html / f"{document}.html"
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    for node in found.select(SCREEN_ONLY):
        node.decompose()
    for node in found.select("[id]"):
        node["id"] = name(document, node["id"])
    for image in found.select("img"):
        image["src"] = (path.parent / image["src"]).resolve().relative_to(html).as_posix()
    for link in found.select("a[href]"):
        target, _, place = link["href"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / target).resolve() if target else path
        other = there.relative_to(html).with_suffix("").as_posix()
        if other in known and there.suffix in ("", ".html"):
            link["href"] = f"#{name(other, place)}"
        else:
            link.unwrap()  # a file that only the site has
    for code in found.select("div.highlight pre"):
        code.string = code.get_text()  # in one colour: each coloured word is an object of the PDF
    for details in found.select("details"):
        details["open"] = ""
        if "hide" in details.get("class", []):
            details.summary.decompose()  # code that the site folds
            details.unwrap()
    for level in range(5, 0, -1):  # parts are the first level
        for heading in found.select(f"h{level}"):
            heading.name = f"h{level + 1}"
    return found


def assemble(html, contents):
    """The one document."""
    known = {document for _, document in chapters(contents)}
    front = BeautifulSoup((html / f"{contents['root']}.html").read_text("utf-8"), "html.parser")
    keep = "link[rel=stylesheet], meta[charset]"
    head = [str(node) for node in front.head.select(keep)]
    head += [str(node) for node in front.head.select("script") if "MathJax" in node.text]
    head += [str(node) for node in front.head.select("script[src*=tex-svg]")]
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    body, listed, solutions = [], [], []
    for part, document in chapters(contents):
        found = article(html, document, known)
        heading = found.select_one("h2").get_text()
        own = found.select("div.solution, div.tag_solution")
        if own:
            solutions.append(f"<h2>{heading}</h2>" + "".join(str(node.extract()) for node in own))
        part = f"<h1>{part}</h1>" if part else ""
        listed.append(f'{part}<a href="#{name(document)}">{heading}</a>'.replace("h1", "b"))
        body.append(f'<section class="chapter" id="{name(document)}">{part}{found}</section>')
    body.append('<section class="chapter bd-article"><h1>Solutions</h1>')
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{"".join(head)}'
        f"<style>{STYLE}</style><title>{title}</title></head><body>"
        f'<div class="title-page"><p style="font-size: 28pt">{title}</p></div>'
        f'<div class="contents">{"".join(listed)}</div>'
        f"{''.join(body)}{''.join(solutions)}</section></body></html>"
    )


def entries(outline):
    """All entries of an outline, or below one of its entries."""
    entry = outline.get("/First")
    while entry is not None:
        yield entry
        yield from entries(entry)
        entry = entry.get("/Next")


def finish(pdf, headings):
    """Mend the outline, where Chromium drops the space at the end of a line, and pack the file.

    A third of what Chromium writes is structure that it leaves uncompressed.
    """
    known = {"".join(heading.split()): " ".join(heading.split()) for heading in headings}
    with Pdf.open(pdf, allow_overwriting_input=True) as book:
        for entry in entries(book.Root.Outlines):
            title = str(entry.Title)
            entry.Title = String(known.get("".join(title.split()), title))
        book.save(object_stream_mode=ObjectStreamMode.generate)


def print_on(browser, html, pdf, contents):
    """Write the PDF of some chapters with a browser that runs."""
    whole = html / "whole.html"
    whole.write_text(assemble(html, contents), encoding="utf-8")
    number = '<p style="font-size: 8px; margin: auto"><span class="pageNumber"></span></p>'
    page = browser.new_page()
    page.set_default_timeout(0)  # formulas of a whole book take their time
    try:
        page.goto(whole.as_uri())
        page.evaluate("() => MathJax.startup.promise")
        # Every stroke of a formula would be an element of the tagged structure.
        page.evaluate(
            "document.querySelectorAll('mjx-container').forEach(m => { m.ariaHidden = true; })"
        )
        page.pdf(
            path=pdf,
            prefer_css_page_size=True,
            print_background=True,
            outline=True,
            tagged=True,  # Chromium makes an outline of tagged headings only
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=number,
        )
        headings = page.locator("h1, h2, h3, h4, h5, h6").all_text_contents()
    finally:
        page.close()
        whole.unlink()
    finish(pdf, headings)


def print_book(html, pdf):
    """Write the PDF of the book in a folder of HTML."""
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    if (chromium := find_chromium()) is None:
        sys.exit(f"Chromium is needed to print the book ({INSTALL})")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        print_on(browser, html, pdf, contents)
        browser.close()


if __name__ == "__main__":
    given = [Path(word).resolve() for word in sys.argv[1:]]
    defaults = [ROOT / "_build" / "html", ROOT / "_build" / "book.pdf"]
    print_book(*(given + defaults[len(given) :]))
