"""Write the pages of the book on all cores: Jupyter Book has no option for it.

Reading stays in one process, since not all extensions say that they can be read in several.
"""

import os


def spread(app, _env):
    """All has been read: one process resolves the links, and as many as there are cores write."""
    app.parallel = (os.cpu_count() or 1) + 1
    return []


def setup(app):
    """Register with Sphinx."""
    app.connect("env-updated", spread)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
