"""Mark figures of several panels, which the style sheet lets scroll on a phone.

Squeezed to a phone's width, the letters of a wide figure are too small to read.
"""

import re
from pathlib import Path

from docutils import nodes

WIDE = 450  # points; a figure of one panel has 440


def mark(app, doctree):
    """Give every wide SVG figure of a page the class ``wide``."""
    for image in doctree.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg" and path.is_file():
            head = path.read_text(encoding="utf-8")[:2000]
            width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', head)
            if width and float(width[1]) > WIDE:
                image["classes"].append("wide")


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
