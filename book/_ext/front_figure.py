"""The figure of the front page, drawn from the exact recurrences whenever the book is built."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from stlcore.pages.figures import theme
from stlcore.theory.contamination import risk

ROUNDS, SIZE, SHARE = 1000, 100, 0.1
T = np.arange(1, ROUNDS + 1)
FIXED = np.full(ROUNDS, float(SIZE))


def shares(value):
    """The shares of all rounds; the first sees real data only."""
    return np.where(T == 1, 1.0, value)


#: Words at the end of a line, and the risks.
LOOPS = {
    "only its own\nlast output": risk(shares(0), FIXED, 1.0),
    "all output so far,\nkept": risk(shares(0), FIXED, 1.0, accumulate=True),
    "a tenth fresh": risk(shares(SHARE), FIXED, 1.0),
    "a tenth fresh,\nall kept": risk(shares(SHARE), FIXED, 1.0, accumulate=True),
    "a tenth fresh,\ngrowing samples": risk(shares(SHARE), SIZE * T, 1.0),
}


def draw(path):
    """Write the figure as SVG or PNG."""
    theme()
    figure, ax = plt.subplots(figsize=(6.2, 4.2))
    styles = ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), ":"]
    colours = sns.color_palette("colorblind", len(LOOPS))
    for (words, risks), style, colour in zip(LOOPS.items(), styles, colours, strict=True):
        ax.plot(T, risks / risks[0], linestyle=style, color=colour, linewidth=2.2)
        ax.text(T[-1] * 1.15, risks[-1] / risks[0], words, va="center", fontsize=10)
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlim=(1, ROUNDS * 12))
    ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set_yticks([0.01, 0.1, 1, 10, 100], ["1/100", "1/10", "1", "10", "100"])
    ax.minorticks_off()
    ax.set(xlabel="round", ylabel="risk, in units of the first round's")
    # An SVG without the date is the same file in every build.
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def setup(app):
    """Draw before Sphinx reads."""
    app.connect("builder-inited", lambda app: draw(Path(app.srcdir, "front.svg")))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
