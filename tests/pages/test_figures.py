"""The look of figures."""

import pytest
from matplotlib.figure import Figure

from stlcore.pages.figures import plain_ticks


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.55, 6.3, ["1", "2", "5"]),  # where matplotlib alone says 10^0
        (0.004, 0.03, ["0.005", "0.01", "0.02"]),
        (30, 300, ["50", "100", "200"]),
    ],
)
def test_ticks_of_a_short_logarithmic_axis_are_plain_numbers(low, high, words):
    figure = Figure()
    ax = figure.subplots()
    ax.set(yscale="log", ylim=(low, high))
    plain_ticks(ax.yaxis)
    figure.draw_without_rendering()
    shown = [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks()]
    within = [low <= place <= high for place in ax.get_yticks()]
    assert [word for word, seen in zip(shown, within, strict=True) if seen] == words
    assert ax.get_yticks(minor=True).size == 0
