"""Leave no id twice on a page: all bodies of proofs and exercises are given one and the same."""

from docutils import nodes

SHARED = {"proof", "proof-content", "exercise-content", "solution-content"}


def remove(_app, doctree, _docname):
    """Take the shared ids off; nothing refers to them."""
    for node in doctree.findall(nodes.Element):
        if SHARED & set(node.get("ids", [])):
            node["ids"] = [name for name in node["ids"] if name not in SHARED]


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-resolved", remove)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
