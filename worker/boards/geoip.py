"""Looks addresses up in databases of the operator: countries and networks, in MaxMind's format. Nothing is downloaded.

The databases of MaxMind, DB-IP and IPinfo are known by their own members.
dev.maxmind.com/geoip/docs/databases, db-ip.com/db/format, ipinfo.io/developers/database-download
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COUNTRY, NETWORK = "source.country", "source.as"
FIELDS = (COUNTRY, NETWORK)

_CACHED = 100_000


class AddressOrigin(NamedTuple):
    """Where an address is: the country's ISO code, and the autonomous system; "" for what is not known."""

    country: str = ""
    network: str = ""


class OriginDatabase:
    """Databases in one: each answers what it knows. Raises SetupError for a file that cannot be read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if find_spec("maxminddb") is None:
            raise SetupError("--geoip needs maxminddb, which is not installed: pip install 'trailsink[geoip]'.")
        self._readers = [_open(path) for path in paths]
        self.origin: Callable[[str], AddressOrigin] = lru_cache(_CACHED)(self._origin)

    def _origin(self, text: str) -> AddressOrigin:
        """Look one value of sourceIPAddress up; one that is no address, as a service's name, has no origin."""
        try:
            address = ip_address(text)
        except ValueError:
            return AddressOrigin()
        records = [_lookup(reader, address) for reader in self._readers]
        countries, networks = map(_country, records), map(_network, records)
        return AddressOrigin(next(filter(None, countries), ""), next(filter(None, networks), ""))


def _open(path: Path) -> Any:  # noqa: ANN401 - maxminddb's reader
    import maxminddb  # noqa: PLC0415 - only the extra brings it

    try:
        return maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        reason = getattr(error, "strerror", None) or "it is no database in MaxMind's format"
        raise SetupError(f"The database {path} cannot be read: {reason}.") from error


def _lookup(reader: Any, address: Any) -> Mapping[str, Any]:  # noqa: ANN401
    try:
        record = reader.get(address)
    except ValueError:  # an IPv6 address, and a database of IPv4
        return {}
    return record if isinstance(record, dict) else {}


def _country(record: Mapping[str, Any]) -> str:
    match record:
        case {"country": {"iso_code": str(code)}} | {"registered_country": {"iso_code": str(code)}}:
            return code
        case {"country_code": str(code)} | {"country": str(code)}:
            return code
    return ""


def _network(record: Mapping[str, Any]) -> str:
    match record:
        case {"autonomous_system_number": int(number)}:
            return f"AS{number} {record.get('autonomous_system_organization', '')}".rstrip()
        case {"asn": str(number)}:
            return f"{number} {record.get('as_name', '')}".rstrip()
    return ""
