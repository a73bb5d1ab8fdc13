"""The built book: what Sphinx wrote, and what a browser makes of it."""

import io
import json
import re
import sys
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from stlcore.pages.repository import ROOT
from stlcore.pages.runner import executed_records, find_page, pages

HTML = ROOT / "_build" / "html"
HARMLESS = "THEBE_JS_URL"  # the theme declares it twice; nothing depends on it


def chapters():
    """File names of all chapters, without suffix, as the table of contents lists them."""
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    found = [contents["root"]]
    for chapter in (chapter for part in contents["parts"] for chapter in part["chapters"]):
        found += [chapter["file"], *(section["file"] for section in chapter.get("sections", []))]
    return found


@pytest.fixture(scope="session", autouse=True)
def built():
    """The tests below look at the book as it is; `make book` makes it."""
    if not (HTML / "index.html").exists():
        pytest.fail("there is no book to look at: run 'make book' first")


def test_every_page_is_in_the_book_and_every_chapter_was_built():
    listed = chapters()
    for page in pages():
        assert f"notebooks/{page.path.parent.name}/{page.path.stem}" in listed
    for chapter in listed:
        assert (HTML / f"{chapter}.html").exists(), chapter


def test_no_executed_page_is_older_than_its_text():
    for page in pages():
        assert page.executed.exists(), page.name
        sources = [c.source for c in nbformat.read(page.executed, 4).cells]
        missing = [c.source for c in page.notebook.cells if c.source not in sources]
        assert not missing, f"{page.name} was run from another text"


def test_false_alarms_over_the_whole_book_stay_under_one_percent():
    alarms = [row["false_alarm"] for record in executed_records() for row in record["claims"]]
    assert sum(alarms) < 0.01


def test_every_page_has_claims_and_a_rejected_control():
    for record in executed_records():
        rows = record["claims"]
        assert any(not row["control_of"] for row in rows), record["page"]["id"]
        controls = [row for row in rows if row["control_of"]]
        assert controls, record["page"]["id"]
        assert all(row["verdict"] == "not reproduced" for row in controls)
        assert not any(row["surprising"] for row in rows)
        # In the book itself no effect is left open for want of data, unless its page says so.
        left_open = [row for row in rows if row["verdict"] == "not testable here"]
        assert not any(row["measured"] is not None and row["decisive"] for row in left_open)


def test_claims_page_holds_every_claim():
    text = (HTML / "claims.html").read_text(encoding="utf-8")
    for record in executed_records():
        for row in record["claims"]:
            assert f">{row['id']}<" in text


def test_a_page_leads_to_the_glossary_once_for_each_term():
    linked = []
    for page in pages():
        html = (HTML / f"notebooks/{page.path.parent.name}/{page.path.stem}.html").read_text()
        terms = re.findall(r'href="[^"]*glossary\.html#(term-[^"]+)"', html)
        assert len(terms) == len(set(terms)), page.name
        linked += terms
    assert len(linked) > len(pages())


def test_no_id_is_twice_on_a_page():
    for chapter in chapters():
        ids = re.findall(r'\sid="([^"]+)"', (HTML / f"{chapter}.html").read_text(encoding="utf-8"))
        assert len(ids) == len(set(ids)), chapter


def test_no_output_is_a_bare_claim():
    for page in pages():
        for cell in nbformat.read(page.executed, 4).cells:
            for output in cell.get("outputs", []):
                assert "Claim(id=" not in output.get("data", {}).get("text/plain", ""), page.name


def test_every_figure_has_its_provenance_below_it():
    for page in pages():
        cells = nbformat.read(page.executed, 4).cells
        for cell, below in zip(cells, [*cells[1:], None], strict=True):
            kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
            if "image/svg+xml" in kinds:
                shown = "".join(o["data"].get("text/html", "") for o in below.get("outputs", []))
                for word in ("seed", "commit", "Parameters", "Ran on", "papermill"):
                    assert word in shown, f"{page.name}: a figure without {word}"


def test_every_figure_has_its_numbers_beside_it():
    """A table with a finite number in every row, linked on the page, once for each figure."""
    for record in executed_records():
        page = find_page(record["page"]["id"])
        figures = [c.metadata.get("mystnb", {}).get("figure") for c in page.notebook.cells]
        names = [figure["name"] for figure in figures if figure]
        assert list(record["figures"]) == names, page.name
        html = (HTML / f"notebooks/{page.path.parent.name}/{page.path.stem}.html").read_text()
        links = re.findall(r'class="numbers" href="([^"]+)"', html)
        assert links == [f"../../numbers/{name}.csv" for name in names]
        for name, text in record["figures"].items():
            assert (HTML / "numbers" / f"{name}.csv").read_text(encoding="utf-8") == text
            table = pd.read_csv(io.StringIO(text))
            numbers = table.drop(columns=["panel", "series", "kind", "color"], errors="ignore")
            finite = np.isfinite(numbers.select_dtypes("number"))
            assert len(table) > 1, name
            assert finite.any(axis=1).all(), name


#: A letter of a figure, and after it its size in hundreds of points.
LETTER = re.compile(r'transform="translate\([^)]*\)(?: rotate\([^)]*\))? scale\(([\d.]+) -')


def test_letters_of_figures_have_eight_pixels_on_a_phone():
    """A figure of one panel is as wide as the text there; a wider one scrolls."""
    style = (HTML / "_static" / "book.css").read_text(encoding="utf-8")
    scrolls = 16 * int(re.search(r"img\.wide \{[^}]*min-width: (\d+)rem", style)[1])
    figures = list((HTML / "_images").glob("*.svg"))
    assert len(figures) > 50
    for figure in figures:
        text = figure.read_text(encoding="utf-8")
        width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', text)
        if width and (sizes := LETTER.findall(text)):
            points = float(width[1])
            shown = scrolls if points > 450 else min(358, points * 4 / 3)
            assert 100 * min(map(float, sizes)) * shown / points >= 8, figure.name


def test_book_names_no_folder_of_the_machine_it_was_made_on():
    home = str(Path.home())
    for page in pages():
        text = page.executed.read_text(encoding="utf-8")
        assert str(ROOT) not in text, page.name
        assert home == "/" or f"{home}/" not in text, page.name


def test_records_are_json_without_nan():
    for path in (ROOT / "book" / "notebooks").glob("*/*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(word))


def load(page, chapter):
    """Open the chapter, and wait for its formulas."""
    page.set_default_timeout(120_000)  # two browsers may be at work on a slow machine
    page.goto((HTML / f"{chapter}.html").as_uri())
    page.wait_for_function("() => !window.MathJax || !!MathJax.startup?.promise")
    page.evaluate("() => window.MathJax && MathJax.startup.promise")


def opened(browser, chapter, width, theme):
    """A new window with the chapter, for a reader who has chosen the theme before."""
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.add_init_script(f"localStorage.setItem('mode', '{theme}')")
    page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    load(page, chapter)
    return page


@cache
def axe():
    """The script of axe-core, which looks for what keeps people out."""
    package = pytest.importorskip("axe_playwright_python")
    return (resources.files(package) / "axe.min.js").read_text(encoding="utf-8")


@cache
def surroundings(version):
    """A digest of what all chapters depend on: the browser, these tests, the book's style."""
    found = sha256(version.encode() + axe().encode())
    for path in [Path(__file__), *sorted(HTML.glob("_static/**/*.[cj]s*"))]:
        found.update(path.read_bytes())
    return found


def digest(chapter, browser):
    """A digest of all that a look at the chapter depends on."""
    found = surroundings(browser.version).copy()
    html = (HTML / f"{chapter}.html").read_bytes()
    for name in sorted(set(re.findall(rb'_images/([^"?]+)', html))):
        found.update((HTML / "_images" / name.decode()).read_bytes())
    found.update(html)
    return found.hexdigest()


@pytest.fixture(scope="module")
def window(browser):
    """The window that all chapters are looked at in, and what it asked for and complained of.

    A new window costs as much as a chapter.
    """
    page = browser.new_page(viewport={"width": 1366, "height": 844}, color_scheme="light")
    said = []
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page, said
    page.close()


#: Four fifths of a chapter's elements are the strokes of formulas and the colours of code. What is
#: left of them here: boxes as large as they were, and one piece of code of each kind and place.
#: In one chapter, C-02, they stay.
THIN = """() => {
    for (const part of document.querySelectorAll("mjx-container > svg, mjx-assistive-mml"))
        part.replaceChildren();
    const seen = new Set();
    for (const piece of document.querySelectorAll("div.highlight pre span[class]")) {
        const place = piece.closest("div.highlight").parentElement.parentElement;
        const kind = [piece.className, place.className].join(" in ");
        if (seen.has(kind)) piece.replaceWith(piece.textContent);
        else seen.add(kind);
    }
}"""


#: One element with text for each combination of what its contrast depends on: its colour,
#: whether it is large, and the grounds below it. The claims alone have hundreds of equal ones.
UNLIKE = """() => {
    const grounds = new Map([[null, []]]), found = new Map();
    const ground = (element) => {
        if (!grounds.has(element)) {
            const { backgroundColor, backgroundImage, opacity, filter } = getComputedStyle(element);
            let below = ground(element.parentElement);
            const effect = opacity !== "1" || filter !== "none";
            const solid = backgroundColor.startsWith("rgb(") && !effect;
            if (solid) below = below.filter((one) => one.effect);  // it hides all others
            const clear = backgroundColor === "rgba(0, 0, 0, 0)" && backgroundImage === "none";
            if (effect || !clear)
                below = [...below, { effect, backgroundColor, backgroundImage, opacity, filter }];
            grounds.set(element, below);
        }
        return grounds.get(element);
    };
    for (const element of document.body.querySelectorAll("*")) {
        const words = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!words || !element.checkVisibility({ visibilityProperty: true })) continue;
        const { color, fontSize, fontWeight, textShadow } = getComputedStyle(element);
        const size = parseFloat(fontSize), large = size >= 24 || (size > 18.6 && fontWeight >= 700);
        const key = JSON.stringify([color, large, textShadow, ground(element)]);
        if (!found.has(key)) found.set(key, element);
    }
    window.unlike = found;
    return [...found.keys()];
}"""


def grave(page, rules, where="() => document"):
    """The serious and critical findings of axe-core: rule, and where it is broken."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe())
    found = page.evaluate(
        f"async (rules) => (await axe.run({{ include: ({where})() }}, rules)).violations",
        {"resultTypes": ["violations"], "preload": False, **rules},
    )
    return [
        (violation["id"], [node["html"][:120] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


CONTRAST = {"runOnly": ["color-contrast"]}
#: The others, but for two: `region` finds nothing serious, and what `link-in-text-block` asks
#: for follows from `BARE`. It takes as long as all others, and so does `color-contrast`.
LEFT_OUT = ("color-contrast", "link-in-text-block", "region")
QUICK = {"rules": {rule: {"enabled": False} for rule in LEFT_OUT}}
ALL, LINKS = {}, {"runOnly": ["link-in-text-block"]}

#: Links beside words of the same block that are not underlined. (Those at headings are no text.)
BARE = """() => [...document.querySelectorAll("a[href]:not(.headerlink)")].filter((link) => {
    if (!link.checkVisibility()) return false;
    if (getComputedStyle(link).textDecorationLine.includes("underline")) return false;
    let block = link;
    while (getComputedStyle(block).display.startsWith("inline")) block = block.parentElement;
    const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.data.trim() && !text.parentElement.closest("a[href]")) return block !== link;
    }
    return false;
}).map((link) => link.outerHTML)"""


@pytest.fixture(scope="module")
def readable():
    """The combinations of `UNLIKE` that axe-core has found readable, in whichever chapter."""
    return set()


def pale(page, readable):
    """What axe-core says of a chapter's pieces of text that are unlike all readable ones."""
    new = set(page.evaluate(UNLIKE)) - readable
    where = f"() => {json.dumps(sorted(new))}.map((key) => unlike.get(key))"
    found = grave(page, CONTRAST, where) if new else []
    if not found:
        readable |= new
    return found


def dressed(page, width, theme):
    """The window in that width and theme, which need no loading."""
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)


#: Formulas that are stops for the Tab key although they do not scroll.
NEEDLESS = """[...document.querySelectorAll('mjx-container[tabindex]')]
    .filter(formula => formula.scrollWidth <= formula.clientWidth).length"""


def look_on_a_desk(page):
    """Formulas, figures and references are there, and no piece of code is cut off."""
    for width in (1280, 1366):
        dressed(page, width, "light")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    raw = page.evaluate(
        "[...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container'))"
        ".map(m => m.textContent)"
    )
    assert raw == []
    images = page.evaluate(
        "[...document.querySelectorAll('article img')].map(i => [i.naturalWidth, i.alt])"
    )
    assert all(natural > 0 and len(alt) > 20 for natural, alt in images)
    assert page.locator("article .cell_output .traceback").count() == 0
    unresolved = page.locator("article a:text('%s')").count()  # a reference without its name
    assert unresolved == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll('div.cell_input pre')]
            .filter(pre => pre.scrollWidth > pre.clientWidth).length"""
    )
    assert cut == 0


def look_at_colours(page, model, readable):
    """Every colour can be read: of equal pieces of text one is looked at, of the model all."""
    for theme in ("light", "dark"):
        dressed(page, 1366, theme)
        assert page.evaluate(BARE) == []
        assert (grave(page, CONTRAST) if model else pale(page, readable)) == [], theme


def look_on_a_phone(page, solutions):
    """Solutions are folded, and what is wide scrolls in a box of its own, formulas by key."""
    dressed(page, 390, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    unfolded = page.evaluate(
        """() => [...document.querySelectorAll(
                'article div.solution .sd-summary-content, article details.toggle')]
            .filter(body => body.hasAttribute('open')).length"""
    )
    assert unfolded == 0
    assert page.locator("article div.solution").count() >= solutions
    too_wide = page.evaluate(
        """() => [...document.querySelectorAll('mjx-container[display=true], div.claims')]
            .filter(box => box.getBoundingClientRect().right > innerWidth + 1).length"""
    )
    assert too_wide == 0
    assert page.evaluate(NEEDLESS) == 0
    # Axis labels have 11 points, so this leaves them 8 pixels of the phone's own size.
    small = page.evaluate(
        """() => [...document.querySelectorAll('article figure img')]
            .filter(i => i.getBoundingClientRect().width < 0.55 * i.naturalWidth
                || i.parentElement.getBoundingClientRect().right > innerWidth + 1)
            .map(i => i.alt)"""
    )
    assert small == []


def look_without_eyes(page, rules):
    """Nothing keeps a keyboard or a screen reader out: no grave finding, and no needless stop."""
    dressed(page, 1366, "light")
    assert grave(page, rules) == []
    assert page.evaluate(NEEDLESS) == 0  # by now the page has seen its new width


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_in_the_browser(chapter, browser, window, readable, once):
    """It asks nobody, makes no error, and can be read by everybody, on a desk and on a phone.

    A chapter that passed and of which nothing has changed is not looked at again.
    """
    page, said = window
    model = "/c02_" in chapter
    with once(f"looked-at/{chapter.replace('/', '.')}", digest(chapter, browser)):
        said.clear()
        load(page, chapter)
        page.add_style_tag(content="* { transition: none !important }")  # a theme is there at once
        assert [word for word in said if HARMLESS not in word] == []
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
        if not model:
            page.evaluate(THIN)
        look_on_a_desk(page)
        look_at_colours(page, model, readable)
        look_on_a_phone(page, solutions=2 if chapter.startswith("notebooks/") else 0)
        look_without_eyes(page, ALL if model else QUICK)


def test_a_chapter_of_which_a_part_has_changed_is_looked_at_again(tmp_path, monkeypatch):
    files = {"a.html": '<img src="_images/b.svg">', "_images/b.svg": "<svg/>"}
    files |= {"_static/c.css": "", "_static/d/e.js": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "HTML", tmp_path)

    def found(version="1"):
        surroundings.cache_clear()
        return digest("a", SimpleNamespace(version=version))

    before = found()
    assert found() == before
    assert found(version="2") != before
    for name, text in files.items():
        (tmp_path / name).write_text(text + " ")
        assert found() != before, name
        (tmp_path / name).write_text(text)
    (tmp_path / "_images" / "of_another_chapter.svg").write_text("<svg/>")
    assert found() == before
    surroundings.cache_clear()


def luminance(colour):
    """Relative luminance of an ``rgb(...)`` colour (WCAG 2)."""
    channels = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_claims_can_be_filtered_and_pointed_at(browser):
    page = opened(browser, "claims", 1280, "light")
    visible = "[...document.querySelectorAll('.claims tbody tr')].filter(r => r.checkVisibility())"
    try:
        everything = page.evaluate(f"{visible}.length")
        page.locator("select[name=verdict]").select_option("not reproduced")
        failed = page.evaluate(f"{visible}.map(row => row.dataset.verdict)")
        assert 0 < len(failed) < everything
        assert set(failed) == {"not reproduced"}
        page.locator("select[name=paper]").select_option("C")
        page.locator("form.claims-filter input").fill("perplexity fixed")
        words = page.evaluate(f"{visible}.map(row => row.textContent.toLowerCase())")
        assert words
        assert all("perplexity" in text and "fixed" in text for text in words)
        control = page.evaluate("document.querySelector('.claims li.control').id")
        page.evaluate(f"location.hash = '{control}'")
        page.wait_for_function(f"document.getElementById('{control}').checkVisibility()")
    finally:
        page.close()


def test_search_finds_a_theorem_and_an_id_first(browser):
    for words, name in (("Theorem 3.1", "c02_"), ("C-08", "c08_"), ("Figure 2", "c10_")):
        page = browser.new_page()
        page.goto(f"{(HTML / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
        page.wait_for_selector("ul.search li a")
        page.wait_for_function(
            "!/Searching/.test(document.querySelector('#search-results').innerText)"
        )
        first = page.get_attribute("ul.search li a", "href")
        page.close()
        assert name in first, words


#: An image (and so its link) and a button without names, a cell whose header is nowhere, a pale
#: word and a bare link.
PLANTED = """() => {
    const last = (places) => [...document.querySelectorAll(places)].at(-1);
    last("article figure img").removeAttribute("alt");
    last("article section").append(document.createElement("button"));
    last("article table td").setAttribute("headers", "nowhere");
    const dark = document.documentElement.dataset.theme === "dark";
    last("article .claims td[data-label=Measured]").style.color = dark ? "#555" : "#bbb";
    const link = document.createElement("a");
    Object.assign(link, { href: "#", textContent: "more", style: "text-decoration: none" });
    last("article section > p").append(" and ", link, ", see there.");
}"""


@pytest.mark.parametrize(
    ("name", "theme"), [("b02_general_cycle", "light"), ("n07_a_fixed_budget_of_data", "dark")]
)
def test_what_is_planted_in_a_chapter_is_found(browser, readable, name, theme):
    """By the same quick ways, after whatever chapters this process has seen before."""
    page = opened(browser, f"notebooks/{find_page(name).path.parent.name}/{name}", 1366, theme)
    try:
        page.evaluate(PLANTED)
        page.evaluate(THIN)
        ((rule, places),) = pale(page, readable)
        assert rule == "color-contrast"
        assert len(places) == 1
        (link,) = page.evaluate(BARE)
        assert ">more<" in link
        broken = {rule for rule, _ in grave(page, QUICK)}
        assert broken == {"image-alt", "link-name", "button-name", "td-headers-attr"}
        assert [rule for rule, _ in grave(page, LINKS)] == ["link-in-text-block"]
    finally:
        page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_claims_are_readable(browser, theme):
    chapter = "notebooks/contamination/c02_thm31_risk_recurrence"
    page = opened(browser, chapter, 1280, theme)
    try:
        assert page.get_attribute("html", "data-theme") == theme
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for place in (
            "article section > p",
            "div.claims td",
            "details.provenance summary",
            "figcaption p",
        ):
            colour = page.evaluate(f"getComputedStyle(document.querySelector('{place}')).color")
            light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, place
        boxes = page.evaluate(
            """() => [...document.querySelectorAll('.text_html')].filter(
                b => b.querySelector('.claims, .provenance')).map(
                b => getComputedStyle(b).backgroundColor)"""
        )
        assert boxes
        assert set(boxes) == {"rgba(0, 0, 0, 0)"}
        turned = page.evaluate("getComputedStyle(document.querySelector('figure img')).filter")
        assert ("invert" in turned) == (theme == "dark")
    finally:
        page.close()


def test_the_site_works_below_a_path(browser, serve):
    """Nothing that a page loads, and nothing that it offers to download, is missing."""
    page, missing = browser.new_page(), []
    page.set_default_timeout(120_000)  # the machine may be busy
    page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
    with serve(HTML) as site:
        page.goto(f"{site}/notebooks/contamination/c03_cor32_fixed_share.html")
        page.wait_for_function("() => document.querySelector('mjx-container')")
        offered = page.evaluate(
            "[...document.querySelectorAll('a.numbers, .dropdown-download-buttons a')]"
            ".map(a => a.href)"
        )
        assert len(offered) == 4  # three figures and the notebook
        missing += [address for address in offered if not page.request.get(address).ok]
    page.close()
    assert missing == []


@pytest.mark.parametrize("name", ["contamination/c03_cor32_fixed_share", "tv_bounds/b08_digits"])
def test_a_page_is_printed_whole_and_light(browser, name):
    """As a reader prints it who reads in the dark: nothing is folded or cut off; B-08 is wide."""
    page = opened(browser, f"notebooks/{name}", 673, "dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    try:
        assert page.get_attribute("html", "data-theme") == "light"
        assert page.locator("article details:not([open])").count() == 0
        hidden = page.evaluate(
            """() => [...document.querySelectorAll('article :is(.solution, .dropdown, pre, img) *')]
                .filter(e => !e.closest('button, mjx-container') && e.textContent.trim()
                    && !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
                .map(e => e.textContent.slice(0, 60))"""
        )
        assert hidden == []
        cut = page.evaluate(
            """() => [...document.querySelectorAll('article :is(pre, table, img, mjx-container)')]
                .filter(e => {
                    const { right, width } = e.getBoundingClientRect();
                    // What a formula draws: its scrollWidth counts the words for screen readers.
                    const drawn = e.querySelector(":scope > svg")?.getBoundingClientRect().width;
                    return (drawn ?? e.scrollWidth) > (drawn ? width : e.clientWidth) + 1
                        || right > innerWidth;
                })
                .map(e => e.textContent.slice(0, 60))"""
        )
        assert cut == []
    finally:
        page.close()


def test_the_book_can_be_printed(browser, tmp_path):
    """Three chapters of it: figures, an outline, links inside, solutions at the end."""
    pikepdf = pytest.importorskip("pikepdf")
    sys.path.append(str(ROOT / "workflow"))
    from print_book import article, assemble, entries, print_on

    names = ["c02_thm31_risk_recurrence", "c10_fig2_multinomial"]
    files = [{"file": f"notebooks/contamination/{name}"} for name in names]
    contents = {"root": "intro", "parts": [{"caption": "Part", "chapters": files}]}
    text = assemble(HTML, contents)
    places = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= places
    assert text.index("<h1>Solutions</h1>") < text.index('class="solution')
    print_on(browser, HTML, tmp_path / "book.pdf", contents)
    assert (tmp_path / "book.pdf").stat().st_size < 2_000_000
    assert not (HTML / "whole.html").exists()
    assert article(HTML, "intro", set()).select("a[href^='#']") == []
    with pikepdf.open(tmp_path / "book.pdf") as book:
        assert 15 < len(book.pages) < 50
        titles = [str(entry.Title) for entry in entries(book.Root.Outlines)]
        for words in (r"C-02 · The risk recurrence, exactly", "Claims", "Solutions"):
            assert words in titles
        long = "C-10 · Four shares, four sample sizes, replaced or accumulated"
        assert long in titles  # it takes two lines
        links = [link for page in book.pages for link in page.get("/Annots", [])]
        inside = {str(link.Dest) for link in links if "/Dest" in link}
        assert inside
        assert inside <= set(book.Root.Dests.keys())
        outside = {str(link.A.URI) for link in links if "/A" in link}
        assert all(address.startswith("https://") for address in outside)
        fonts = [o for o in book.objects if isinstance(o, pikepdf.Dictionary) and "/Flags" in o]
        assert fonts
        assert all("/FontFile2" in font or "/FontFile3" in font for font in fonts)
