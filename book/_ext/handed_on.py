"""The names that a folder of the package hands on, each with a link to where it is described.

``.. handed-on:: stlcore.learners`` reads them from the package itself.
"""

from importlib import import_module

from sphinx.util.docutils import SphinxDirective


class HandedOn(SphinxDirective):
    """A sentence with all names."""

    required_arguments = 1

    def run(self):
        """See the head of the file."""
        folder = import_module(self.arguments[0])
        names = ", ".join(_linked(name, getattr(folder, name)) for name in folder.__all__)
        text = f"Import from here (``from {folder.__name__} import ...``): {names}."
        return self.parse_text_to_nodes(text)


def _linked(name, value):
    if callable(value) and getattr(value, "__module__", "").startswith("stlcore."):
        return f":py:obj:`{name} <{value.__module__}.{value.__qualname__}>`"
    return f"``{name}``"  # a constant or a type of parameters


def setup(app):
    """Register with Sphinx."""
    app.add_directive("handed-on", HandedOn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
