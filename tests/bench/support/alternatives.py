"""The ways to keep CloudTrail in OpenSearch that `cluster.mapping` measures: what is mapped, and what is sent."""

from __future__ import annotations

import json
import random
import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from worker.opensearch.profiles import Profile
from worker.opensearch.schema import index_template
from worker.pipeline.documents import FIRST_EVENT, IndexNaming, Provenance, to_actions
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.cloudtrail.records import Record

ROUTING = IndexNaming("bench", Partition.DAY, FIRST_EVENT, "2100-01-01", 100)
# The 55 files of tests/data hold 53 each; what a document says of its file is as long as it is in an account's bucket.
RECORDS_OF_A_FILE = 50

CHOSEN = "trailsink"
FLATTENED = "flattened text + raw JSON"
BARE = "the time only"

_SETTINGS: dict[str, Any] = {"number_of_shards": 1, "number_of_replicas": 0}


@dataclass(frozen=True, slots=True)
class Alternative:
    """An index and what goes into it: `document` turns a record into one line of JSON, without its line break.

    `refresh_seconds` is how often it is made searchable.
    """

    name: str
    document: Callable[[Record], bytes]
    mappings: dict[str, Any]
    settings: dict[str, Any]
    refresh_seconds: int = 10

    def but(self, name: str, **settings: Any) -> Alternative:
        """Return the same with another setting; the dots of its name are written as underlined pairs."""
        changed = {key.replace("__", "."): value for key, value in settings.items()}
        return replace(self, name=name, settings=self.settings | changed)


def only_the_time() -> Alternative:
    """The chosen documents with nothing searchable but their time: what any mapping costs at the least."""
    chosen = alternatives()[0]
    return replace(chosen, name=BARE, mappings={"dynamic": False, "properties": {"@timestamp": {"type": "date"}}})


def alternatives() -> list[Alternative]:
    """Return all that people might use, the chosen one first, and what it is held against second."""
    full, compatible, dynamic = (
        index_template("bench", profile, replicas=0)["template"]
        for profile in (Profile.FLAT, Profile.COMPATIBILITY, Profile.DYNAMIC)
    )
    chosen = Alternative(CHOSEN, spliced, full["mappings"], full["settings"])
    flattened = Alternative(FLATTENED, flattened_text, FLATTENED_MAPPINGS, FLATTENED_SETTINGS)
    flat = {"dynamic": False, "properties": _all_flat(full["mappings"]["properties"])}
    paths = compatible["mappings"] | {"_source": {"excludes": ["paths"]}}
    paths["properties"] = paths["properties"] | {"paths": {"type": "keyword", "doc_values": False}}
    return [
        chosen,
        flattened,
        flattened.but("flattened, best_compression", index__codec="best_compression"),
        Alternative("default dynamic mapping", as_it_is, {}, _SETTINGS),
        replace(chosen, name="every object flat_object", mappings=flat),
        replace(chosen, name="free-form objects stored only", mappings=compatible["mappings"]),
        replace(chosen, name="path=value keywords, not in _source", document=with_paths, mappings=paths),
        chosen.but("trailsink, default codec", index__codec="default"),
        chosen.but("trailsink, sorted by time", index__sort__field="@timestamp", index__sort__order="desc"),
        chosen.but("trailsink, log_byte_size merges", index__merge__policy="log_byte_size"),
        replace(
            chosen, name="trailsink, generation 1", document=without_request, mappings=generation_1(full["mappings"])
        ),
        replace(chosen, name="trailsink, no request fields", document=without_request),
        replace(chosen, name="trailsink, whole request copied", document=with_whole_request),
        profiled := Alternative("profile dynamic", spliced, dynamic["mappings"], dynamic["settings"]),
        replace(profiled, name="profile dynamic, no inner objects", mappings=_but(profiled, "fields")),
        replace(profiled, name="profile dynamic, nor values", mappings=_but(profiled, "fields", "copy_to")),
        replace(profiled, name="profile dynamic, no columns", mappings=_but(profiled, "fields", doc_values=False)),
        replace(chosen, name="trailsink, refresh 1 s", refresh_seconds=1),
        replace(chosen, name="trailsink, refresh 30 s", refresh_seconds=30),
    ]


def spliced(record: Record) -> bytes:
    """The road's own document."""
    file, position = divmod(record.position, RECORDS_OF_A_FILE)
    origin = Provenance(_uri(file), "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z")
    action = next(to_actions([msgspec.structs.replace(record, position=position)], 0, origin, ROUTING))
    return action.lines.split(b"\n")[1]


def without_request(record: Record) -> bytes:
    """The road's document without the parameters that are indexed twice."""
    return spliced(msgspec.structs.replace(record, request=b""))


def with_whole_request(record: Record) -> bytes:
    """The road's document with a copy of all request parameters, which takes no parser."""
    text = bytes(_MEMBERS(bytes(record.raw)).requestParameters).replace(b"\n", b" ")
    return spliced(msgspec.structs.replace(record, request=b"" if text == b"null" else text))


class _Members(msgspec.Struct):
    requestParameters: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815 - CloudTrail's name


_MEMBERS = msgspec.json.Decoder(_Members).decode


def generation_1(mappings: dict[str, Any]) -> dict[str, Any]:
    """The mapping before `trailsink.request`, with `source.ip` as an alias."""
    properties = msgspec.json.decode(msgspec.json.encode(mappings["properties"]))
    ours = properties["trailsink"]["properties"]
    del ours["request"], ours["unsearchable"], properties["sourceIPAddress"]["copy_to"]
    properties["source"]["properties"]["ip"] = {"type": "alias", "path": "sourceIPAddress.ip"}
    properties["eventTime"] = {"type": "date"}
    added = properties["additionalEventData"]["properties"]
    for name in _ADDED:
        del added[name]
    return mappings | {"properties": properties}


_ADDED = (
    "aclRequired", "Name", "ARN", "SamlProviderArn", "MfaType", "AuthWorkflowID", "UserPoolId", "userPoolId",
    "functionVersion", "SecretId", "VersionId", "Detail", "customKeyStoreId", "authType",
)  # fmt: skip


def _but(profiled: Alternative, *without: str, **changes: Any) -> dict[str, Any]:
    """The mapping of the dynamic profile with something left out of each path's field, or changed in it."""
    fields = profiled.mappings["dynamic_properties"]
    changed = {
        path: {name: value for name, value in field.items() if name not in without} | changes
        for path, field in fields.items()
    }
    return profiled.mappings | {"dynamic_properties": changed}


def _uri(file: int) -> str:
    end = "".join(random.Random(file).choices(string.ascii_letters + string.digits, k=16))
    folder = "s3://acme-trail/AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/10"
    return f"{folder}/218007301253_CloudTrail_us-east-1_20230710T1200Z_{end}.json.gz"


def as_it_is(record: Record) -> bytes:
    """The record, on one line."""
    return bytes(record.raw).replace(b"\n", b" ")


# What the successor of the seed does (github.com/chariotsolutions/aws-examples, cloudtrail_to_elasticsearch, README and
# DEFAULT_INDEX_CONFIG): three members are replaced by their leaves, each under its own last name as text, and by their
# JSON as one string; all else is left to dynamic mapping, which makes the string a text and, up to 256 characters, a
# keyword.
FLATTENED_MEMBERS = ("requestParameters", "responseElements", "resources")
FLATTENED_MAPPINGS: dict[str, Any] = {
    "dynamic_templates": [
        {name: {"path_match": f"{name}_flattened.*", "mapping": {"type": "text"}}} for name in FLATTENED_MEMBERS
    ],
    "properties": {"apiVersion": {"type": "text"}},
}
FLATTENED_SETTINGS = _SETTINGS | {"index.mapping.total_fields.limit": 8192}


def flattened_text(record: Record) -> bytes:
    """The successor's document, written with json.dumps as it does."""
    event = json.loads(bytes(record.raw))
    for name in FLATTENED_MEMBERS:
        found = event.pop(name, None)
        if found and not isinstance(found, dict | list):
            event[name] = found
        elif found:
            values: dict[str, dict[str, None]] = {}
            for leaf, value in _leaves(name, found):
                values.setdefault(leaf.replace(".", "_"), {})[str(value)] = None
            event[f"{name}_raw"] = json.dumps(found)
            event[f"{name}_flattened"] = {leaf: list(several) for leaf, several in values.items()}
    return json.dumps(event).encode()


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield each leaf under the name nearest to it; a member without a name is left out, as there."""
    match value:
        case dict():
            for key, one in value.items():
                if key:
                    yield from _leaves(key, one)
        case list():
            for one in value:
                yield from _leaves(name, one)
        case _:
            yield name, value


def with_paths(record: Record) -> bytes:
    """The road's own document, and the leaves of its free-form members as a list of "path=value"."""
    event = json.loads(bytes(record.raw))
    free = ("requestParameters", "responseElements", "serviceEventDetails")
    paths = [f"{path}={value}" for name in free for path, value in _paths(name, event.get(name))]
    return spliced(record)[:-1] + b',"paths":' + json.dumps(paths).encode() + b"}"


def _paths(path: str, value: object) -> Iterator[tuple[str, object]]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _paths(f"{path}.{key}", one)
        case list():
            for one in value:
                yield from _paths(path, one)
        case None:
            pass
        case _:
            yield path, value


def _all_flat(properties: dict[str, Any]) -> dict[str, Any]:
    """Make each of CloudTrail's objects a flat_object; the ECS names go, since they cannot point into one."""
    return {
        name: {"type": "flat_object"} if field.get("type") == "object" and name != "trailsink" else field
        for name, field in properties.items()
        if "type" in field
    }
