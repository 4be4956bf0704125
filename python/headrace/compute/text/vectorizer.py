"""`HashingVectorizer`: scikit-learn's, in Rust."""

from __future__ import annotations

import codecs
import re
import sys
import warnings
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

from headrace import _core
from headrace.compute.estimator import Estimator
from headrace.compute.mixed import naming_column
from headrace.compute.sparse import csr
from headrace.compute.text import analysis
from headrace.compute.text.documents import is_column, iterated
from headrace.compute.text.values import converted, invalid, numpy_type
from headrace.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from headrace.types import SupportsArrowStream

DEFAULT_PATTERN = r"(?u)\b\w\w+\b"
# The same without the flag that is the default for str.
_PATTERNS = (DEFAULT_PATTERN, r"\b\w\w+\b")
_ACCENTS = {"ascii": analysis.only_ascii, "unicode": analysis.without_combining}
_GREATEST_COLUMNS = 2**31 - 1
# What Rust does by itself. A subclass that does one of them otherwise gets the steps in Python.
_STEPS = ("build_analyzer", "build_preprocessor", "build_tokenizer", "get_stop_words", "decode")


class HashingVectorizer(Estimator):
    r"""Texts to a sparse matrix of hashed tokens: scikit-learn's `HashingVectorizer`, bit for bit, in Rust.

    Parameters, defaults, methods and output are those of `sklearn.feature_extraction.text.HashingVectorizer` (1.9):
    columns, signs, zeros of cancelled values, order and values. It stands in for it in `Pipeline`, `ColumnTransformer`
    and `clone`, and imports scikit-learn for none of that. What is different:

    - A text column is read where it lies: anything with `__arrow_c_stream__` or `__arrow_c_array__` that is a column of
      strings (or a frame of one), of any layout, dictionary columns too. A null in it counts as an empty text. In an
      iterable, `None` and NaN are errors, as they are in scikit-learn.
    - What is a letter and what its lower case is, is CPython 3.11's reading of Unicode 14, whatever Python runs.
      scikit-learn's output changes with Python's version, where a text has characters that are newer.
    - A callable `preprocessor`, `tokenizer`, `strip_accents` or `analyzer`, another `token_pattern`, an `ngram_range`
      that begins below 1, and subclasses with steps of their own go through Python: the same output, at about the
      speed of scikit-learn. There Unicode is that of the running Python.
    - Counts beyond 2^24 are exact in float32, where scikit-learn's stop.
    - Errors are those of `headrace.errors`, and name the row.

    Parameters
    ----------
    input
        `"content"`: texts or bytes. `"filename"`, `"file"`: names, or objects with `read`, of files that hold them.
    encoding, decode_error
        How bytes are decoded; `decode_error` is `"strict"`, `"ignore"` or `"replace"`.
    strip_accents
        `"ascii"`, `"unicode"`, a callable or None.
    lowercase
        Whether texts are made lower case, as `str.lower` does.
    preprocessor, tokenizer
        Callables that stand for the steps before and at the cutting into words.
    stop_words
        `"english"`, a list or None; left out of words.
    token_pattern
        A regular expression with at most one group.
    ngram_range
        The least and greatest number of tokens in an n-gram.
    analyzer
        `"word"`, `"char"`, `"char_wb"`, or a callable from a document to its tokens.
    n_features
        Number of columns, 1 to 2^31 - 1.
    binary
        Whether every value is 1 (before `norm`), that of tokens that cancelled each other too.
    norm
        `"l1"`, `"l2"` or None.
    alternate_sign
        Whether the hash's sign is the value's.
    dtype
        numpy's type of the values; `float` is float64.
    keep_marks
        Not in scikit-learn. Whether a mark (Unicode's category M) goes on with the word that it stands behind. Words of
        Indic scripts are cut at their vowel signs without it.
    threads
        Not in scikit-learn. At most so many threads; None: as many as the process may use. The output does not depend
        on it, and the interpreter is free meanwhile.

    Raises
    ------
    ConfigError
        By `fit` and `transform`: a parameter has a value that it cannot have.
    DataError
        By `transform`: a document is no text or cannot be decoded (the message names the row), there are none, a frame
        does not have exactly one column of text, or the result has more than 2^31 - 1 values.

    """

    def __init__(
        self,
        *,
        input: str = "content",  # noqa: A002  # scikit-learn's name
        encoding: str = "utf-8",
        decode_error: str = "strict",
        strip_accents: str | Callable[[str], str] | None = None,
        lowercase: bool = True,
        preprocessor: Callable[[Any], Any] | None = None,
        tokenizer: Callable[[Any], Any] | None = None,
        stop_words: str | Collection[str] | None = None,
        token_pattern: str | None = DEFAULT_PATTERN,
        ngram_range: tuple[int, int] = (1, 1),
        analyzer: str | Callable[[Any], Iterable[str | bytes]] = "word",
        n_features: int = 2**20,
        binary: bool = False,
        norm: str | None = "l2",
        alternate_sign: bool = True,
        dtype: Any = float,
        keep_marks: bool = False,
        threads: int | None = None,
    ) -> None:
        self.input = input
        self.encoding = encoding
        self.decode_error = decode_error
        self.strip_accents = strip_accents
        self.lowercase = lowercase
        self.preprocessor = preprocessor
        self.tokenizer = tokenizer
        self.stop_words = stop_words
        self.token_pattern = token_pattern
        self.ngram_range = ngram_range
        self.analyzer = analyzer
        self.n_features = n_features
        self.binary = binary
        self.norm = norm
        self.alternate_sign = alternate_sign
        self.dtype = dtype
        self.keep_marks = keep_marks
        self.threads = threads

    @property
    def unicode_version(self) -> str:
        """The version of Unicode that says what a letter is, where all steps are in Rust."""
        return _core.text_unicode_version()

    # --- scikit-learn's methods --------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803, ARG002  # scikit-learn's names
        """Check the parameters; nothing is learnt from `X`."""
        _refuse_one_text(X)
        self._check()
        self._warn_of_what_is_not_used()
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803, ARG002
        """Check the parameters; nothing is learnt from `X`."""
        self._check()
        return self

    def transform(self, X: Iterable[Any] | SupportsArrowStream) -> Any:  # noqa: N803
        """The rows of texts.

        Parameters
        ----------
        X
            An iterable of documents, or a column of text (see above).

        Returns
        -------
        scipy.sparse.csr_matrix
            Shape (documents, `n_features`), on memory that Rust has filled: 32-bit indices, ascending in each row. Or a
            `csr_array`, if scikit-learn is set so.

        """
        _refuse_one_text(X)
        self._check()
        dtype = numpy_type(self.dtype, signed=bool(self.alternate_sign))
        # Other types than these two are counted in first, as scikit-learn does, and normalised in float64.
        plain = dtype.name in ("float32", "float64")
        rows = self._rows(X, single=dtype.name == "float32", norm=self.norm if plain or self.binary else None)
        if len(rows[2]) == 1:
            raise DataError("there are no documents", hint="Pass at least one.")
        matrix = csr(rows, self.n_features)
        if not plain:
            matrix.data = converted(matrix, dtype, self.norm, binary=bool(self.binary))
        return matrix

    def fit_transform(self, X: Iterable[Any] | SupportsArrowStream, y: Any = None) -> Any:  # noqa: N803
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def decode(self, doc: Any) -> Any:
        """The text of a document: a file is read, bytes are decoded."""
        return analysis.read(doc, self.input, self.encoding, self.decode_error)

    def build_preprocessor(self) -> Callable[[Any], Any]:
        """The step before a text is cut."""
        if self.preprocessor is not None:
            return self.preprocessor
        accents: Any = self.strip_accents or None
        if isinstance(accents, str):
            if accents not in _ACCENTS:
                raise invalid("strip_accents", accents, "'ascii', 'unicode', a callable or None")
            accents = _ACCENTS[accents]
        return partial(analysis.prepare, lowercase=bool(self.lowercase), accents=accents)

    def build_tokenizer(self) -> Callable[[Any], Any]:
        """The step that cuts a text into words."""
        if self.tokenizer is not None:
            return self.tokenizer
        if self.keep_marks:
            return analysis.words_with_marks
        if self.token_pattern is None:
            raise invalid("token_pattern", None, "a regular expression, where no tokenizer is given")
        try:
            pattern = re.compile(self.token_pattern)
        except re.error as error:
            raise invalid("token_pattern", self.token_pattern, f"a regular expression ({error})") from error
        if pattern.groups > 1:
            raise ConfigError(
                "More than 1 capturing group in token pattern. Only a single group should be captured.",
                hint="Write (?:...) for groups that are not the token.",
            )
        return pattern.findall

    def get_stop_words(self) -> frozenset[str] | None:
        """The words that are left out."""
        if self.stop_words is None:
            return None
        if isinstance(self.stop_words, str):
            if self.stop_words != "english":
                raise ConfigError(f"not a built-in stop list: {self.stop_words}", hint="There is 'english'; or a list.")
            return frozenset(_core.english_stop_words())
        return frozenset(self.stop_words)

    def build_analyzer(self) -> Callable[[Any], Any]:
        """All steps from a document to its tokens, in Python."""
        steps: list[Callable[[Any], Any]] = [self.decode]
        if callable(self.analyzer):
            steps.append(self.analyzer)
            return partial(analysis.run, steps=tuple(steps))
        prepare = self.build_preprocessor()
        steps.append(prepare)
        if self.analyzer == "char":
            steps.append(partial(analysis.char_ngrams, ngram_range=self.ngram_range))
        elif self.analyzer == "char_wb":
            steps.append(partial(analysis.char_ngrams_within_words, ngram_range=self.ngram_range))
        elif self.analyzer == "word":
            stop_words, cut = self.get_stop_words(), self.build_tokenizer()
            self._check_stop_words_consistency(stop_words, prepare, cut)
            steps.append(cut)
            steps.append(partial(analysis.word_ngrams, ngram_range=self.ngram_range, stop_words=stop_words))
        else:
            raise ConfigError(f"{self.analyzer} is not a valid tokenization scheme/analyzer")
        return partial(analysis.run, steps=tuple(steps))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    # --- rows --------------------------------------------------------------------------------------------------------

    def _rows(self, documents: Any, *, single: bool, norm: str | None) -> tuple[Any, Any, Any]:
        stop_words: frozenset[Any] | None = None
        in_rust = self._is_all_rust()
        least, greatest = self.ngram_range
        if self.analyzer == "word" and in_rust:
            stop_words = self.get_stop_words()
            self._check_stop_words_consistency(stop_words, self.build_preprocessor(), self.build_tokenizer())
        vectorizer = _core.TextVectorizer(
            columns=int(self.n_features),
            analyzer=self.analyzer if in_rust and isinstance(self.analyzer, str) else "word",
            lowercase=bool(self.lowercase),
            accents=self.strip_accents if in_rust and isinstance(self.strip_accents, str) else None,
            ngrams=(min(int(least), sys.maxsize), min(int(greatest), sys.maxsize)) if in_rust else (1, 1),
            # No token is equal to what cannot be encoded, or is no str.
            stop_words=[word for word in stop_words or () if isinstance(word, str) and _is_encodable(word)],
            signed=bool(self.alternate_sign),
            binary=bool(self.binary),
            norm=norm,
            keep_marks=bool(self.keep_marks),
            decode_error=self.decode_error,
            threads=None if self.threads is None else min(self.threads, sys.maxsize),
            single=single,
        )
        utf8 = codecs.lookup(self.encoding).name == "utf-8"
        if not in_rust:
            return vectorizer.of_tokens(self._tokens(iterated(documents)))
        if self.input == "content" and utf8 and is_column(documents):
            with naming_column(documents):
                return vectorizer.of_column(documents)
        # Lone surrogates are in no word; in runs of characters they are, and have no UTF-8 to be hashed.
        mend = analysis.without_surrogates if self.analyzer == "word" or self.strip_accents == "ascii" else None
        encoding = None if utf8 else (self.encoding, self.decode_error)
        return vectorizer.of_documents(self._contents(iterated(documents)), encoding, mend)

    def _is_all_rust(self) -> bool:
        """Whether no step is the user's own."""
        if any(getattr(type(self), step) is not getattr(HashingVectorizer, step) for step in _STEPS):
            return False
        if callable(self.analyzer) or self.preprocessor is not None or callable(self.strip_accents):
            return False
        if self.analyzer == "word" and (self.tokenizer is not None or self.token_pattern not in _PATTERNS):
            return False
        return all(isinstance(size, Integral) and int(size) >= 1 for size in self.ngram_range)

    def _tokens(self, documents: Iterable[Any]) -> Iterator[Any]:
        analyze = self.build_analyzer()
        for row, document in enumerate(documents):
            tokens = _naming_row(row, analyze, document)
            if row == 0 and isinstance(tokens, str):
                raise DataError(
                    "the analyzer gave a single string, expected an iterable of tokens",
                    place="row 0",
                    hint="Give a list of strings.",
                )
            yield tokens

    def _contents(self, documents: Iterable[Any]) -> Iterable[Any]:
        if self.input == "content":
            return documents
        return (_naming_row(row, self._read, document) for row, document in enumerate(documents))

    def _read(self, document: Any) -> Any:
        if self.input == "file":
            return document.read()
        with open(document, "rb") as stream:  # noqa: PTH123  # a descriptor's number is a name too
            return stream.read()

    # --- checks ------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        for name, values in _CHOICES.items():
            value = getattr(self, name)
            # Compared only where that is a truth value: arrays are not.
            if not (value is None or isinstance(value, str)) or value not in values:
                raise invalid(name, value, _listed(values))
        for name in ("lowercase", "binary", "alternate_sign", "keep_marks"):
            value = getattr(self, name)
            if not isinstance(value, bool) and type(value).__name__ != "bool":
                raise invalid(name, value, "True or False")
        if not callable(self.strip_accents) and self.strip_accents not in ("ascii", "unicode", None):
            raise invalid("strip_accents", self.strip_accents, "'ascii', 'unicode', a callable or None")
        if not callable(self.analyzer) and self.analyzer not in ("word", "char", "char_wb"):
            raise invalid("analyzer", self.analyzer, "'word', 'char', 'char_wb' or a callable")
        for name in ("preprocessor", "tokenizer"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise invalid(name, getattr(self, name), "a callable or None")
        if not isinstance(self.stop_words, (list, tuple, set, frozenset)) and self.stop_words not in ("english", None):
            raise invalid("stop_words", self.stop_words, "'english', a list or None")
        if self.token_pattern is not None and not isinstance(self.token_pattern, str):
            raise invalid("token_pattern", self.token_pattern, "a str or None")
        columns: Any = self.n_features
        if not isinstance(columns, Integral) or isinstance(columns, bool) or not 1 <= int(columns) <= _GREATEST_COLUMNS:
            raise invalid("n_features", columns, "a whole number from 1 to 2147483647")
        threads: Any = self.threads
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
            raise invalid("threads", threads, "a whole number, at least 1, or None")
        sizes: Any = self.ngram_range
        if not isinstance(sizes, tuple) or len(sizes) != 2 or not all(isinstance(size, Integral) for size in sizes):
            raise invalid("ngram_range", sizes, "a tuple of two whole numbers")
        if sizes[0] > sizes[1]:
            raise ConfigError(
                f"Invalid value for ngram_range={sizes} lower boundary larger than the upper boundary.",
                hint="Write the smaller number first.",
            )
        if self.keep_marks and (self.tokenizer is not None or self.token_pattern not in (*_PATTERNS, None)):
            raise ConfigError(
                "keep_marks says what a word is, and so does the tokenizer or the token_pattern",
                hint="Leave keep_marks out, or the other.",
            )
        try:
            codecs.lookup(self.encoding)
        except (LookupError, TypeError) as error:
            raise invalid("encoding", self.encoding, "the name of an encoding that Python knows") from error

    def _check_stop_words_consistency(
        self, stop_words: frozenset[str] | None, preprocess: Callable[[Any], Any], tokenize: Callable[[Any], Any]
    ) -> bool | str | None:
        """Warn, once for each list, of stop words that would themselves be cut into other words.

        True if there are none, False if there are, "error" if the steps fail on them, None if it was looked at before.
        """
        if id(self.stop_words) == getattr(self, "_stop_words_id", None):
            return None
        try:
            cut = {token for word in stop_words or () for token in tokenize(preprocess(word))}
            strange = sorted(cut - (stop_words or frozenset()))
        except Exception:  # noqa: BLE001  # the user's own step may want something else than a str
            return "error"
        finally:
            self._stop_words_id = id(self.stop_words)
        if strange:
            warnings.warn(
                "Your stop_words may be inconsistent with your preprocessing. Tokenizing the stop words generated "
                f"tokens {strange!r} not in stop_words.",
                stacklevel=2,
            )
        return not strange

    def _warn_of_what_is_not_used(self) -> None:
        own_analyzer = callable(self.analyzer)
        no_words = self.analyzer != "word"
        pattern = self.token_pattern is not None
        cases = (
            (self.tokenizer is not None and pattern, "token_pattern", "'tokenizer' is not None"),
            (self.preprocessor is not None and own_analyzer, "preprocessor", "'analyzer' is callable"),
            (self.ngram_range != (1, 1) and own_analyzer, "ngram_range", "'analyzer' is callable"),
            (self.stop_words is not None and no_words, "stop_words", "'analyzer' != 'word'"),
            (pattern and self.token_pattern != DEFAULT_PATTERN and no_words, "token_pattern", "'analyzer' != 'word'"),
            (self.tokenizer is not None and no_words, "tokenizer", "'analyzer' != 'word'"),
        )
        for applies, name, reason in cases:
            if applies:
                warnings.warn(f"The parameter '{name}' will not be used since {reason}", stacklevel=3)


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "input": ("content", "file", "filename"),
    "decode_error": ("strict", "ignore", "replace"),
    "norm": ("l1", "l2", None),
}


def _listed(values: tuple[str | None, ...]) -> str:
    return ", ".join(map(repr, values[:-1])) + f" or {values[-1]!r}"


def _refuse_one_text(documents: Any) -> None:
    if isinstance(documents, str):
        raise DataError(
            "Iterable over raw text documents expected, string object received.", hint="Put it into a list."
        )


def _is_encodable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _naming_row(row: int, step: Callable[[Any], Any], document: Any) -> Any:
    """Whatever a user's own step or a file raises keeps its type, and says for which document."""
    try:
        return step(document)
    except UnicodeError as error:
        raise DataError(
            f"the text cannot be read: {error}",
            place=f"row {row}",
            hint="Set encoding to what the bytes have, or decode_error to 'replace' or 'ignore'.",
        ) from error
    except Exception as error:
        if isinstance(error, DataError) and error.place is None:
            error.place = f"row {row}"
        else:
            error.add_note(f"headrace.HashingVectorizer: row {row}")
        raise
