"""Promises about AWS's partitions: one table says what a host is, and botocore's own data agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import botocore
import pytest

from worker.aws.partitions import (
    PARTITIONS,
    console_host,
    is_aws_host,
    is_response_url,
    opensearch_service,
    partition_of,
)

BOTOCORE = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text(encoding="utf-8"))
KNOWN = {entry["id"]: entry for entry in BOTOCORE["partitions"]}
REGIONS = [
    (name, region) for name, entry in KNOWN.items() for region in entry["regions"] if not region.endswith("-global")
]


def test_every_partition_of_botocore_is_in_the_table_with_its_domain() -> None:
    """A partition that is missing here would be taken for the commercial one."""
    domains = {partition.name: partition.suffix for partition in PARTITIONS}

    assert domains == {name: entry["outputs"]["dnsSuffix"] for name, entry in KNOWN.items()}


@pytest.mark.parametrize(("name", "region"), REGIONS)
def test_a_region_is_of_the_partition_that_botocore_says(name: str, region: str) -> None:
    """us-isob-east-1 begins like us-iso, and is not of it."""
    assert partition_of(region).name == name


HOSTS = [
    ("search-d-x.us-east-1.es.amazonaws.com", "es", True),
    ("vpc-d-x.us-gov-west-1.es.amazonaws.com", "es", True),
    ("search-d-x.cn-north-1.es.amazonaws.com.cn", "es", True),
    ("search-d-x.eusc-de-east-1.es.amazonaws.eu", "es", True),
    ("vpc-d-x.us-iso-east-1.es.c2s.ic.gov", "es", True),
    ("search-d-x.aos.us-east-1.on.aws", "es", True),
    ("SEARCH-D-X.AOS.US-EAST-1.ON.AWS", "es", True),
    ("abc.eu-west-1.aoss.amazonaws.com", "aoss", True),
    ("abc.aoss.eu-west-1.on.aws", "aoss", True),
    ("abc.us-gov-west-1.aoss-fips.amazonaws.com", "aoss", True),
    ("lb-1.elb.us-east-1.amazonaws.com", "", True),
    ("logs.example.com", "", False),
    ("amazonaws.com", "", False),
    ("es.amazonaws.com.evil.example", "", False),
    ("search-d-x.us-east-1.es.amazonaws.com.evil.example", "", False),
    ("search-d-x.us-east-1.es.evilamazonaws.com", "", False),
    ("on.aws.example", "", False),
    ("127.0.0.1", "", False),
    ("", "", False),
]


@pytest.mark.parametrize(("host", "service", "is_aws"), HOSTS)
def test_a_host_says_which_service_it_is_of(host: str, service: str, is_aws: bool) -> None:  # noqa: FBT001
    """In China, in sovereign partitions and with dual-stack endpoints as well. Credentials go nowhere else."""
    assert (opensearch_service(host), is_aws_host(host)) == (service, is_aws)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "eu-central-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("eusc-de-east-1", "eusc-de-east-1.console.amazonaws-eusc.eu"),
    ],
)
def test_the_console_is_that_of_the_partition(region: str, host: str) -> None:
    """A link to another partition's console shows a sign-in that cannot succeed."""
    assert console_host(region) == host


BUCKET = "cloudformation-custom-resource-response"


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("us-east-1", f"https://{BUCKET}-useast1.s3.amazonaws.com/arn%3Aaws%3A?X-Amz-Signature=1"),
        ("us-east-2", f"https://{BUCKET}-useast2.s3.us-east-2.amazonaws.com/x"),
        ("eu-west-1", f"https://{BUCKET}-euwest1.s3-eu-west-1.amazonaws.com/x"),
        ("eu-west-1", f"https://{BUCKET}-euwest1.s3.dualstack.eu-west-1.amazonaws.com:443/x"),
        ("ap-southeast-7", f"https://{BUCKET}-ap-southeast-7.s3.ap-southeast-7.amazonaws.com/x"),
        ("cn-north-1", f"https://{BUCKET}-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x"),
        ("us-gov-west-1", f"https://{BUCKET}-usgovwest1.s3-us-gov-west-1.amazonaws.com/x"),
        ("eusc-de-east-1", f"https://{BUCKET}-euscdeeast1.s3.eusc-de-east-1.amazonaws.eu/x"),
    ],
)
def test_cloudformation_s_own_addresses_are_accepted(region: str, url: str) -> None:
    """One that is refused makes a stack wait for an hour."""
    assert is_response_url(url, region)


@pytest.mark.parametrize(
    "url",
    [
        f"http://{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3.amazonaws.com.evil.example/x",
        f"https://{BUCKET}-useast1.s3.amazonaws.com@evil.example/x",
        f"https://user@{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3.amazonaws.com:8443/x",
        f"https://{BUCKET}-useast1.s3.eu-west-1.amazonaws.com/x",
        f"https://{BUCKET}-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x",
        f"https://evil.s3.amazonaws.com/{BUCKET}-useast1/x",
        f"https://evil-{BUCKET}-useast1.s3.amazonaws.com/x",
        "https://127.0.0.1/x",
        "http://127.0.0.1:4566/_ministack/cfn-response/1",
        "https://[bad/x",
        f"https://{BUCKET}-useast1.s3.amazonaws.com:no/x",
        "",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    """Whoever may invoke the function chooses it."""
    assert not is_response_url(url, "us-east-1")
