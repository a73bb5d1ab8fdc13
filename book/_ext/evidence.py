"""Roles for what a sentence rests on: a claim and its verdict, or a place in a paper.

``{claim}`C-02.1` `` links to the claim and shows its verdict; the build fails unless the
claim came out "reproduced". ``{claim}`C-02.5 not reproduced` `` leans on the opposite
verdict in the same way. ``{source}`c-theorem-3.1` `` shows a place in a paper, and in its
title what the text at hand says there (``book/sources.yml``).
"""

from functools import cache

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from stlcore.pages.runner import executed_records, find_page
from stlcore.pages.sources import read_sources

logger = logging.getLogger(__name__)


@cache
def _claims():
    """The claims of all pages by their ids; they do not change while the book is built."""
    return {row["id"]: row for record in executed_records() for row in record["claims"]}


class ClaimRole(SphinxRole):
    """A claim, as a link with its verdict."""

    def run(self):
        """See the head of the file."""
        name, _, wanted = self.text.partition(" ")
        wanted = wanted or "reproduced"
        rows = _claims()
        if name not in rows:
            return self._fault(f"there is no claim {name}")
        row = rows[name]
        if row["control_of"]:
            return self._fault(f"{name} is a negative control, not a claim")
        if row["verdict"] != wanted:
            return self._fault(f"the sentence needs {name} {wanted}; it is {row['verdict']}")
        page = find_page(row["page"])
        target = f"notebooks/{page.path.parent.name}/{page.path.stem}"
        address = self.env.app.builder.get_relative_uri(self.env.docname, target)
        link = nodes.reference(
            "", f"{name}, {wanted}", internal=True, refuri=f"{address}#{name}", classes=["claim"]
        )
        return [link], []

    def _fault(self, words):
        logger.warning("%s", words, location=self.get_location())
        return [nodes.inline("", self.text)], []


class SourceRole(SphinxRole):
    """A place in a paper, with what stands there."""

    def run(self):
        """See the head of the file."""
        known = read_sources()
        if self.text not in known:
            logger.warning("no entry %s in sources.yml", self.text, location=self.get_location())
            return [nodes.inline("", self.text)], []
        found = known[self.text]
        words = " ".join(found.says.split())
        # Docutils has no titled text of its own; a browser shows that of an abbreviation.
        return [nodes.abbreviation("", str(found), explanation=words)], []


def setup(app):
    """Register with Sphinx."""
    app.add_role("claim", ClaimRole())
    app.add_role("source", SourceRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
