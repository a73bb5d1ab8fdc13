"""Numbers of boxes and figures that carry the id of their page: ``Theorem C-02:1``.

Sphinx counts through the whole book; a new page would move every number after it. With a colon
they are not mistaken for claims (``C-02.1``).
"""

from address import is_page


def renumber(_app, env):
    """Count anew on every page; Sphinx has just counted through."""
    for docname, kinds in env.toc_fignumbers.items():
        if is_page(docname):
            name = docname.split("/")[-1].split("_")[0]
            page = f"{name[0].upper()}-{name[1:]}"
            for numbers in kinds.values():
                for k, label in enumerate(sorted(numbers, key=numbers.get), start=1):
                    numbers[label] = (f"{page}:{k}",)
    return []


def setup(app):
    """Register with Sphinx."""
    app.connect("env-get-updated", renumber, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
