"""Which values of a record an index cannot take, or takes without making them searchable.

The lists of members follow the index template; a test compares them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from worker.pipeline.limits import MAX_KEYWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lucene's limit of a term, in bytes. A flat_object makes one of each path with its value.
# lucene.apache.org/core/10_0_0/core/org/apache/lucene/index/IndexWriter.html#MAX_TERM_LENGTH
_MAX_TERM = 32_766

# What remains of a value that was cut, in characters, so that a search for its start finds it.
_CUT_AT = 4_096
_MAX_PATH = 8_191

FREE_FORM_ROOTS = frozenset({
    "requestParameters", "responseElements", "serviceEventDetails", "insightDetails", "edgeDeviceDetails",
    "eventContext", "summary",
})  # fmt: skip
OBJECT_ROOTS = frozenset({"userIdentity", "tlsDetails", "resources", "additionalEventData", "addendum", "timeWindow"})
KEYWORD_ROOTS = (
    "eventVersion", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "errorCode",
    "errorMessage", "requestID", "eventID", "eventId", "eventType", "eventCategory", "apiVersion",
    "recipientAccountId", "accountId", "sharedEventID", "vpcEndpointId", "vpcEndpointAccountId",
    "sessionCredentialFromConsole", "readOnly", "managementEvent",
)  # fmt: skip
KNOWN_ROOTS = ("eventTime", *KEYWORD_ROOTS, *sorted(OBJECT_ROOTS | FREE_FORM_ROOTS))

# In place of a path: nothing is known of what cannot be searched.
EVERYTHING = "*"

# A record can have thousands of such values; so many are worth naming one by one.
_MAX_PATHS = 20

_encode = msgspec.json.Encoder().encode


class Shortened(msgspec.Struct, frozen=True):
    """The text of a record without some values, the paths of these, and whether any of them was too long."""

    text: bytes
    paths: list[str]
    too_long: bool


def overlong_paths(record: bytes) -> list[str]:
    """Return the paths of values that are too long for a keyword field: they are stored, and no search finds them."""
    # Hardly any record has such a string. Between two quotes, and escapes only make it longer: bytes are the maximum.
    if max(map(len, record.replace(b'\\"', b"  ").split(b'"'))) <= MAX_KEYWORD:
        return []
    try:
        document = json.loads(record)
    except (ValueError, RecursionError):
        return [EVERYTHING]
    if not isinstance(document, dict):
        return []
    found = {
        _field(path)
        for root, value in document.items()
        if root not in FREE_FORM_ROOTS
        for path, text in leaves(value, root)
        if isinstance(text, str) and _utf16_length(text) > MAX_KEYWORD
    }
    return _bounded(found)


def shorten(record: bytes) -> Shortened | None:
    """Return a record without the values that no index takes, None when it has none or cannot be read.

    These are values and names below free-form members that are longer than a term, and members of another type than
    the index template has: a sentence in place of an object, an object in place of a keyword.
    """
    try:
        document = json.loads(record)
    except (ValueError, RecursionError):
        return None
    shortener = _Shortener()
    shortened = {name: value for name, value in document.items() if not shortener.is_wrong_type(name, value)}
    for name in FREE_FORM_ROOTS & shortened.keys():
        shortened[name] = shortener.cut(shortened[name], name)
    if not shortener.paths:
        return None
    return Shortened(_encode(shortened), _bounded(shortener.paths), shortener.too_long)


class _Shortener:
    """Cuts values, and remembers their paths."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.too_long = False

    def is_wrong_type(self, name: str, value: Any) -> bool:  # noqa: ANN401 - whatever the record holds
        """Return whether a root member has to be left out, because its field cannot take its type."""
        elements = value if isinstance(value, list) else [value]
        if name in KEYWORD_ROOTS:
            wrong = any(isinstance(element, (dict, list)) for element in elements)
        elif name in OBJECT_ROOTS or name in FREE_FORM_ROOTS:
            wrong = any(element is not None and not isinstance(element, dict) for element in elements)
        else:
            wrong = False
        if wrong:
            self.paths.add(name)
        return wrong

    def cut(self, value: Any, path: str) -> Any:  # noqa: ANN401
        """Return a value below a free-form member without what is too long for a term."""
        match value:
            case dict():
                fitting = {name: below for name, below in value.items() if self._fits(name, path)}
                return {name: self.cut(below, f"{path}.{name}") for name, below in fitting.items()}
            case list():
                return [self.cut(element, path) for element in value]
            case str() if len(path.encode()) + 1 + len(value.encode()) > _MAX_TERM:
                self._note(path)
                return value[:_CUT_AT]
            case _:
                return value

    def _fits(self, name: str, path: str) -> bool:
        fits = len(path.encode()) + 1 + len(name.encode()) <= _MAX_PATH
        if not fits:
            self._note(path)
        return fits

    def _note(self, path: str) -> None:
        self.paths.add(path)
        self.too_long = True


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield what a value holds, each with its path: texts, numbers and booleans. Lists have no path of their own."""
    match value:
        case dict():
            for name, below in value.items():
                yield from leaves(below, f"{path}.{name}")
        case list():
            for element in value:
                yield from leaves(element, path)
        case None:
            return
        case _:
            yield path, value


def _field(path: str) -> str:
    """Return the field that cannot find a long value at a path: of error messages, only the keyword."""
    return "errorMessage.keyword" if path == "errorMessage" else path


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _bounded(paths: set[str]) -> list[str]:
    """Return the paths in order; of too many or too long ones the root members that hold them."""
    if len(paths) <= _MAX_PATHS and all(len(path) <= MAX_KEYWORD for path in paths):
        return sorted(paths)
    return sorted({path.partition(".")[0] for path in paths})[:_MAX_PATHS]
