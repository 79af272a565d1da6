"""The document id of a record: a digest of its text, so that only an equal record can take its place.

CloudTrail's own `eventID` is a claim of whoever wrote the file. As a document id it would let a forged record, or one
from a damaged file, keep the true one out of the index for ever.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha256

import msgspec

# OpenSearch packs an id of 22 base64url characters into 16 bytes; the text of a UUID takes 37.
# github.com/opensearch-project/OpenSearch/blob/main/server/src/main/java/org/opensearch/index/mapper/Uid.java
_DIGEST_BYTES = 16
_ID_CHARACTERS = 22
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

# Writers of JSON use the same white space throughout. No space around the first member means a compact record, and
# CloudTrail begins each with this member, so most records need no parser.
_STARTS_COMPACT = re.compile(rb'\{"\w++":"[^"\\]*+","')


def content_id(raw: msgspec.Raw | bytes) -> bytes:
    """Return the id of a record: the first 16 bytes of the SHA-256 of its text, as 22 base64url characters.

    A record that does not start as compact JSON is compacted first: the same record, printed for people or copied by
    another tool, has the same id.
    """
    text = raw if _STARTS_COMPACT.match(raw) else _compact(raw)
    digest = b2a_base64(sha256(text).digest()[:_DIGEST_BYTES], newline=False)
    return digest[:_ID_CHARACTERS].translate(_URL_SAFE)


def _compact(raw: msgspec.Raw | bytes) -> msgspec.Raw | bytes:
    """Return well-formed JSON without white space between its tokens; anything else as it is."""
    try:
        return msgspec.json.format(bytes(raw), indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return raw
