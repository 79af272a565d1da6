"""What OpenSearch costs a month, by the prices and the formula of docs/sizing.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOURS = 730
PER_GIGABYTE = 0.122  # gp3

# Of an event on disk, and AWS's overhead and free space beside it.
_EVENT_BYTES = 577
_OVERHEAD = 1.45
_GIGABYTE = 1_000_000_000
_PER_8_GIB = 0.0835  # an hour, in the r family
_T3_MEDIUM = 0.073
_R_FAMILY = re.compile(r"r\d+[a-z]*\.(medium|(\d*x?)large)\.search")


def monthly_cost(parameters: Mapping[str, str]) -> float | None:
    """Return US dollars a month in us-east-1, 0 without a domain, and None for an instance type without a price."""
    if parameters.get("Destination") != "create-domain":
        return 0.0
    nodes = int(parameters["DomainInstanceCount"])
    data = _hourly(parameters["DomainInstanceType"])
    masters = _hourly(parameters["DomainMasterType"]) if parameters["DomainMasterType"] else 0.0
    if data is None or masters is None:
        return None
    disk = nodes * float(parameters["DomainVolumeGigabytes"]) * PER_GIGABYTE
    return (nodes * data + 3 * masters) * _HOURS + disk


def storage_cost(events_per_day: float, days: int, replicas: int, *, price: float, size: float = 1.0) -> float:
    """Return what the disk for events costs a month, in US dollars, once the index holds all of its days.

    `size` is how large they are beside the mean of all events, and `price` is that of a gigabyte a month.
    """
    octets = events_per_day * days * (1 + replicas) * _EVENT_BYTES * size * _OVERHEAD
    return octets / _GIGABYTE * price


def _hourly(instance_type: str) -> float | None:
    if instance_type == "t3.medium.search":
        return _T3_MEDIUM
    match = _R_FAMILY.fullmatch(instance_type)
    if match is None:
        return None
    return _PER_8_GIB * _units(match[1])


def _units(size: str) -> int:
    """Return the memory of a size in 8 GiB: medium, large, xlarge, 2xlarge and so on."""
    sizes = {"medium": 1, "large": 2, "xlarge": 4}
    return sizes[size] if size in sizes else 4 * int(size.removesuffix("xlarge"))


def describe_cost(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Say what the domain costs a month after a change, "" where there is none and nothing changes."""
    cost, earlier = monthly_cost(after), monthly_cost(before) if before else None
    if cost is None:
        return "The OpenSearch domain has an instance type without a price here; see docs/sizing.md."
    if not cost:
        return ""
    text = f"The OpenSearch domain costs about ${cost:,.0f} a month, in us-east-1 and without traffic: docs/sizing.md."
    return text if earlier in (None, 0.0, cost) else f"{text} Before, it was about ${earlier:,.0f}."
