"""Ranges of whole numbers as regular expressions, for values that are indexed as text."""

from __future__ import annotations


def integers_between(low: int, high: int | None) -> str:
    """Return an expression for the decimal numbers from `low` to `high`, both included and not negative.

    The syntax is Lucene's, for a whole value, without leading zeros. Without `high` there is no upper bound. Lucene's
    own `<1-100>` ends at 2,147,483,647.
    lucene.apache.org/core/9_0_0/core/org/apache/lucene/util/automaton/RegExp.html
    """
    if high is None:
        digits = len(str(low))
        return "|".join([*_between(low, 10**digits - 1), f"[1-9][0-9]{{{digits},}}"])
    parts: list[str] = []
    while low <= high:
        top = min(high, 10 ** len(str(low)) - 1)
        parts += _between(low, top)
        low = top + 1
    return "|".join(parts)


def _between(low: int, high: int) -> list[str]:
    """Return expressions for numbers of as many digits each."""
    first, last = str(low), str(high)
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    head = first[:same]
    if same == len(first):
        return [head]
    rest = len(first) - same - 1
    if not rest:
        return [f"{head}{_digits(first[same], last[same])}"]
    tail = f"[0-9]{{{rest}}}"
    low_is_even, high_is_even = set(first[same + 1 :]) == {"0"}, set(last[same + 1 :]) == {"9"}
    start, end = int(first[same]) + (not low_is_even), int(last[same]) - (not high_is_even)
    middle = [f"{head}{_digits(str(start), str(end))}{tail}"] if start <= end else []
    lower = [] if low_is_even else _between(low, int(first[: same + 1] + "9" * rest))
    upper = [] if high_is_even else _between(int(last[: same + 1] + "0" * rest), high)
    return [*lower, *middle, *upper]


def _digits(first: str, last: str) -> str:
    return first if first == last else f"[{first}-{last}]"
