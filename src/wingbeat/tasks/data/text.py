"""Sentences as numbers: a vocabulary by frequency, and a grammar that makes labelled sentences."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.tasks.data.sklearn import Labelled

PAD: Final = 0
"""Number of the padding."""
UNKNOWN: Final = 1
"""Number of every word outside the vocabulary."""
VOCABULARY: Final = 2960
"""Numbers in the vocabulary, padding and unknown included."""
LENGTH: Final = 32
"""Words of a sentence that are kept."""


@dataclass(frozen=True)
class Corpus:
    """Sentences whose tokens are separated by spaces, and a label for each, 0 or 1."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def subset(self, n: int, seed: int = 0) -> Corpus:
        """Return ``n`` sentences drawn without replacement, as a function of ``seed`` alone.

        Raises:
            RequestError: there are not so many.

        Example:
            >>> Corpus(("a", "b", "c"), (0, 1, 0)).subset(2) == Corpus(
            ...     ("a", "b", "c"), (0, 1, 0)
            ... ).subset(2)
            True
        """
        if not 1 <= n <= len(self.texts):
            raise RequestError(f"n is {n!r}: use 1 to {len(self.texts)} sentences")
        draws = random.Random(derive(seed, "subset"))  # noqa: S311  (a repeatable choice is meant)
        order = draws.sample(range(len(self.texts)), n)
        return Corpus(tuple(self.texts[i] for i in order), tuple(self.labels[i] for i in order))


def vocabulary(texts: Iterable[str], size: int = VOCABULARY) -> dict[str, int]:
    """Return a number for each of the most frequent words; ties go by the alphabet.

    Args:
        texts: sentences whose tokens are separated by white space.
        size: of the vocabulary, padding (0) and unknown (1) included, at least 2.

    Returns:
        Word to number, from 2 on; fewer than ``size`` − 2 where there are fewer words.

    Example:
        >>> vocabulary(["b a", "b c"], 4)
        {'b': 2, 'a': 3}
    """
    counts = Counter(word for text in texts for word in text.split())
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: place for place, word in enumerate(ranked[: size - 2], start=2)}


def encoded(corpus: Corpus, words: Mapping[str, int], length: int = LENGTH) -> Labelled:
    """Return word numbers ``(n, length)`` int64, padded at the end, and labels ``(n,)`` int64.

    Example:
        >>> encoded(Corpus(("b x",), (1,)), {"b": 2}, 3)[0].tolist()
        [[2, 1, 0]]
    """
    rows = torch.full((len(corpus.texts), length), PAD, dtype=torch.int64)
    for row, text in zip(rows, corpus.texts, strict=True):
        numbers = [words.get(word, UNKNOWN) for word in text.split()[:length]]
        row[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
    return rows, torch.tensor(corpus.labels, dtype=torch.int64)


_WORDS = """\
moving funny tender clever warm bold graceful honest vivid charming lively wise fresh witty
gripping sincere elegant joyful sharp brilliant

dull clumsy tired shallow noisy cold lazy empty bland hollow slow crude messy stale flat pointless
grim tedious forced hopeless

film story script cast ending comedy drama plot score camera dialogue hero villain scene picture
tale sequel thriller romance opening"""
_GOOD, _BAD, _THINGS = (words.split() for words in _WORDS.split("\n\n"))
"""Words that praise, words that blame, and what they are about."""
_DEGREES = ("", "", "very ", "rather ", "quite ", "truly ", "really ")
_OPENINGS = ("", "", "i think ", "to be fair , ", "in the end ", "for once , ", "as a whole , ")
_TAILS = ("", "", " from start to finish", " most of the time", " and nothing else", " at heart")
_TURNS = (" , but ", " ; still , ", " , and yet ")


def grammar(n: int, seed: int = 0) -> Corpus:
    """Return sentences about films whose feeling is known, negation and a change of mind included.

    A clause calls a thing good or bad; "not" and "never" turn it around. In a sentence of two
    clauses of opposite feeling the second one, after "but" or "still", decides. Counting good
    and bad words is therefore not enough. Labels are balanced to within one.

    Args:
        n: how many sentences.
        seed: equal seeds give equal sentences.

    Raises:
        RequestError: fewer than one sentence.

    Example:
        >>> made = grammar(4)
        >>> made == grammar(4), sorted(made.labels)
        (True, [0, 0, 1, 1])
    """
    if n < 1:
        raise RequestError(f"n is {n!r}: use at least 1 sentence")
    draws = random.Random(derive(seed, "grammar"))  # noqa: S311  (repeatable sentences are meant)
    labels = [i % 2 for i in range(n)]
    draws.shuffle(labels)
    return Corpus(tuple(_sentence(draws, bool(label)) for label in labels), tuple(labels))


def _sentence(draws: random.Random, good: bool) -> str:
    clause = _clause(draws, good)
    if draws.random() < 0.4:
        clause = _clause(draws, not good) + draws.choice(_TURNS) + clause
    return f"{draws.choice(_OPENINGS)}{clause}{draws.choice(_TAILS)} ."


def _clause(draws: random.Random, good: bool) -> str:
    negated = draws.random() < 0.4
    word = draws.choice(_GOOD if good != negated else _BAD)
    turn = draws.choice(("is not ", "is never ", "never feels ")) if negated else "is "
    return f"the {draws.choice(_THINGS)} {turn}{draws.choice(_DEGREES)}{word}"
