"""Where the book is published, and what follows from it: in a tiny book of two pages."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from sphinx.errors import ExtensionError

from stlcore.pages import provenance
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import find_page

sys.path.append(str(ROOT / "book" / "_ext"))
from address import check
from downloads import readers_version

PAGE = "notebooks/contamination/c02_thm31_risk_recurrence"
EXAMPLE = {
    "repository": "https://github.com/someone/loops",
    "branch": "main",
    "site": "https://someone.github.io/loops/",
}
NOWHERE = {"repository": "", "branch": "main", "site": ""}


OWN = [
    *("address", "downloads", "exercise_info", "figure_numbers", "page_head", "page_numbers"),
    "symbols",
]


def build(folder: Path, address: dict) -> Path:
    """A book of one page of ours with one figure; its folder of HTML."""
    origin = {
        **{"page": "C-02", "parameters": {}, "seconds": 1.0, "device": "CPU", "versions": {}},
        **{"finished": "today", "commit": "0123456789 with local changes", "command": "papermill"},
    }
    paths = [str(ROOT / "book" / "_ext"), str(ROOT)]
    (folder / "conf.py").write_text(
        f"import sys\nsys.path[:0] = {paths}\nproject = 'Tiny'\naddress = {address}\n"
        f"extensions = {['myst_parser', 'sphinx_proof', 'sphinx_exercise', *OWN]}\n"
        "myst_enable_extensions = ['dollarmath']\nnumfig = True\n"
        "html_theme = 'sphinx_book_theme'\nhtml_title = 'Tiny'\n"
    )
    theorem = "```{prf:theorem} One\n:label: thm\n\nThe law is $\\theta^*$.\n```\n"
    (folder / "index.md").write_text(
        f"# Front\n\n```{{toctree}}\n{PAGE}\n```\n\n{theorem.replace('thm', 'thm-front')}"
    )
    (folder / f"{PAGE}.md").parent.mkdir(parents=True)
    (folder / f"{PAGE}.md").write_text(
        f"# C-02 · One risk\n\nSee {{prf:ref}}`thm`.\n\n{theorem}\n"
        "```{exercise}\n:label: ex-c02-first\n\nDo it.\n```\n\n"
        "```{figure} a.svg\n:name: fig-c02\n:alt: a\n\nA figure\n```\n\n"
        f"```{{raw}} html\n{provenance.line(origin)}\n```\n"
    )
    (folder / "notebooks/contamination/a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    )
    command = [sys.executable, "-m", "sphinx", "-W", "-q", folder, folder / "out"]
    subprocess.run(command, check=True)
    return folder / "out"


@pytest.fixture(scope="module", params=["example", "nowhere"])
def tiny(request, tmp_path_factory):
    """Both books, one after the other: the folder and the address it was made with."""
    address = EXAMPLE if request.param == "example" else NOWHERE
    return build(tmp_path_factory.mktemp("book"), address), address


def links(html):
    return re.findall(r'(?:href|content)="(https://[^"]+)"', html)


def test_what_an_address_brings_and_that_nothing_comes_without(tiny):
    out, address = tiny
    html = (out / f"{PAGE}.html").read_text(encoding="utf-8")
    ours = [link for link in links(html) if re.search(r"someone|mybinder|colab", link)]
    if address is NOWHERE:
        assert ours == []
        for word in ("canonical", "og:", "address-button", "code at"):
            assert word not in html
        assert not (out / "sitemap.xml").exists()
        return
    repository, site = EXAMPLE["repository"], EXAMPLE["site"]
    name = PAGE.split("/")[-1]
    report = f"{repository}/issues/new?title=C-02%3A%20&amp;body=Page%2C%20and"
    assert [link for link in ours if link.startswith(report)]
    assert {link for link in ours if not link.startswith(report)} == {
        f"{site}{PAGE}.html",
        f"{site}front.png",
        f"{repository}/blob/main/{PAGE}.md",
        f"{repository}/blob/0123456789/{PAGE}.md",
        f"https://colab.research.google.com/github/someone/loops/blob/plain/plain/{name}.ipynb",
        f"https://mybinder.org/v2/gh/someone/loops/plain?urlpath=lab/tree/plain/{name}.ipynb",
    }
    assert f'<link rel="canonical" href="{site}{PAGE}.html" />' in html
    front = links((out / "index.html").read_text(encoding="utf-8"))
    assert f"{repository}/blob/main/book/index.md" in front
    found = re.findall("<loc>(.*?)</loc>", (out / "sitemap.xml").read_text(encoding="utf-8"))
    assert found == [f"{site}index.html", f"{site}{PAGE}.html"]
    assert (out / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_offers_its_plain_notebook_and_the_numbers_of_its_figure(tiny):
    out, address = tiny
    html = (out / f"{PAGE}.html").read_text(encoding="utf-8")
    assert 'class="numbers" href="../../numbers/fig-c02.csv"' in html
    name = PAGE.split("/")[-1]
    assert f'href="../../plain/{name}.ipynb"' in html
    assert "_sources" not in html
    notebook = nbformat.read(out / "plain" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not re.search(r"\{[a-z:]+\}`|^[`:]{3,}\{", text, re.M)
    assert (notebook.cells[0].id == "install") == bool(address["repository"])


def test_both_books_open_below_a_path_and_miss_nothing_of_their_own(tiny, browser, serve):
    page, missing = browser.new_page(), []
    with serve(tiny[0]) as site:
        page.route(lambda url: not url.startswith((site, "data:")), lambda route: route.abort())
        page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
        for document in ("index", PAGE):
            page.goto(f"{site}/{document}.html")
            hrefs = "[...document.querySelectorAll('a[href], link[href]')].map(a => a.href)"
            links = {link.split("#")[0] for link in page.evaluate(hrefs)}
            # The numbers behind a figure come from a run, which this page has not seen.
            inside = [link for link in links if link.startswith(site) and ".csv" not in link]
            assert inside
            missing += [link for link in inside if not page.request.get(link).ok]
    page.close()
    assert missing == []


def test_boxes_carry_the_id_of_their_page_and_its_symbols_stand_below_the_title(tiny):
    html = (tiny[0] / f"{PAGE}.html").read_text(encoding="utf-8")
    for words in ("Theorem C-02:1", "Exercise C-02:1", "Fig. C-02:1"):
        assert words in html
    assert html.count("Theorem C-02:1") == 2  # the box and the reference
    front = (tiny[0] / "index.html").read_text(encoding="utf-8")
    assert re.search(r"Theorem \d ", front)  # a text that is no page is counted as Sphinx does
    symbols = re.search(r'(?s)<details class="symbols">(.*?)</details>', html)[1]
    assert "the true law or parameter" in symbols
    assert "risk of round" not in symbols
    assert "Marks and verdicts" in html
    assert "Marks and verdicts" not in front


def test_an_exercise_says_what_it_is(tiny):
    html = (tiny[0] / f"{PAGE}.html").read_text(encoding="utf-8")
    assert (
        '<p><span class="level">★☆☆</span> <em>Proof, level 1, 10 minutes, 2 points.</em></p>\n'
        "<p>Do it.</p>"
    ) in html


@pytest.mark.parametrize(
    "wrong",
    [
        {"repository": "https://example.org/a"},
        {"repository": "https://github.com/a/b/"},
        {"site": "https://example.org/book"},
        {"branch": ""},
    ],
)
def test_an_address_that_makes_no_links_is_refused(wrong):
    with pytest.raises(ExtensionError, match=f"{next(iter(wrong))} of the book's address must"):
        check(None, SimpleNamespace(address={**EXAMPLE, **wrong}))


@pytest.fixture
def elsewhere(tmp_path):
    """The Python of an environment with all that this one has, but not the package."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "stlcore" not in path.name and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    return tmp_path / "env" / "bin" / "python"


def test_a_downloaded_notebook_fetches_the_package_and_runs(tmp_path, elsewhere, monkeypatch):
    """As on Colab, with a clone of this repository in place of the address."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository, not a copy of its files")
    commit = ["git", "-C", ROOT, "rev-parse", "HEAD"]
    commit = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
    notebook = readers_version(find_page("c02"), ROOT, commit)
    kernel = tmp_path / "kernels" / "elsewhere"
    kernel.mkdir(parents=True)
    start = {"argv": [str(elsewhere), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    (kernel / "kernel.json").write_text(json.dumps(start | {"display_name": "", "language": ""}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(elsewhere.parent), prepend=os.pathsep)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    # Nothing is to come from elsewhere, whatever there is in the environment of this test.
    for name, value in (("NO_INDEX", "1"), ("NO_DEPS", "1"), ("NO_BUILD_ISOLATION", "0")):
        monkeypatch.setenv(f"PIP_{name}", value)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="elsewhere", resources=place).execute()
    assert (tmp_path / "stlcore-book" / "stlcore").is_dir()
    assert list(elsewhere.parents[1].glob("lib/python*/site-packages/stlcore-*.dist-info"))
    shown = str([cell.get("outputs") for cell in notebook.cells])
    assert f"commit {commit[:10]}" in shown
    assert "C-02.1" in shown


def test_the_address_of_the_book_itself_has_the_three_keys():
    known = yaml.safe_load((ROOT / "book" / "address.yml").read_text(encoding="utf-8"))
    assert list(known) == list(EXAMPLE)
