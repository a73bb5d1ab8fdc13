"""Real data: where it comes from, under which licence, and a checksum that pins it.

A loader returns the same data on every machine that has the same sources, and raises
:class:`~stlcore.data.corpus.MissingDataError`, with one sentence that says how to get what is
missing.
Learners and pages use it.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "corpus": ["Corpus", "MissingDataError", "divide", "passages", "sentences"],
        "images": [
            "Images",
            "celeba",
            "cifar10",
            "digits",
            "mnist",
            "open_images",
            "pictures",
        ],
        "packages": ["docstrings", "prose"],
        "plots": ["movie_plots"],
    },
)
