"""Promises about databases of addresses: each vendor's members are known, and what is no address has no origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mmdb import write_database
from worker.boards.geoip import AddressOrigin, OriginDatabase
from worker.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

MAXMIND = {"country": {"iso_code": "DE", "names": {"en": "Germany"}}, "city": {"names": {"en": "Berlin"}}}
ASN = {"autonomous_system_number": 64_500, "autonomous_system_organization": "Example Net"}


@pytest.mark.parametrize(
    ("record", "origin"),
    [
        (MAXMIND, AddressOrigin("DE")),
        ({"registered_country": {"iso_code": "FR"}}, AddressOrigin("FR")),
        (ASN, AddressOrigin("", "AS64500 Example Net")),
        ({"autonomous_system_number": 64_501}, AddressOrigin("", "AS64501")),
        ({"country": "US", "asn": "AS64502", "as_name": "Other Net"}, AddressOrigin("US", "AS64502 Other Net")),
        ({"country_code": "NL"}, AddressOrigin("NL")),
        ({"continent": {"code": "EU"}}, AddressOrigin()),
    ],
)
def test_a_vendor_s_members_are_known(tmp_path: Path, record: dict[str, Any], origin: AddressOrigin) -> None:
    """MaxMind and DB-IP nest them, and IPinfo does not."""
    database = OriginDatabase([write_database(tmp_path / "a.mmdb", {"192.0.2.0/24": record})])

    assert database.origin("192.0.2.17") == origin
    assert database.origin("198.51.100.1") == AddressOrigin()


def test_several_databases_complete_each_other(tmp_path: Path) -> None:
    """Countries and networks are sold in files of their own."""
    countries = write_database(tmp_path / "c.mmdb", {"192.0.2.0/24": MAXMIND, "2001:db8::/32": MAXMIND})
    networks = write_database(tmp_path / "n.mmdb", {"192.0.2.0/24": ASN}, ip_version=4)
    database = OriginDatabase([countries, networks])

    assert database.origin("192.0.2.1") == AddressOrigin("DE", "AS64500 Example Net")
    assert database.origin("2001:db8::1") == AddressOrigin("DE")


@pytest.mark.parametrize("text", ["", "None", "cloudtrail.amazonaws.com", "AWS Internal", "192.0.2.1/24", "999.1.1.1"])
def test_what_is_no_address_has_no_origin(tmp_path: Path, text: str) -> None:
    """The member holds the name of a service, where one called."""
    database = OriginDatabase([write_database(tmp_path / "a.mmdb", {"0.0.0.0/1": MAXMIND})])

    assert database.origin(text) == AddressOrigin()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """Vendors deliver archives, and people pass them."""
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b" * 600)

    with pytest.raises(SetupError, match=r"a\.tar\.gz cannot be read: it is no database in MaxMind's format"):
        OriginDatabase([tmp_path / "a.tar.gz"])
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        OriginDatabase([tmp_path / "none.mmdb"])
