"""What a page needs stands in the types of its parameters, and is refused before anything runs."""

import ast
import math
from typing import get_args

import pytest

from stlcore.pages.repository import UsageError
from stlcore.pages.runner import NotebookPage, check_parameters, pages


@pytest.fixture(params=pages(), ids=lambda page: page.name)
def page(request) -> NotebookPage:
    return request.param


def test_what_a_page_needs_is_refused_before_anything_runs(page):
    """One below the least value, or just outside, for every parameter that has a range."""
    for name, (annotation, _) in page.parameters.items():
        rule = get_args(annotation)[1]
        if rule.kind in (str, bool):
            continue
        outside = [rule.low if rule.low_open else rule.low - 1]
        outside += [rule.high if rule.high_open else rule.high + 1] if rule.high < math.inf else []
        for value in outside:
            value = rule.kind(value)
            with pytest.raises(UsageError, match=f"{page.name}: {name} must be"):
                check_parameters(page, {name: [value] if rule.many else value})


def test_a_page_that_tests_means_needs_the_repetitions_of_the_test(page):
    """It would say so itself, but only after its loops have run."""
    names = {
        node.id
        for cell in page.notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name)
    }
    if names & {"deviation_test", "max_deviation_test"}:
        least = [get_args(a)[1].low for a, _ in page.parameters.values()]
        assert max(least) >= 20, "no parameter asks for the test's 20 repetitions: AtLeast[20]"
