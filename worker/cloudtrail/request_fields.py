"""The request parameters that people group events by, picked out of a record's bytes.

OpenSearch cannot group by a path below a `flat_object`; these few are indexed as keywords, too.
docs.opensearch.org/latest/field-types/supported-field-types/flat-object/#limitations
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import msgspec

REQUEST_FIELDS = (
    "attribute", "bucketName", "dBClusterIdentifier", "dBInstanceIdentifier", "functionName", "groupId", "groupName",
    "instanceId", "instanceType", "key", "keyId", "name", "policyArn", "policyName", "publiclyAccessible",
    "resourceArn", "roleArn", "roleName", "secretId", "userName",
)  # fmt: skip

# A keyword of this length is worth no column. S3's longest key has 1,024 bytes, IAM's longest ARN 2,048.
_MAX_BYTES = 2_048

# Values stay text, and a member that is missing is left out when the rest is written again.
RequestParameters: Any = msgspec.defstruct(
    "RequestParameters",
    [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in REQUEST_FIELDS],
    gc=False,
)

_EMPTY = b"{}"
_encode = msgspec.json.Encoder().encode


@lru_cache(2_048)
def _shared(text: bytes) -> bytes:
    """Return one object for equal texts: a file's records are held at once, and many have the same."""
    return text


class _Request(msgspec.Struct, gc=False):
    requestParameters: RequestParameters | None = None  # noqa: N815 - CloudTrail's name


# Built when first needed: hardly any record is examined alone, or by a filter.
_decoder = cache(lambda: msgspec.json.Decoder(_Request))
_parameters_decoder = cache(lambda: msgspec.json.Decoder(RequestParameters | None))


def encode_request(parameters: Any) -> bytes:  # noqa: ANN401 - a RequestParameters, or None
    """Write the parameters of a record as a JSON object, b"" when it has none of them."""
    if parameters is None:
        return b""
    text = _encode(parameters)
    if text == _EMPTY:
        return b""
    # Objects, lists and long values are rare. Quotes may hide a bracket, which costs only time.
    if text.find(b"{", 1) < 0 and b"[" not in text and len(text) <= _MAX_BYTES:
        return _shared(text)
    return _encode_scalars(parameters)


def _encode_scalars(parameters: Any) -> bytes:  # noqa: ANN401
    values = {name: getattr(parameters, name) for name in REQUEST_FIELDS}
    scalars = {
        name: value
        for name, value in values.items()
        if value is not msgspec.UNSET and len(memoryview(value)) <= _MAX_BYTES and bytes(value)[:1] not in b"{["
    }
    return _encode(scalars) if scalars else b""


def read_request(record: bytes) -> bytes:
    """Return what `encode_request` returns for the text of one well-formed record."""
    try:
        return encode_request(_decoder().decode(record).requestParameters)
    except (msgspec.DecodeError, RecursionError):
        return b""


def read_parameters(text: bytes) -> Any:  # noqa: ANN401 - a RequestParameters, or None
    """Return the parameters in the text of a well-formed member, None where it is no object."""
    try:
        return _parameters_decoder().decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
