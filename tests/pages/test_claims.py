"""Claims: verdicts, negative controls, and what a reader sees of them."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import stlcore.pages.repository
from stlcore.metrics.distances import Deviation
from stlcore.pages.claims import ClaimError, Claims
from stlcore.pages.claims_table import claims_page, table, typeset

SOURCE = "Paper C, Theorem 3.1"
X = np.arange(3.0)
OURS = {"mark": "derived", "source": SOURCE}


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
        "s", measured, relation, expected, **OURS, tolerance=tolerance, expect=verdict
    )
    assert claim.verdict == verdict
    assert not claim.surprising
    assert claims.rows == [claim]


@pytest.mark.parametrize("relation", ["==", "<=", ">="])
@pytest.mark.parametrize(
    ("measured", "expected"), [(math.nan, 1), (1, math.nan), ([1, math.nan], 1)]
)
def test_nan_refutes_everything(claims, measured, relation, expected):
    claim = claims.check("s", measured, relation, expected, **OURS, tolerance=100)
    assert claim.verdict == "not reproduced"
    with pytest.raises(ClaimError):
        claims.close()


@pytest.mark.parametrize(
    ("relation", "worst"), [("==", (7.0, 4.0)), ("<=", (7.0, 4.0)), (">=", (1.0, 2.5))]
)
def test_the_worst_entry_counts(claims, relation, worst):
    measured, expected = [1.0, 2.0, 7.0, 4.0], [2.5, 2.0, 4.0, 4.5]
    claim = claims.check("s", measured, relation, expected, **OURS)
    assert (claim.measured, claim.expected) == worst
    assert claim.verdict == "not reproduced"
    slack = abs(worst[0] - worst[1])
    held = claims.check("s", measured, relation, expected, **OURS, tolerance=slack)
    assert held.verdict == "reproduced"
    missed = claims.check("s", measured, relation, expected, **OURS, tolerance=0.99 * slack)
    assert missed.verdict == "not reproduced"


def test_arrays_broadcast(claims):
    claim = claims.check("s", np.array([[0.1, 0.9], [0.4, 0.2]]), "<=", 0.5, **OURS)
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
        claims.check("s", *arguments, **OURS, **keywords)
    assert claims.rows == []


def test_a_statistical_test_states_its_level(claims):
    claim = claims.test("s", lambda p: p, 0.3, level=1e-4, **OURS)
    assert claim.verdict == "reproduced"
    assert claim.false_alarm == claim.expected == 1e-4
    assert claim.mark == "derived"
    refuted = claims.test("t", lambda p: p, 5e-5, level=1e-4, **OURS)
    assert refuted.verdict == "not reproduced"
    assert claims.test("u", lambda p: p, 1e-4, level=1e-4, **OURS).verdict == "reproduced"


def test_a_test_that_keeps_its_level_roughly_says_so(claims):
    result = Deviation(statistic=1.0, p_value=0.5, inflation=2.0)
    claim = claims.test("s", lambda _: result, 0.0, level=1e-4, **OURS)
    assert (claim.measured, claim.false_alarm) == (0.5, 2e-4)


@pytest.mark.parametrize("sides", [(X, X), (X, X[::1]), ([1, 2],) * 2])
def test_two_sides_that_are_one_array_are_an_error(claims, sides):
    with pytest.raises(ValueError, match="the two sides of a claim are the same array"):
        claims.check("s", sides[0], "==", sides[1], **OURS)
    assert claims.rows == []


def test_parts_of_one_array_may_be_compared(claims):
    claims.check("all are the first", np.ones(3)[1:], "==", np.ones(3)[0], **OURS)
    both = np.ones((3, 2))
    claims.check("all rows are the first", both[1:], "==", both[0], **OURS)


# --- Marks and sources -----------------------------------------------------------------------


@pytest.fixture
def table_of_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(stlcore.pages.repository, "ROOT", tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "sources.yml").write_text(
        "c-words: {paper: C, place: Section 2, says: it says so, formula: none}\n"
        "c-lost: {paper: C, place: Theorem 9, says: a recurrence, formula: lost}\n"
    )


def test_a_mark_rests_on_an_entry(claims, table_of_sources):
    said = claims.check("s", 1, "==", 1, mark="paper", key="c-words")
    assert (said.key, said.source) == ("c-words", "Paper C, Section 2")
    ours = claims.check("t", 1, "==", 1, mark="reconstructed", key="c-lost")
    assert ours.source == "Paper C, Theorem 9"
    about = claims.check("u", 1, "==", 1, mark="derived", key="c-lost")
    assert about.source == "Paper C, Theorem 9"
    assert 'title="it says so"' in claims._repr_html_()


@pytest.mark.parametrize(
    ("mark", "key", "message"),
    [
        ("paper", None, "the mark 'paper' needs the key of an entry in book/sources.yml"),
        ("reconstructed", None, "the mark 'reconstructed' needs the key"),
        ("paper", "c-word", "has no entry 'c-word'; did you mean 'c-words'?"),
        ("paper", "c-lost", "the formula of 'c-lost' is lost, so its mark is 'reconstructed'"),
        ("reconstructed", "c-words", "nothing of 'c-words' is lost"),
        ("proved", None, "the mark must be one of paper, reconstructed, derived, choice, obs"),
    ],
)
def test_marks_without_evidence_are_refused(claims, table_of_sources, mark, key, message):
    with pytest.raises(ValueError, match=message):
        claims.check("s", 1, "==", 1, mark=mark, key=key)
    assert claims.rows == []


def test_there_is_no_default_mark(claims):
    with pytest.raises(TypeError, match="mark"):
        claims.check("s", 1, "==", 1)


# --- Negative controls and the end of a page -------------------------------------------------


def test_a_page_that_holds(claims):
    claim = claims.check("good", 1, "==", 1, **OURS)
    control = claims.control(claim, "bad", measured=2)
    assert control.control_of == claim.id == "C-02.1"
    assert control.verdict == "not reproduced"
    claims.close()


def test_a_control_repeats_the_check_of_its_claim(claims):
    claim = claims.check("good", 1, "==", 1.02, tolerance=0.1, false_alarm=0.01, **OURS)
    control = claims.control(claim, "bad", expected=1.2)
    assert (control.relation, control.tolerance, control.measured) == ("==", 0.1, 1.0)
    assert (control.source, control.mark, control.false_alarm) == (SOURCE, "derived", 0)


def test_a_control_that_holds_is_a_failure(claims):
    claim = claims.check("good", 1, "==", 1, tolerance=0.1, **OURS)
    control = claims.control(claim, "bad", measured=1.05)
    assert control.surprising
    with pytest.raises(ClaimError, match=r"C-02.2 came out 'reproduced': bad \[measured 1.05, "):
        claims.close()


def test_the_least_wrong_entry_of_a_control_counts(claims):
    claim = claims.check("good", [1, 2, 3], "==", [1.0, 2.0, 3.0], tolerance=0.1, **OURS)
    control = claims.control(claim, "bad", expected=[9, 2.05, 9])
    assert (control.measured, control.expected) == (2.0, 2.05)
    assert control.surprising


def test_entries_that_a_mutation_leaves_alone_do_not_count(claims):
    claim = claims.check("good", [1, 2, 3], "==", [1.0, 2.0, 3.0], **OURS)
    control = claims.control(claim, "wrong from round 2 on", expected=[1, 2.5, 9])
    assert (control.measured, control.expected) == (2.0, 2.5)
    assert not control.surprising


def test_rounding_is_no_mutation(claims):
    claim = claims.check("good", [0.3, 2.0], "==", [0.3, 2.0], **OURS)
    control = claims.control(claim, "wrong from round 2 on", expected=[0.1 + 0.2, 3.0])
    assert (control.measured, control.expected) == (2.0, 3.0)


def test_a_control_that_coincides_with_the_truth_is_left_out(claims):
    claim = claims.check("good", [0.0, 1.0], "==", np.array([0.0, 1.0]) ** 2, **OURS)
    control = claims.control(claim, "not squared", expected=[0, 1])
    assert control.verdict == "not testable here"
    assert "left out" in control.sentence
    assert not control.surprising
    claims.close()


def test_a_control_of_a_test_meets_the_same_test(claims):
    seen = []

    def p_value(statement):
        seen.append(statement)
        return 0.5 if statement == "right" else 1e-9

    claim = claims.test("good", p_value, "right", level=1e-4, **OURS)
    control = claims.control(claim, "bad", statement="wrong")
    assert seen == ["right", "wrong"]
    assert (control.measured, control.expected) == (1e-9, 1e-4)
    assert not control.surprising
    assert claims.control(claim, "slips", statement="right").verdict == "not testable here"


def test_a_control_needs_something_wrong(claims):
    claim = claims.check("good", 1, "==", 1, **OURS)
    test = claims.test("p", lambda p: p, 0.5, level=1e-4, **OURS)
    with pytest.raises(ValueError, match="a control needs the side that is wrong"):
        claims.control(claim, "bad")
    with pytest.raises(ValueError, match="a test's control has a statement"):
        claims.control(claim, "bad", statement=3)
    with pytest.raises(ValueError, match="a test's control has a statement"):
        claims.control(test, "bad", expected=3)


def test_a_control_that_measured_nothing_is_a_failure(claims):
    claim = claims.check("good", [1, 2], "==", [1.0, 2.0], **OURS)
    claims.control(claim, "bad", measured=[5, math.nan])
    with pytest.raises(ClaimError, match=r"C-02.2 came out 'not reproduced': bad \[measured nan"):
        claims.close()


def test_a_refutation_that_measured_nothing_is_a_failure(claims):
    claim = claims.check("fails", math.nan, "==", 1, expect="not reproduced", **OURS)
    claims.control(claim, "bad", measured=2)
    with pytest.raises(ClaimError, match=r"C-02.1 came out 'not reproduced'"):
        claims.close()


def test_a_page_without_a_control(claims):
    claims.check("good", 1, "==", 1, **OURS)
    with pytest.raises(ClaimError, match=r"^C-02 has no negative control$"):
        claims.close()


def test_a_refuted_claim_fails_the_page(claims):
    claim = claims.check("one is two", 1, "==", 2, **OURS)
    claims.check("one is at least three", 1, ">=", 3, **OURS)
    claims.control(claim, "bad", expected=3)
    with pytest.raises(ClaimError) as caught:
        claims.close()
    assert str(caught.value) == (
        "C-02.1 came out 'not reproduced': one is two [measured 1, expected == 2]; "
        "C-02.2 came out 'not reproduced': one is at least three [measured 1, expected >= 3]"
    )


def test_an_expected_refutation(claims):
    claim = claims.check("the paper says 2", 1, "==", 2, expect="not reproduced", **OURS)
    claims.control(claim, "bad", measured=3)
    claims.close()
    claims.check("the paper says 1", 1, "==", 1, expect="not reproduced", **OURS)
    with pytest.raises(ClaimError, match=r"C-02.3 came out 'reproduced': the paper says 1"):
        claims.close()


# --- Power -----------------------------------------------------------------------------------


def test_power_of_a_comparison_is_measured(claims):
    exact = claims.check("good", [1, 2], "==", [1.0, 2.0], tolerance=1e-9, **OURS)
    assert exact.power == "a change by 1e-09"
    loose = claims.check("loose", 1, "==", 1.0, tolerance=5, **OURS)
    assert loose.power == "none up to a change by 1"
    assert claims.check("zero", 0, "==", 0.0, **OURS).power is None
    assert claims.check("bound", 1, "<=", 2, **OURS).power is None


def test_power_of_a_test_is_the_first_mutation_that_it_rejects(claims):
    claim = claims.test("good", lambda x: 1 / x**8, 1.0, level=1e-4, **OURS)
    claim = claims.power(claim, {f"a factor of {f}": f for f in (1.1, 2, 4, 8)})
    assert claim.power == "a factor of 4"
    assert claims.rows == [claim]
    assert "rejects a factor of 4" in claims._repr_html_()


# --- Running a cell again --------------------------------------------------------------------


def test_a_cell_run_again_replaces_its_rows(claims):
    for value in (1.0, 1.5):
        claim = claims.check("first", value, "<=", 2, **OURS)
        claims.check("second", value, ">=", 0, **OURS)
        claims.control(claim, "wrong", measured=3)
        claims.not_testable("third", "why", **OURS)
    assert [row.id for row in claims.rows] == [f"C-02.{k}" for k in (1, 2, 3, 4)]
    assert [row.measured for row in claims.rows] == [1.5, 1.5, 3.0, None]


def test_not_testable(claims):
    claims.check("good", 1, "==", 1, **OURS)
    claims.control(claims.rows[-1], "bad", measured=2)
    claims.not_testable("A large model collapses", "needs a GPU", **OURS)
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
    "mark",
    "key",
    "source",
    "sentence",
    "measured",
    "relation",
    "expected",
    "tolerance",
    "false_alarm",
    "verdict",
    "control_of",
    "power",
    "surprising",
    "decisive",
    "kind",
]


def test_records_are_json(claims):
    claim = claims.check("array", np.arange(3.0), "<=", np.float64(2), **OURS, tolerance=1e-12)
    claims.control(claim, "not", measured=np.float32(3))
    claims.check("infinite", math.inf, ">=", 1, **OURS)
    claims.not_testable("open", "why", **OURS)
    records = json.loads(json.dumps(claims.to_records(), allow_nan=False))
    assert [row["id"] for row in records] == ["C-02.1", "C-02.2", "C-02.3", "C-02.4"]
    for row in records:
        assert list(row) == KEYS
        assert row["page"] == "C-02"
    assert records[0] == {
        "id": "C-02.1",
        "page": "C-02",
        "mark": "derived",
        "key": None,
        "source": SOURCE,
        "sentence": "array",
        "measured": 2.0,
        "relation": "<=",
        "expected": 2.0,
        "tolerance": 1e-12,
        "false_alarm": 0.0,
        "verdict": "reproduced",
        "control_of": None,
        "power": None,
        "surprising": False,
        "decisive": True,
        "kind": "check",
    }
    assert records[1]["control_of"] == "C-02.1"
    assert records[2]["measured"] is None


def test_text_form(claims):
    claims.control(claims.check("good", 1, "==", 1, **OURS), "bad", measured=2)
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
    claim = claims.check("sum", 0.25, "==", 0.2500001, tolerance=1e-6, **OURS)
    claims.control(claim, "wrong sum", measured=0.3)
    claims.test("p-value", lambda p: p, 0.5, level=1e-4, mark="observed", source="Figure 2")
    claim = claims.check("fails", 3, "<=", 2, expect="not reproduced", **OURS)
    claims.control(claim, "slips through", measured=2)
    head, *rows = parse(table(claims.to_records())).rows
    assert head == ["Claim", "Statement", "Measured", "Expected", "Verdict"]
    ours = f"{SOURCE} · derived"
    assert rows == [
        [
            "C-02.1",
            f"sum{ours}1 negative control, rejected"
            "C-02.2 wrong sum 0.3, where the check asks for = 0.25 ± 1e-06: rejected",
            "0.25",
            "= 0.25 ± 1e-06sure; rejects a change by 1e-05",
            "reproduced",
        ],
        [
            "C-02.3",
            "p-valueFigure 2 · observed",
            "p-value 0.5",
            "at least 0.0001false alarm 0.0001",
            "reproduced",
        ],
        [
            "C-02.4",
            f"fails{ours}1 negative control, NOT rejected"
            "C-02.5 slips through 2, where the check asks for ≤ 2: NOT rejected",
            "3",
            "≤ 2sure",
            "not reproduced",
        ],
    ]
    assert 'id="C-02.5"' in table(claims.to_records())


def test_numbers_have_as_few_digits_as_tell_them_apart(claims):
    exact = claims.check("exact", 1 / 3 + 1e-13, "==", 1 / 3, tolerance=1e-12, **OURS)
    claims.control(exact, "almost", expected=0.3334)
    claims.check("rounding", 3.1e-16, "<=", 0, tolerance=1e-12, **OURS)
    claims.check("large", 70_001, ">=", 7e4, **OURS)
    claims.effect("effect", 6.0, level=1e-4, **OURS)
    _, *rows = parse(table(claims.to_records())).rows
    assert [row[2] for row in rows] == [
        "0.333",
        "0 up to rounding",
        "70,001",
        "6 standard errors",
    ]
    assert rows[0][3].startswith("= 0.333, exact")
    assert "0.3333, where the check asks for = 0.3334, exact: rejected" in rows[0][1]


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("n_t R_t tends to V/(2a)", "n<sub>t</sub> R<sub>t</sub> tends to V/(2a)"),
        ("N_t^2 / n_{t-1}", "N<sub>t</sub><sup>2</sup> / n<sub>t-1</sub>"),
        ("shares t^-1/4 and n^(-1/8)", "shares t<sup>−1/4</sup> and n<sup>−1/8</sup>"),
        ("pi^2/6 - sqrt(1/2)", "π<sup>2</sup>/6 − √(1/2)"),
        ("theta*_k with beta, in between", "θ*<sub>k</sub> with β, in between"),
        ("a < b <= c", "a &lt; b ≤ c"),
        ("stlcore.learners.from_names", "stlcore.learners.from_names"),
    ],
)
def test_formulas_of_a_sentence(sentence, shown):
    assert typeset(sentence) == shown


def test_pages_stand_in_the_order_of_the_contents_and_what_failed_comes_first():
    rows = []
    for page in ("A-01", "C-02"):
        claims = Claims(page)
        claims.check("holds", 1, "==", 1, **OURS)
        claims.check("fails", 2, "==", 1, expect="not reproduced", **OURS)
        rows += claims.to_records()
    text = claims_page(rows, {"A-01": "a.html", "C-02": "c.html"})
    places = [text.index(f'<tr id="{name}"') for name in ("C-02.2", "A-01.2", "C-02.1", "A-01.1")]
    assert places == sorted(places)
    assert text.index("{doc}`c`") < text.index("{doc}`a`")


def test_claims_page_says_what_other_seeds_did():
    claims = Claims("C-02")
    claims.check("holds", 1, "==", 1, **OURS)
    rows, links = claims.to_records(), {"C-02": "c.html"}
    assert "Under other seeds" not in claims_page(rows, links)
    seeds = pd.DataFrame(
        [("C-02.1", "", 1e-4, 200, 0), ("C-02.2", "C-02.1", 0.0, 200, 3)],
        columns=["id", "control_of", "false_alarm", "runs", "surprises"],
    )
    text = claims_page(rows, links, {"C-02": seeds})
    # With no alarm in 200 runs the rate is below 1 - 0.05^(1/200).
    assert "| {doc}`c` | 200 | 1 | 0.0001 | none | 0.015 | 1 | C-02.2 (3) |" in text


def test_a_claim_at_the_end_of_a_cell_shows_nothing(claims, capsys):
    assert claims.check("holds", 1, "==", 1, **OURS)._ipython_display_() is None
    assert capsys.readouterr().out == ""


def test_table_escapes_what_it_shows():
    nasty = '<script>alert("x")</script> a < b & "c"'
    claims = Claims("C<2>")
    claims.check(nasty, 1, "<=", 2, source=nasty, mark="choice")
    claims.not_testable(nasty, nasty, source=nasty, mark="choice")
    markup = table(claims.to_records(), {"C<2>": 'x.html?a=1&b="2"'})
    parsed = parse(markup)
    assert "<script" not in markup
    assert parsed.tags == {
        *("div", "table", "thead", "tbody", "tr", "th", "td", "br", "span", "a"),
    }
    assert parsed.rows[1][0] == "C<2>.1"
    assert parsed.rows[1][1] == f"{nasty}{nasty} · choice"
    assert parsed.rows[1][3] == "≤ 2sure"
    assert parsed.links == [f'x.html?a=1&b="2"#C<2>.{k}' for k in (1, 2)]


def test_table_links_only_pages_it_knows(claims):
    claims.check("s", 1, "==", 1, **OURS)
    assert parse(table(claims.to_records(), {"C-03": "c03.html"})).links == []
    assert parse(table(claims.to_records(), {"C-02": "c02.html"})).links == ["c02.html#C-02.1"]


def test_effect_has_three_outcomes():
    claims = Claims("C-99")
    common = {"level": 1e-4, "mark": "observed", "source": "a test"}
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
