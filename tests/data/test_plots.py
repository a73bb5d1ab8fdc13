"""Movie plots: the three forms of the file, Kaggle's cache, what is left out, the errors."""

import csv
import hashlib
import io
import json
import lzma
import socket
import zipfile
from pathlib import Path

import pytest
from kagglehub.cache import Cache
from kagglehub.handle import parse_dataset_handle

from stlcore.data import MissingDataError, movie_plots
from stlcore.data.plots import FILE, HANDLE

COLUMNS = ["Release Year", "Title", "Origin/Ethnicity", "Director", "Cast", "Genre"]
COLUMNS += ["Wiki Page", "Plot"]
PLOTS = ["A moon smiles.", 'He says "no", she\r\nleaves.\r\n\r\nThe  end.', "Où est là?"]
TIDY = ("A moon smiles.", 'He says "no", she\nleaves.\nThe end.', "Où est là?")


def kaggle(plots, columns=COLUMNS):
    """A CSV in the form of Kaggle's file."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for year, plot in enumerate(plots, start=1901):
        writer.writerow([year, f"Film {year}", "American", "", "", "drama", "https://x", plot])
    return out.getvalue()


def lines(plots):
    """The same as JSON lines."""
    return "".join(json.dumps({"title": "A film", "text": plot}) + "\n" for plot in plots)


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """An empty Kaggle cache, and no network at all."""

    def refuse(*_, **__):
        raise AssertionError("the loader went to the network")

    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def put_in_cache(version, content, complete=True):
    """What kagglehub itself would leave behind after a download."""
    handle = parse_dataset_handle(f"{HANDLE}/versions/{version}")
    file = Path(Cache().get_path(handle, FILE))
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8", newline="")
    if complete:
        Cache().mark_as_complete(handle)


# --- what is read ---------------------------------------------------------------------------


def test_all_forms_give_the_same_documents(write):
    found = [
        movie_plots(write(FILE, kaggle(PLOTS))),
        movie_plots(str(write("plots.jsonl", lines(PLOTS)))),
        movie_plots(write("plots.jsonl.xz", lzma.compress(lines(PLOTS).encode()))),
        movie_plots(write("mark.csv", "\ufeff" + kaggle(PLOTS))),
    ]
    for corpus in found:
        assert corpus.documents == TIDY
        assert corpus.sha256 == found[0].sha256
        assert "CC BY-SA" in corpus.licence
    body = json.dumps(list(TIDY)).encode()
    assert found[0].sha256 == hashlib.sha256(body).hexdigest()


def test_the_source_names_the_file_but_not_its_folder(write, tmp_path):
    kaggles, own = write(FILE, kaggle(PLOTS)), write("own.jsonl", lines(PLOTS))
    assert movie_plots(kaggles).source == f"Kaggle {HANDLE}, {FILE}"
    assert movie_plots(own).source == "movie plots, own.jsonl"
    assert str(tmp_path) not in repr(movie_plots(own))


def test_the_order_is_that_of_the_file(write):
    forward = movie_plots(write("a.jsonl", lines(PLOTS)))
    backward = movie_plots(write("b.jsonl", lines(PLOTS[::-1])))
    assert backward.documents == forward.documents[::-1]
    assert backward.sha256 != forward.sha256


@pytest.mark.filterwarnings("error")
def test_empty_and_repeated_plots_are_left_out(write):
    corpus = movie_plots(write("a.csv", kaggle(["One.", " ", "One. ", "Two.", ""])))
    assert corpus.documents == ("One.", "Two.")
    assert "3 empty or repeated plots left out" in corpus.source


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("1999,too,few\r\n", 2),
        ("1999," + "," * 20 + "too many\r\n", 2),
        ('1999,"' + "x" * 1_100_000 + "\r\n", 2),
    ],
)
def test_malformed_rows_are_counted_and_skipped(write, row, line):
    head, rest = kaggle(["One.", "Two."]).split("\r\n", 1)
    file = write("a.csv", f"{head}\r\n{row}{rest}")
    with pytest.warns(UserWarning, match=rf"1 malformed rows left out, first on line {line}"):
        corpus = movie_plots(file)
    assert corpus.documents == ("One.", "Two.")
    assert "1 malformed rows left out" in corpus.source


@pytest.mark.parametrize("end", ["", "\r\n"])
def test_a_last_plot_that_is_cut_inside_its_quotes_is_no_plot(write, end):
    """Half a download: the file ends in the middle of a plot."""
    whole = kaggle(["One.", "Two.", "Three parts,\r\nof which two are left."])
    assert movie_plots(write("b.csv", whole.removesuffix("\r\n") + end)).documents[2:]
    cut = whole[: whole.index(" which")]
    with pytest.warns(UserWarning, match="1 malformed rows left out, first on line 4"):
        corpus = movie_plots(write("a.csv", cut + end))
    assert corpus.documents == ("One.", "Two.")


@pytest.mark.parametrize(
    "row", ["{", "[1]", "null", '{"title": "A"}', '{"title": "A", "text": 5}', '{"text": "B."}']
)
def test_malformed_json_lines_are_counted_and_skipped(write, row):
    file = write("a.jsonl", lines(["One."]) + row + "\n\n" + lines(["Two."]))
    with pytest.warns(UserWarning, match="1 malformed rows left out, first on line 2"):
        corpus = movie_plots(file)
    assert corpus.documents == ("One.", "Two.")


def test_a_line_separator_inside_a_json_text_ends_no_row(write):
    row = json.dumps({"title": "A", "text": "One\u2028two."}, ensure_ascii=False)
    assert movie_plots(write("a.jsonl", row)).documents == ("One\ntwo.",)


def test_what_kaggle_hands_over_is_read(write, tmp_path):
    """The folder that kagglehub returns, and the archive that the site gives."""
    file = write(FILE, kaggle(PLOTS))
    assert movie_plots(tmp_path).documents == TIDY
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file, FILE)
    found = movie_plots(tmp_path / "archive.zip")
    assert found.documents == TIDY
    assert found.source == f"Kaggle {HANDLE}, archive.zip"


@pytest.mark.filterwarnings("error")
def test_a_long_plot_is_a_plot(write):
    usual = csv.field_size_limit()
    long = "word " * 40_000
    assert movie_plots(write("a.csv", kaggle(["One.", long]))).documents == ("One.", long.strip())
    assert csv.field_size_limit() == usual


def test_an_archive_without_the_plots_or_none_at_all(write, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(MissingDataError, match=rf"there is no file {FILE} in .*other.zip; get"):
        movie_plots(tmp_path / "other.zip")
    with pytest.raises(MissingDataError, match=r"there is no file .*none.zip; get the movie"):
        movie_plots(tmp_path / "none.zip")
    with pytest.raises(ValueError, match=r"bad\.zip is damaged"):
        movie_plots(write("bad.zip", b"no archive"))


# --- Kaggle's cache -------------------------------------------------------------------------


def test_the_newest_complete_version_of_the_cache_is_read():
    put_in_cache(2, kaggle(["Two."]))
    put_in_cache(10, kaggle(["Ten."]))
    put_in_cache(11, kaggle(["Half a dow"]), complete=False)
    assert movie_plots().documents == ("Ten.",)


def test_the_cache_lies_in_the_home_folder_by_default(tmp_path, monkeypatch):
    put_in_cache(1, kaggle(["One."]))
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    (tmp_path / "kaggle").rename(home / ".cache" / "kagglehub")
    monkeypatch.delenv("KAGGLEHUB_CACHE")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert movie_plots().documents == ("One.",)


def test_without_the_file_the_message_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingDataError, match=rf"kagglehub.dataset_download\('{HANDLE}'\)"):
        movie_plots()
    with pytest.raises(MissingDataError, match=r"there is no file .*nothing.csv; get the movie"):
        movie_plots(tmp_path / "nothing.csv")
    with pytest.raises(MissingDataError, match=f"there is no file .*/{FILE}; get the movie"):
        movie_plots(tmp_path)


# --- bad files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.jsonl", " \n", "a.jsonl is empty"),
        ("a.csv", kaggle([]), "a.csv holds no plot that can be read"),
        ("a.csv", kaggle([" "]), "a.csv holds no plot that can be read"),
        ("a.jsonl", "{\n", "a.jsonl holds no plot that can be read"),
        (
            "a.csv",
            kaggle(PLOTS, ["Title", "Story"]),
            "no column Plot; its columns are Title, Story",
        ),
        ("a.csv", "a;b\n1;2\n", "no column Title and no column Plot; its columns are a;b"),
        ("a.jsonl", '{"name": "A", "text": "B."}', "fields title and text; .* are name, text"),
        ("a.csv", kaggle(PLOTS).encode("latin-1"), "a.csv is not UTF-8: see byte"),
        ("a.jsonl.xz", b"no archive", "a.jsonl.xz is damaged"),
        ("a.jsonl.xz", lzma.compress(b"x" * 99)[:-9], "a.jsonl.xz is damaged"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*malformed rows")
def test_a_bad_file_gets_one_sentence(write, name, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        movie_plots(write(name, content))
    assert "\n" not in str(caught.value)
