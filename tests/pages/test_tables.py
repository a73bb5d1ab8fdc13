"""Tables of text."""

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from stlcore.pages.tables import show_table


def shown(rows):
    InteractiveShell.instance()
    with capture_output() as captured:
        show_table(rows)
    (output,) = captured.outputs
    return output.data["text/html"]


def test_the_first_cell_is_the_heading_and_markup_stays():
    table = shown([("law", "<b>3</b>", 4)])
    assert table.count("<th ") == 1
    assert table.count("<td ") == 2
    assert "<b>3</b></td>" in table
    assert table.endswith(">4</td></tr></table>")


def test_only_long_words_may_be_broken():
    table = shown([("checksum", "0" * 64), ("words", "a few short words in a row of cells")])
    assert table.count("overflow-wrap: anywhere") == 1
    assert shown([]) == "<table></table>"
