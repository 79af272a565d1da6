"""What a server reports about itself, and the profile of the mapping that is safe on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import SetupError
from worker.opensearch.errors import NOT_OPENSEARCH
from worker.opensearch.profiles import Profile

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

# Before 2.18 a scalar in a flat_object could send a node into an endless loop
# (github.com/opensearch-project/OpenSearch/issues/15985); 2.19 is the oldest that our tests run against.
_MIN_VERSION = (2, 19)

# A cluster can be configured to report itself as Elasticsearch 7.10. No OpenSearch has such a number yet.
_ELASTICSEARCH_VERSION = (7, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server reports about itself; `compatible` when it needs the compatibility mapping, and why."""

    name: str
    version: str
    compatible: bool
    why: str

    @property
    def number(self) -> tuple[int, ...]:
        """The first two numbers of the version, () where there is none."""
        return version_number(self.version)

    @property
    def profile(self) -> Profile:
        """The profile for this server, as far as its version says."""
        return Profile.COMPATIBILITY if self.compatible else Profile.FLAT


# A collection does not report what it is.
SERVERLESS = Server("OpenSearch Serverless", "", True, "it is not known to support flat_object")


def find_server(client: OpenSearch) -> Server:
    """Read what a server is, and choose the mapping that is safe on it."""
    match client.info():
        case {"version": {"number": str(number)} as version}:
            pass
        case _:
            raise SetupError(f"The {NOT_OPENSEARCH}.")
    if version.get("distribution") != "opensearch":
        return Server("Elasticsearch or compatible", number, True, "flat_object needs OpenSearch")
    if not _MIN_VERSION <= version_number(number) < _ELASTICSEARCH_VERSION:
        return Server("OpenSearch", number, True, "flat_object is safe from OpenSearch 2.19 on")
    return Server("OpenSearch", number, False, "OpenSearch 2.19 and newer index free-form fields as flat_object")


def version_number(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
