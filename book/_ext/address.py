"""What follows from where the book is published: ``book/address.yml``, the one setting for it.

With a repository, every page has buttons for its source, for a report of an error, and, if it is
a notebook, for Colab and Binder; the provenance of a figure links to the code as it was. With a
site, pages have a canonical address and a preview for social media, and the site a map. Without
them none of it appears.
"""

import re
from html import escape
from pathlib import Path
from urllib.parse import quote, urlencode

import yaml
from sphinx.errors import ExtensionError

from stlcore.pages.runner import find_page

#: The branch of the repository with the plain notebooks; .github/workflows/publish.yml makes it.
READERS = "plain"
REPORT = "Page, and claim if it is one:\n\nWhat you expected:\n\nThe line below the figure:\n"
FORMS = {
    "repository": r"(https://github\.com/[\w.-]+/[\w.-]+[\w-])?",
    "branch": r"[\w./-]+",
    "site": r"(https://[\w.-]+/([\w.-]+/)*)?",
}


def read_address():
    """The setting, as ``book/address.yml`` has it."""
    path = Path(__file__).parent.with_name("address.yml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def check(app, config):
    """Refuse an address that no link can be made of; hand the site on to Sphinx."""
    address = config.address = config.address or read_address()
    for key, form in FORMS.items():
        if not re.fullmatch(form, address.get(key, "")):
            raise ExtensionError(f"{key} of the book's address must have the form {form}")
    config.html_baseurl = address["site"]


def is_page(docname):
    """Whether a document is a page that runs."""
    return bool(re.fullmatch(r"[abcgn]\d\d_\w+", docname.split("/")[-1]))


def source_of(app, docname):
    """The file of the repository that a document is written in."""
    if is_page(docname):
        return f"{docname}.md"
    return f"book/{Path(app.env.doc2path(docname)).relative_to(app.srcdir).as_posix()}"


def code_link(app, commit):
    """A link to the page's text at the commit of a run, or "" if there is no such place."""
    number = re.match(r"[0-9a-f]{7,40}\b", commit)
    repository = app.config.address["repository"]
    if not (repository and number):
        return ""
    address = f"{repository}/blob/{number[0]}/{source_of(app, app.env.docname)}"
    return f'<a class="numbers" href="{address}">code at {number[0]}</a>'


def buttons(app, docname):
    """Text and address of the buttons of a page."""
    repository, branch = (app.config.address[key] for key in ("repository", "branch"))
    if not repository or docname not in app.env.found_docs:
        return {}
    title = app.env.titles[docname].astext().split(" · ")[0]
    report = urlencode({"title": f"{title}: ", "body": REPORT}, quote_via=quote)
    found = {
        "Source": f"{repository}/blob/{branch}/{source_of(app, docname)}",
        "Report an error": f"{repository}/issues/new?{report}",
    }
    if is_page(docname):
        project, notebook = repository.removeprefix("https://github.com/"), docname.split("/")[-1]
        place = f"plain/{notebook}.ipynb"
        found |= {
            "Colab": f"https://colab.research.google.com/github/{project}/blob/{READERS}/{place}",
            "Binder": f"https://mybinder.org/v2/gh/{project}/{READERS}?urlpath=lab/tree/{place}",
        }
    return found


def dress(app, docname, _template, context, _doctree):
    """Put the buttons and the preview on a page."""
    links = buttons(app, docname)
    if links:
        group = [
            {
                "type": "link",
                "url": escape(url),
                "text": text,
                "tooltip": text,
                "label": "address-button",
            }
            for text, url in links.items()
        ]
        context["header_buttons"].append(
            {
                "type": "group",
                "tooltip": "Source, error, run",
                "icon": "fab fa-github",
                "buttons": group,
                "label": "address-buttons",
            }
        )
    site = app.config.address["site"]
    if site:
        facts = {
            "title": context.get("title", app.config.html_title),
            "type": "article",
            "url": f"{site}{docname}.html",
            "image": f"{site}front.png",
            "site_name": app.config.html_title,
            "description": find_page(docname.split("/")[-1]).title if is_page(docname) else "",
        }
        context["metatags"] = context.get("metatags", "") + "".join(
            f'<meta property="og:{key}" content="{re.sub("<[^>]+>", "", value)}" />\n'
            for key, value in facts.items()
            if value
        )


def write(app, error):
    """Write the site's map, and the front figure in a format that previews can show."""
    site = app.config.address["site"]
    if error is None and site and app.builder.format == "html":
        from front_figure import draw  # with Matplotlib, which takes seconds to import

        draw(Path(app.outdir, "front.png"))
        entries = "".join(
            f"<url><loc>{site}{docname}.html</loc></url>\n"
            for docname in sorted(app.env.found_docs)
        )
        Path(app.outdir, "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
            f"{entries}</urlset>\n",
            encoding="utf-8",
        )


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("address", None, "env")
    app.connect("config-inited", check)
    app.connect("html-page-context", dress, priority=600)  # after the theme's own buttons
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
