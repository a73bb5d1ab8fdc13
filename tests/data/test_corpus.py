"""Real data: the rules for prose, what is extracted, the cache and its damage, the errors."""

import dataclasses
import hashlib
import json
import os

import pytest

from stlcore.data import (
    Corpus,
    MissingDataError,
    divide,
    docstrings,
    packages,
    passages,
    prose,
    sentences,
)
from stlcore.streams import stream

PLANET = '''"""All about planets."""

if True:

    class Planet:
        """A planet moves round a star.

        It has a ``mass``.
        """

        async def orbit(self):
            """Follow the orbit."""

            def step():
                """Do one step."""


try:
    import moon
except ImportError:

    def tide():
        """There is no moon."""


def name():
    "All about planets."
    return """This text is no docstring."""
'''


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder that does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STLCORE_CACHE", str(folder))
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of our own that `docstrings` may read: the folder with its files."""
    root = tmp_path / "site" / "fakeplanets"
    for name, text in {
        "__init__.py": '"""The package of planets."""',
        "b.py": '"""Second file."""',
        "a/z.py": PLANET,
        "a/tests/test_z.py": '"""A test."""',
        "externals/other.py": '"""Code from elsewhere."""',
        "_distributor_init.py": '"""For some systems."""',
        "c.txt": '"""No code."""',
        "empty.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(root.parent)
    monkeypatch.setitem(packages.PACKAGES, "fake-planets", ("fakeplanets", "CC0-1.0"))
    monkeypatch.setattr(packages, "version", lambda name: "1.0")
    return root


def never(*_):
    raise AssertionError("the sources were read although the cache holds the text")


# --- prose -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Compute the mean.", ["Compute the mean."]),
        ("Is it a mean?\n\nYes!", ["Is it a mean?", "Yes!"]),
        ("Two lines\nof one   paragraph.", ["Two lines of one paragraph."]),
        ("No full stop", []),
        ("", []),
        ("Notes\n-----\nThe first.\n\nThe second.", ["The first.", "The second."]),
        ("Parameters\n----------\nx : int\n    A number.", []),
        ("See Also\n--------\nmean : The mean.\nstd : The spread.", []),
        ("k_min: The first index. k_max: The last one.", []),
        ("Notes: it is slow.", []),
        ("Before.\n\n>>> f(1)\n2.\n\nAfter.", ["Before.", "After."]),
        ("As in\n    code(here).", []),
        ("Before.\n\n    indented.", ["Before."]),
        (".. note:: Something.", []),
        ("- an item.\n- another.", []),
        ("1. an item.", []),
        ("See :func:`~numpy.mean` and :py:class:`Big`.", ["See numpy.mean and Big."]),
        ("The *mean* is ``x * y`` [1]_.", ["The mean is x * y ."]),
        ("Scale by a*b.", ["Scale by a*b."]),
        ("A title\n=======\n\nText under it.", ["Text under it."]),
        ("One.\n   \nTwo.", ["One.", "Two."]),
    ],
)
def test_prose(docstring, expected):
    assert prose(docstring) == expected


def test_sentences_are_words_in_lower_case():
    documents = (
        'The "mean" of x_1 is 2.5. It isn\'t big, e.g. not ill-posed!',
        "First - part\nsecond (part)",
        "...",
    )
    corpus = Corpus("test", documents, "here", "none", "")
    assert sentences(corpus) == [
        ["the", "mean", "of", "", "is", ""],
        ["it", "isn't", "big", "", "not", "ill-posed"],
        ["first", "", "part"],
        ["second", "part"],
    ]


# --- what is extracted --------------------------------------------------------------------


def test_docstrings_in_the_order_of_files_and_definitions(package):
    corpus = docstrings(["fake-planets"])
    assert corpus.documents == (
        "The package of planets.",
        "All about planets.",
        "A planet moves round a star.\nIt has a mass.",
        "Follow the orbit.",
        "Do one step.",
        "There is no moon.",
        "Second file.",
    )
    assert corpus.name == "docstrings"
    assert corpus.source == "docstrings of fake-planets 1.0"
    assert corpus.licence == "fake-planets: CC0-1.0"


def test_the_checksum_is_that_of_the_documents(package):
    corpus = docstrings(["fake-planets"])
    body = json.dumps(list(corpus.documents)).encode()
    assert corpus.sha256 == hashlib.sha256(body).hexdigest()
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.name = "other"


def test_a_paragraph_counts_once(package):
    (package / "d.py").write_text('"""Second file.\n\nNew.\n\nNew."""')
    assert docstrings(["fake-planets"]).documents[-1] == "New."


def test_text_outside_ascii_survives(package):
    (package / "d.py").write_bytes('# coding: latin-1\n"""Où est là?"""'.encode("latin-1"))
    first, second = docstrings(["fake-planets"]), docstrings(["fake-planets"])
    assert first == second
    assert first.documents[-1] == "Où est là?"


def test_invalid_escapes_in_a_source_give_no_warning(package, recwarn):
    (package / "d.py").write_text('"""A \\d digit."""')
    docstrings(["fake-planets"])
    assert not recwarn.list


def test_an_installed_package(cache):
    corpus = docstrings(["numpy"])
    words = [word for sentence in sentences(corpus) for word in sentence]
    assert len(words) > 20_000
    assert {"array", "the", "returns"} <= set(words)
    assert not any(">>>" in document or "\n\n" in document for document in corpus.documents)
    paragraphs = [p for document in corpus.documents for p in document.split("\n")]
    assert len(paragraphs) == len(set(paragraphs))
    assert corpus.licence == "numpy: BSD-3-Clause"


def test_the_order_of_the_packages_makes_no_difference(package, monkeypatch, tmp_path):
    other = tmp_path / "site" / "fakestars"
    other.mkdir()
    (other / "__init__.py").write_text('"""All about stars."""')
    monkeypatch.setitem(packages.PACKAGES, "fake-stars", ("fakestars", "CC0-1.0"))
    forward = docstrings(["fake-planets", "fake-stars"])
    assert forward == docstrings(["fake-stars", "fake-planets", "fake-stars"])
    assert forward.documents[-1] == "All about stars."


# --- the cache ----------------------------------------------------------------------------


def test_the_second_call_reads_the_cache(package, cache, monkeypatch):
    first = docstrings(["fake-planets"])
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(packages, "_docstrings_of", never)
    assert docstrings(["fake-planets"]) == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"planet", b"comet!"),
        lambda content: b"0" + content[1:],
        lambda content: bytes(range(256)),
        lambda content: content.replace(b"\n", b" "),
        lambda content: content + b"\n",
    ],
)
def test_a_damaged_cache_file_is_built_again(package, cache, damage):
    first = docstrings(["fake-planets"])
    (file,) = cache.iterdir()
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    assert file.read_bytes() != sound
    assert docstrings(["fake-planets"]) == first
    assert file.read_bytes() == sound
    assert list(cache.iterdir()) == [file]


def test_another_version_has_a_cache_file_of_its_own(package, cache, monkeypatch):
    docstrings(["fake-planets"])
    (package / "b.py").write_text('"""Second file, revised."""')
    assert docstrings(["fake-planets"]).documents[-1] == "Second file."
    monkeypatch.setattr(packages, "version", lambda name: "1.1")
    assert docstrings(["fake-planets"]).documents[-1] == "Second file, revised."
    assert len(list(cache.iterdir())) == 2


def test_new_rules_have_a_cache_file_of_their_own(package, cache, monkeypatch):
    docstrings(["fake-planets"])
    monkeypatch.setattr(packages, "RULES", packages.RULES + 1)
    docstrings(["fake-planets"])
    assert len(list(cache.iterdir())) == 2


def test_without_a_place_for_the_cache_the_text_is_there_all_the_same(package, cache):
    cache.write_text("a file where the folder should be")
    assert docstrings(["fake-planets"]).documents[-1] == "Second file."
    assert cache.read_text() == "a file where the folder should be"


def test_a_folder_in_place_of_the_cache_file(package, cache):
    docstrings(["fake-planets"])
    (file,) = cache.iterdir()
    file.unlink()
    file.mkdir()
    assert docstrings(["fake-planets"]).documents[-1] == "Second file."
    assert list(cache.iterdir()) == [file]


def test_a_write_that_fails_leaves_nothing_behind(package, cache, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    assert docstrings(["fake-planets"]).documents[-1] == "Second file."
    assert list(cache.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(package, cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        docstrings(["fake-planets"])
    assert list(cache.iterdir()) == []


def test_the_cache_lies_in_the_home_folder_by_default(package, tmp_path, monkeypatch):
    monkeypatch.setenv("STLCORE_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    docstrings(["fake-planets"])
    assert len(list((tmp_path / ".cache" / "stlcore").iterdir())) == 1


# --- errors -------------------------------------------------------------------------------


def test_an_unknown_package_is_named():
    with pytest.raises(ValueError, match=r"must be some of matplotlib, .*, not numpi"):
        docstrings(["numpy", "numpi"])


def test_no_package_at_all():
    with pytest.raises(ValueError, match="not an empty list"):
        docstrings([])


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(packages.PACKAGES, "no-such-package", ("nosuch", "CC0-1.0"))
    with pytest.raises(MissingDataError, match="no-such-package, which is not installed"):
        docstrings(["no-such-package"])


def test_a_package_without_a_module(package, monkeypatch):
    monkeypatch.setitem(packages.PACKAGES, "fake-planets", ("nosuch", "CC0-1.0"))
    with pytest.raises(MissingDataError, match="without its source files"):
        docstrings(["fake-planets"])


def test_a_package_without_sources(package, cache):
    for file in package.rglob("*.py"):
        file.rename(file.with_suffix(".pyc"))
    (package / "__init__.py").unlink(missing_ok=True)
    with pytest.raises(MissingDataError, match="without its source files"):
        docstrings(["fake-planets"])
    assert not cache.exists()


# --- passages and parts -----------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 149, 150, 151, 255, 256, 299, 300, 383, 384, 1000])
def test_passages_have_the_words_of_the_document_in_order(count):
    words = [f"w{k}" for k in range(count)]
    document = " ".join(words[: count // 2]) + "\n" + " ".join(words[count // 2 :])
    found = passages(document, 128, 150)
    assert " ".join(found).split() == words[: sum(len(p.split()) for p in found)]
    if count <= 150:
        assert found == [document]
    else:
        assert len(found) == count // 128
        assert {len(p.split()) for p in found} == {min(150, count // (count // 128))}
        assert all(128 <= len(p.split()) <= 150 for p in found)
        assert all(p in document for p in found), "line breaks stay"


@pytest.mark.parametrize("bounds", [(0, 5), (6, 5)])
def test_passages_of_no_length(bounds):
    with pytest.raises(ValueError, match="give two whole numbers from 1 up, the smaller one first"):
        passages("A b.", *bounds)


def test_no_text_is_in_two_parts():
    groups = [[f"{text}.{k}" for k in range(1 + text % 4)] for text in range(40)]
    away, judges, pool = divide(groups, [7, 5], stream(1))
    texts = [{document.split(".")[0] for document in part} for part in (away, judges, pool)]
    assert [len(t) for t in texts] == [7, 5, 28]
    assert [len(away), len(judges)] == [7, 5], "one document of each"
    assert len(set.union(*texts)) == 40
    assert sorted(pool) == sorted(d for g in groups for d in g if d.split(".")[0] in texts[2])
    assert divide(groups, [7, 5], stream(1)) == [away, judges, pool]
    assert divide(groups, [7, 5], stream(2))[0] != away
    assert any(not d.endswith(".0") for d in away), "not always the first of a text"


def test_parts_larger_than_the_pool():
    with pytest.raises(ValueError, match=r"parts of 3 and 2 documents.*there are 5 texts") as error:
        divide([["a"]] * 5, [3, 2], stream(1))
    assert "\n" not in str(error.value)
