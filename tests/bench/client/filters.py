"""What filters cost the client: W1 with none, one and ten selectors, of which none leaves anything out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from tests.bench.client.cpu import cpu_seconds
from tests.bench.support.pipeline_bench import bodies, our_actions
from tests.bench.support.ratios import Ratio, in_turn, quotients
from tests.bench.support.workloads import one_file
from worker.cloudtrail.filters.matching import RecordFilter
from worker.cloudtrail.filters.selectors import parse_selectors

if TYPE_CHECKING:
    from pathlib import Path

_SERVICES = ("ec2", "s3", "kms", "sts", "iam", "lambda", "logs", "dynamodb", "rds", "ssm")


def _made(fields: dict[str, dict[str, list[str]]], name: str) -> dict[str, Any]:
    return {"Name": name, "FieldSelectors": [{"Field": field} | rule for field, rule in fields.items()]}


def _usual(number: int) -> dict[str, Any]:
    """As people write them: a service, some of its reads, and who calls."""
    service = _SERVICES[number]
    fields = {
        "eventSource": {"Equals": [f"{service}.amazonaws.com"]},
        "readOnly": {"Equals": ["true"]},
        "eventName": {"StartsWith": ["Describe", "List", "Get"]},
        "userIdentity.sessionContext.sessionIssuer.arn": {"Equals": [f"arn:aws:iam::1:role/nobody-{number}"]},
    }
    return _made(fields, f"reads of {service}")


def _dearest(number: int) -> dict[str, Any]:
    """No field has few values, so each selector looks into each record."""
    fields = {
        "userIdentity.arn": {"StartsWith": [f"arn:aws:iam::1:user/nobody-{number}"]},
        "requestParameters.bucketName": {"Equals": [f"nothing-{number}"]},
    }
    return _made(fields, f"a caller and a bucket {number}")


def _filter(selectors: list[dict[str, Any]]) -> RecordFilter:
    return RecordFilter(parse_selectors(orjson.dumps(selectors), "bench"))


def with_filters(folder: Path, rounds: int, records: int = 20_000) -> list[Ratio]:
    """W1 with selectors, beside W1 without."""
    file = one_file(folder, records)
    filters = {
        "none": None,
        "one": _filter([_usual(0)]),
        "ten": _filter([_usual(number) for number in range(10)]),
        "dear": _filter([_dearest(number) for number in range(10)]),
    }

    def bodies_of(record_filter: RecordFilter | None) -> int:
        return sum(documents for _, documents in bodies(our_actions(file, record_filter=record_filter)))

    spent = in_turn({name: cpu_seconds(partial(bodies_of, each), records) for name, each in filters.items()}, rounds)
    what = "W1 records per CPU-second, bodies out, with"
    return [
        Ratio(f"{what} 1 selector", "without a filter", quotients(spent["none"], spent["one"]), at_least=0.8),
        Ratio(f"{what} 10 selectors", "without a filter", quotients(spent["none"], spent["ten"]), at_least=0.8),
        Ratio(f"{what} 10 on callers alone", "without a filter", quotients(spent["none"], spent["dear"])),
    ]
