"""Below the heading of an exercise: what ``book/exercises.yml`` says of it."""

from docutils import nodes
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node

from stlcore.pages.versions import exercises


def add_lines(app, doctree):
    """Put the line in front of each exercise's text."""
    known = exercises()
    for kind in (exercise_node, exercise_enumerable_node):
        for node in doctree.findall(kind):
            if found := known.get(node.get("label", "")):
                stars = nodes.inline(
                    "", "★" * found.level + "☆" * (3 - found.level), classes=["level"]
                )
                words = nodes.emphasis("", f"{found}.")
                line = nodes.paragraph("", "", stars, nodes.Text(" "), words)
                body = next((c for c in node.children if isinstance(c, nodes.section)), node)
                body.insert(0 if body is not node else 1, line)


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", add_lines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
