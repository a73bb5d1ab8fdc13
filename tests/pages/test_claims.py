"""Claims: verdicts, negative controls, and what a reader sees of them."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest

from stlcore.pages.claims import ClaimError, Claims
from stlcore.pages.claims_table import table

SOURCE = "Paper C, Theorem 3.1"


@pytest.fixture
def claims():
    return Claims("C-02")


# --- Verdicts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "relation", "expected", "tolerance", "verdict"),
    [
        (1.0, "==", 1.0, 0, "reproduced"),
        (1.0, "==", 1.1, 0, "not reproduced"),
        (1.0, "==", 1.1, 0.11, "reproduced"),
        (1.2, "==", 1.1, 0.11, "reproduced"),
        (1.25, "==", 1.1, 0.11, "not reproduced"),
        (1.0, "<=", 1.0, 0, "reproduced"),
        (1.1, "<=", 1.0, 0, "not reproduced"),
        (1.1, "<=", 1.0, 0.11, "reproduced"),
        (-math.inf, "<=", 1.0, 0, "reproduced"),
        (1.0, ">=", 1.0, 0, "reproduced"),
        (0.9, ">=", 1.0, 0, "not reproduced"),
        (0.9, ">=", 1.0, 0.11, "reproduced"),
        (5, ">=", 1.0, 0, "reproduced"),
    ],
)
def test_relations(claims, measured, relation, expected, tolerance, verdict):
    claim = claims.check(
        "s", measured, relation, expected, source=SOURCE, tolerance=tolerance, expect=verdict
    )
    assert claim.verdict == verdict
    assert not claim.surprising
    assert claims.rows == [claim]


@pytest.mark.parametrize("relation", ["==", "<=", ">="])
@pytest.mark.parametrize(
    ("measured", "expected"), [(math.nan, 1), (1, math.nan), ([1, math.nan], 1)]
)
def test_nan_refutes_everything(claims, measured, relation, expected):
    claim = claims.check("s", measured, relation, expected, source=SOURCE, tolerance=100)
    assert claim.verdict == "not reproduced"
    with pytest.raises(ClaimError):
        claims.close()


@pytest.mark.parametrize(
    ("relation", "worst"), [("==", (7.0, 4.0)), ("<=", (7.0, 4.0)), (">=", (1.0, 2.5))]
)
def test_the_worst_entry_counts(claims, relation, worst):
    measured, expected = [1.0, 2.0, 7.0, 4.0], [2.5, 2.0, 4.0, 4.5]
    claim = claims.check("s", measured, relation, expected, source=SOURCE)
    assert (claim.measured, claim.expected) == worst
    assert claim.verdict == "not reproduced"
    slack = abs(worst[0] - worst[1])
    held = claims.check("s", measured, relation, expected, source=SOURCE, tolerance=slack)
    assert held.verdict == "reproduced"
    missed = claims.check("s", measured, relation, expected, source=SOURCE, tolerance=0.99 * slack)
    assert missed.verdict == "not reproduced"


def test_arrays_broadcast(claims):
    claim = claims.check("s", np.array([[0.1, 0.9], [0.4, 0.2]]), "<=", 0.5, source=SOURCE)
    assert (claim.measured, claim.expected) == (0.9, 0.5)
    assert type(claim.measured) is float


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((1, "<", 2), {}, "the relation must be '==', '<=' or '>=', not '<'"),
        (([], "==", 2), {}, "a claim needs at least one measured number"),
        ((1, "==", 1), {"false_alarm": 1}, r"a false-alarm rate must lie in \[0, 1\), not 1"),
        ((1, "==", 1), {"false_alarm": -0.1}, r"a false-alarm rate must lie in \[0, 1\), not -0.1"),
        ((1, "==", 1), {"false_alarm": math.nan}, "a false-alarm rate must lie in"),
    ],
)
def test_claims_that_cannot_be(claims, arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        claims.check("s", *arguments, source=SOURCE, **keywords)
    assert claims.rows == []


def test_a_statistical_test_states_its_level(claims):
    claim = claims.test("s", 0.3, level=1e-4, source=SOURCE, mark="derived")
    assert claim.verdict == "reproduced"
    assert claim.false_alarm == claim.expected == 1e-4
    assert claim.mark == "derived"
    refuted = claims.test("s", 5e-5, level=1e-4, source=SOURCE)
    assert refuted.verdict == "not reproduced"
    assert claims.test("s", 1e-4, level=1e-4, source=SOURCE).verdict == "reproduced"


# --- Negative controls and the end of a page -------------------------------------------------


def test_a_page_that_holds(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    control = claims.control("bad", 2, "==", 1)
    assert control.control
    assert control.verdict == "not reproduced"
    claims.close()


def test_a_control_that_holds_is_a_failure(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    control = claims.control("bad", 1.05, "==", 1, tolerance=0.1)
    assert control.surprising
    with pytest.raises(ClaimError, match=r"C-02.2 came out 'reproduced': bad \[measured 1.05, "):
        claims.close()


def test_a_control_that_measured_nothing_is_a_failure(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    claims.control("bad", math.nan, "==", 1)
    with pytest.raises(ClaimError, match=r"C-02.2 came out 'not reproduced': bad \[measured nan"):
        claims.close()


def test_a_refutation_that_measured_nothing_is_a_failure(claims):
    claims.check("fails", math.nan, "==", 1, source=SOURCE, expect="not reproduced")
    claims.control("bad", 2, "==", 1)
    with pytest.raises(ClaimError, match=r"C-02.1 came out 'not reproduced'"):
        claims.close()


def test_a_control_follows_a_claim(claims):
    with pytest.raises(ValueError, match="a negative control must follow the claim"):
        claims.control("bad", 2, "==", 1)


def test_a_control_takes_source_and_mark_of_its_claim(claims):
    claims.check("good", 1, "==", 1, source="Paper B", mark="reconstructed", false_alarm=0.01)
    control = claims.control("bad", 2, "==", 1)
    assert (control.source, control.mark, control.false_alarm) == ("Paper B", "reconstructed", 0)


def test_a_page_without_a_control(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    with pytest.raises(ClaimError, match=r"^C-02 has no negative control$"):
        claims.close()


def test_a_refuted_claim_fails_the_page(claims):
    claims.check("one is two", 1, "==", 2, source=SOURCE)
    claims.check("one is at least three", 1, ">=", 3, source=SOURCE)
    claims.control("bad", 2, "==", 1)
    with pytest.raises(ClaimError) as caught:
        claims.close()
    assert str(caught.value) == (
        "C-02.1 came out 'not reproduced': one is two [measured 1, expected == 2]; "
        "C-02.2 came out 'not reproduced': one is at least three [measured 1, expected >= 3]"
    )


def test_an_expected_refutation(claims):
    claims.check("the paper says 2", 1, "==", 2, source=SOURCE, expect="not reproduced")
    claims.control("bad", 2, "==", 1)
    claims.close()
    claims.check("the paper says 1", 1, "==", 1, source=SOURCE, expect="not reproduced")
    with pytest.raises(ClaimError, match=r"C-02.3 came out 'reproduced': the paper says 1"):
        claims.close()


def test_not_testable(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    claims.control("bad", 2, "==", 1)
    claims.not_testable("A large model collapses", "needs a GPU", source="Paper C, Fig. 4")
    claims.close()
    row = claims.to_records()[-1]
    assert row["verdict"] == "not testable here"
    assert row["sentence"] == "A large model collapses (needs a GPU)"
    assert row["measured"] is row["expected"] is None
    assert "not testable here" in claims._repr_html_()


# --- Records and tables ----------------------------------------------------------------------

KEYS = [
    "id",
    "page",
    "source",
    "mark",
    "sentence",
    "measured",
    "relation",
    "expected",
    "tolerance",
    "false_alarm",
    "verdict",
    "control",
    "surprising",
    "decisive",
]


def test_records_are_json(claims):
    claims.check("array", np.arange(3.0), "<=", np.float64(2), source=SOURCE, tolerance=1e-12)
    claims.control("not", np.float32(3), "<=", 2)
    claims.check("infinite", math.inf, ">=", 1, source=SOURCE)
    claims.not_testable("open", "why", source=SOURCE)
    records = json.loads(json.dumps(claims.to_records(), allow_nan=False))
    assert [row["id"] for row in records] == ["C-02.1", "C-02.2", "C-02.3", "C-02.4"]
    for row in records:
        assert list(row) == KEYS
        assert row["page"] == "C-02"
    assert records[0] == {
        "id": "C-02.1",
        "page": "C-02",
        "source": SOURCE,
        "mark": "paper",
        "sentence": "array",
        "measured": 2.0,
        "relation": "<=",
        "expected": 2.0,
        "tolerance": 1e-12,
        "false_alarm": 0.0,
        "verdict": "reproduced",
        "control": False,
        "surprising": False,
        "decisive": True,
    }
    assert records[1]["control"] is True
    assert records[2]["measured"] is None


def test_text_form(claims):
    claims.check("good", 1, "==", 1, source=SOURCE)
    claims.control("bad", 2, "==", 1)
    assert repr(claims) == "C-02.1  reproduced: good\nC-02.2  not reproduced: bad"


class Cells(HTMLParser):
    """Text of every row's cells, and the names of all tags."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.links = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def parse(markup: str) -> Cells:
    parser = Cells()
    parser.feed(markup)
    parser.close()
    return parser


def test_table(claims):
    claims.check("sum", 0.25, "==", 0.2500001, source=SOURCE, tolerance=1e-6)
    claims.control("wrong sum", 0.3, "==", 0.25)
    claims.test("p-value", 0.5, level=1e-4, source=SOURCE, mark="derived")
    claims.check("fails", 3, "<=", 2, source=SOURCE, expect="not reproduced")
    claims.control("slips through", 2, "<=", 2)
    head, *rows = parse(table(claims.to_records())).rows
    assert head == ["Claim", "Statement", "Measured", "Expected", "Verdict"]
    paper = f"{SOURCE} · paper"
    assert rows == [
        ["C-02.1", f"sum{paper}", "0.25", "= 0.25 ± 1e-06sure", "reproduced"],
        [
            "C-02.2",
            f"Negative control. wrong sum{paper}",
            "0.3",
            "= 0.25",
            "rejected, as it must be",
        ],
        [
            "C-02.3",
            f"p-value{SOURCE} · derived",
            "0.5",
            ">= 0.0001false alarm 0.0001",
            "reproduced",
        ],
        ["C-02.4", f"fails{paper}", "3", "<= 2sure", "not reproduced"],
        ["C-02.5", f"Negative control. slips through{paper}", "2", "<= 2", "NOT rejected"],
    ]


def test_table_escapes_what_it_shows():
    nasty = '<script>alert("x")</script> a < b & "c"'
    claims = Claims("C<2>")
    claims.check(nasty, 1, "<=", 2, source=nasty, mark=nasty)
    claims.not_testable(nasty, nasty, source=nasty)
    markup = table(claims.to_records(), {"C<2>": 'x.html?a=1&b="2"'})
    parsed = parse(markup)
    assert "<script" not in markup
    assert "&lt;= 2" in markup
    assert parsed.tags == {
        *("div", "table", "thead", "tbody", "tr", "th", "td", "br", "span", "a"),
    }
    assert parsed.rows[1][0] == "C<2>.1"
    assert parsed.rows[1][1] == f"{nasty}{nasty} · {nasty}"
    assert parsed.rows[1][3] == "<= 2sure"
    assert parsed.links == ['x.html?a=1&b="2"'] * 2


def test_table_links_only_pages_it_knows(claims):
    claims.check("s", 1, "==", 1, source=SOURCE)
    assert parse(table(claims.to_records(), {"C-03": "c03.html"})).links == []
    assert parse(table(claims.to_records(), {"C-02": "c02.html"})).links == ["c02.html"]


def test_effect_has_three_outcomes():
    claims = Claims("C-99")
    common = {"level": 1e-4, "source": "a test"}
    critical = 3.719016485455709  # the upper 1e-4 quantile of the normal law
    assert claims.effect("clear", [5.0, 4.0], **common).verdict == "reproduced"
    assert claims.rows[-1].measured == 4.0
    assert claims.rows[-1].expected == pytest.approx(critical, rel=1e-12)
    assert claims.rows[-1].false_alarm == pytest.approx(2e-4)
    open_ = claims.effect("too small to tell", [5.0, critical - 0.01], **common)
    assert open_.verdict == "not testable here"
    assert not open_.surprising
    assert open_.decisive
    assert not claims.effect("a small sample", [1.0], decisive=False, **common).decisive
    assert (
        claims.effect("the other way", -4.0, expect="not reproduced", **common).surprising is False
    )
    assert claims.effect("unexpectedly the other way", [5.0, -4.0], **common).surprising
    assert claims.effect("no number", np.nan, **common).surprising
