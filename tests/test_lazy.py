"""Names handed on by folders, and extras that are missing."""

import sys

import pytest

from stlcore.lazy import extra, hand_on, without


def test_a_name_is_imported_when_it_is_asked_for():
    find, names = hand_on("stlcore.metrics", {"distances": ["trapezoid", "mean_score"]})
    assert names == ["mean_score", "trapezoid"]
    from stlcore.metrics.distances import trapezoid

    assert find("trapezoid") is trapezoid
    assert vars(sys.modules["stlcore.metrics"])["trapezoid"] is trapezoid
    with pytest.raises(AttributeError, match=r"module 'stlcore.metrics' has no attribute 'other'"):
        find("other")


def test_a_missing_extra_is_one_sentence():
    with pytest.raises(ModuleNotFoundError) as caught, extra("torch"):
        import no_such_package  # noqa: F401
    assert str(caught.value) == (
        "this part of stlcore needs no_such_package: pip install 'stlcore[torch]'"
    )


def test_an_error_inside_a_package_that_is_there_stays():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"), extra("torch"):
        from json import nothing  # noqa: F401


def test_an_import_does_without_a_module_and_the_next_one_has_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "xml.sax", raising=False)
    before = sys.modules["json"]
    with without("xml.sax", "json"):
        assert sys.modules["json"] is before, "what is there stays"
        with pytest.raises(ImportError):
            import xml.sax
    import xml.sax

    assert xml.sax.__name__ == "xml.sax"
    assert sys.modules["json"] is before
