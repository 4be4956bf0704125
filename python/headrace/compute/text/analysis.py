"""From a document to its tokens in Python: the steps for which a user's own function may stand.

`HashingVectorizer` takes these where a callable or a regular expression of the user's is among the steps; otherwise all
of them happen in Rust, with the same outcome. They are functions of modules, so that what is built of them can be
pickled where the user's own parts can.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError, DataTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_SPACES = re.compile(r"\s\s+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def run(document: Any, steps: tuple[Callable[[Any], Any], ...]) -> Any:
    """`document` after each of the steps in turn."""
    for step in steps:
        document = step(document)
    return document


def read(document: Any, source: str, encoding: str, decode_error: str) -> Any:
    """The text of a document; a file is read, bytes are decoded, and anything else is left as it is."""
    if source == "filename":
        with open(document, "rb") as stream:  # noqa: PTH123  # a descriptor's number is a name too
            document = stream.read()
    elif source == "file":
        document = document.read()
    if isinstance(document, bytes):
        document = document.decode(encoding, decode_error)
    numpy = sys.modules.get("numpy")
    if numpy is not None and document is numpy.nan:
        raise DataError(
            "np.nan is an invalid document, expected byte or unicode string.",
            hint="Fill what is missing with an empty string first.",
        )
    return document


def prepare(text: Any, lowercase: bool, accents: Callable[[str], str] | None) -> Any:
    """The text in lower case and without accents, if it should be."""
    if lowercase:
        if not hasattr(text, "lower"):
            raise DataTypeError(
                f"the document is of type {type(text).__name__}, expected str or bytes",
                hint="Fill what is missing with an empty string first; lowercase=False leaves other objects alone.",
            )
        text = text.lower()
    return text if accents is None else accents(text)


def without_combining(text: str) -> str:
    """Decomposed (NFKD), without combining characters."""
    if text.isascii():
        return text
    return "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))


def only_ascii(text: str) -> str:
    """Decomposed (NFKD), without anything that is not ASCII."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def words_with_marks(text: str) -> list[str]:
    """Words of two or more characters, where a mark goes on with the word that it stands behind."""
    words: list[str] = []
    word = ""
    for character in text:
        if character == "_" or character.isalnum() or (word and unicodedata.category(character)[0] == "M"):
            word += character
        else:
            words.append(word)
            word = ""
    words.append(word)
    return [word for word in words if len(word) > 1]


def word_ngrams(tokens: Iterable[str], ngram_range: tuple[int, int], stop_words: Collection[str] | None) -> Any:
    """Tokens that are no stop words, joined by spaces to n-grams."""
    if stop_words is not None:
        tokens = [token for token in tokens if token not in stop_words]
    least, greatest = ngram_range
    if greatest == 1:
        return tokens
    words: Any = tokens
    joined = list(words) if least == 1 else []
    for size in range(2 if least == 1 else least, min(greatest, len(words)) + 1):
        joined.extend(" ".join(words[first : first + size]) for first in range(len(words) - size + 1))
    return joined


def char_ngrams(text: str, ngram_range: tuple[int, int]) -> list[str]:
    """Runs of characters, where two or more spaces count as one."""
    text = _SPACES.sub(" ", text)
    least, greatest = ngram_range
    runs = list(text) if least == 1 else []
    for size in range(2 if least == 1 else least, min(greatest, len(text)) + 1):
        runs.extend(text[first : first + size] for first in range(len(text) - size + 1))
    return runs


def char_ngrams_within_words(text: str, ngram_range: tuple[int, int]) -> list[str]:
    """Runs of characters of each word with a space before and behind it; a word no longer than n is one, once."""
    least, greatest = ngram_range
    runs: list[str] = []
    for word in text.split():
        padded = f" {word} "
        for size in range(least, greatest + 1):
            last = max(len(padded) - size, 0)
            runs.extend(padded[first : first + size] for first in range(last + 1))
            if last == 0:
                break
    return runs


def without_surrogates(text: str) -> str:
    """With U+FFFF, which is in no word either, for each lone surrogate, which UTF-8 does not have."""
    return _LONE_SURROGATE.sub("\uffff", text)
