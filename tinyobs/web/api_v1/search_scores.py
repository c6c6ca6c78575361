"""How well a name fits what somebody types: the measures of `/search/...`.  Pure.

Source: prometheus web/api/v1/search_filters.go and util/strutil (subsequence.go, jarowinkler.go).  Scores are from 0, no
match, to 1; a beginning that is right is 1 under either measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

SUBSTRING: Final = 0.9
"""The score of a term that stands within a name, under the measure "jarowinkler"."""
ALGORITHMS: Final = ("subsequence", "jarowinkler")
"""The measures; the first is the default."""
_PREFIX_MAX: Final = 4
_PREFIX_WEIGHT: Final = 0.1

Score = Callable[[str], float | None]
"""Name -> its score, None when it does not fit."""


def scorer(terms: Sequence[str], algorithm: str, threshold: float, *, case_sensitive: bool) -> Score:
    """Return the measure for what fits any of some terms; empty terms are passed over, and without any all fits.

    threshold: the lowest score of a match that is neither a beginning nor, under "jarowinkler", a part of the name.
    """
    wanted = [t if case_sensitive else t.lower() for t in terms if t]
    if not wanted:
        return lambda name: 1.0
    measure = _by_subsequence if algorithm == "subsequence" else _by_likeness

    def score(name: str) -> float | None:
        text = name if case_sensitive else name.lower()
        found = [s for t in wanted if (s := measure(t, text, threshold)) is not None]
        return max(found, default=None)

    return score


def _by_subsequence(term: str, text: str, threshold: float) -> float | None:
    if text.startswith(term):
        return 1.0
    found = subsequence_score(term, text)
    return found if found > 0 and found >= threshold else None


def _by_likeness(term: str, text: str, threshold: float) -> float | None:
    if term in text:
        return 1.0 if text.startswith(term) else SUBSTRING
    if threshold <= 0:
        return None
    found = jaro_winkler(term, text)
    return found if found >= threshold else None


def subsequence_score(term: str, text: str) -> float:
    """Return how well the characters of a term stand in a text in their order: long runs count, gaps cost.

    The best of all places for the first character; from there every next one is taken where it comes first.
    """
    if not term or term == text:
        return 1.0
    best, start = -1.0, text.find(term[0])
    while 0 <= start <= len(text) - len(term):
        found = _score_from(term, text, start)
        if found is None:  # nor does any later beginning reach the end
            break
        best = max(best, found)
        start = text.find(term[0], start + 1)
    return best / (len(term) * len(term)) if best >= 0 else 0.0


def _score_from(term: str, text: str, start: int) -> float | None:
    """Return squares of the runs less the gaps by length of the text, None where the term has no place."""
    share = 1.0 / len(text)
    score, end, at = 0.0, 0, 0
    while at < len(term):
        first = start if at == 0 else text.find(term[at], end)
        if first < 0:
            return None
        last = first
        while at < len(term) and last < len(text) and text[last] == term[at]:
            last, at = last + 1, at + 1
        score += (last - first) ** 2 - (first - end) * share
        end = last
    return score - (len(text) - end) * share * 0.5


def jaro_winkler(a: str, b: str) -> float:
    """Return the likeness of two texts after Jaro, with Winkler's bonus for a common beginning."""
    if a == b:
        return 1.0
    if not a or not b:
        return 0.0
    if len(a) > len(b):
        a, b = b, a
    reach = max(len(b) // 2 - 1, 0)
    taken = [False] * len(b)
    of_a = []
    for i, character in enumerate(a):
        for j in range(max(i - reach, 0), min(i + reach + 1, len(b))):
            if not taken[j] and b[j] == character:
                taken[j] = True
                of_a.append(character)
                break
    if not of_a:
        return 0.0
    of_b = [character for character, is_taken in zip(b, taken, strict=True) if is_taken]
    matches, swapped = len(of_a), sum(x != y for x, y in zip(of_a, of_b, strict=True))
    jaro = (matches / len(a) + matches / len(b) + (matches - swapped * 0.5) / matches) / 3.0
    prefix = 0
    while prefix < min(_PREFIX_MAX, len(a)) and a[prefix] == b[prefix]:
        prefix += 1
    return jaro + prefix * _PREFIX_WEIGHT * (1.0 - jaro)
