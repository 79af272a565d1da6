"""AWS's partitions: what follows from a region or from a host's name, in one place for all who ask.

A table and pure functions, which settings may read as well: no SDK, no other module of trailsink.
The domains are those of botocore's partitions.json.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit


class AwsPartition(NamedTuple):
    """One partition: what its regions begin with, the domains of its endpoints, and its console's host."""

    name: str
    region_prefixes: tuple[str, ...]
    suffix: str  # of classic endpoints, as in es.amazonaws.com
    dual_stack: str  # of dual-stack endpoints of OpenSearch, as in aos.us-east-1.on.aws
    console: str


# The default is the first. aws-iso-b stands before aws-iso, whose prefix is shorter.
PARTITIONS = (
    AwsPartition("aws", ("",), "amazonaws.com", "on.aws", "console.aws.amazon.com"),
    AwsPartition("aws-cn", ("cn-",), "amazonaws.com.cn", "on.amazonwebservices.com.cn", "console.amazonaws.cn"),
    AwsPartition("aws-us-gov", ("us-gov-",), "amazonaws.com", "on.aws", "console.amazonaws-us-gov.com"),
    AwsPartition("aws-eusc", ("eusc-",), "amazonaws.eu", "on.amazonwebservices.eu", "console.amazonaws-eusc.eu"),
    AwsPartition("aws-iso-b", ("us-isob-",), "sc2s.sgov.gov", "on.aws.scloud", "console.sc2shome.sgov.gov"),
    AwsPartition("aws-iso", ("us-iso-",), "c2s.ic.gov", "on.aws.ic.gov", "console.c2shome.ic.gov"),
    AwsPartition("aws-iso-e", ("eu-isoe-",), "cloud.adc-e.uk", "on.cloud-aws.adc-e.uk", "console.csphome.adc-e.uk"),
    AwsPartition("aws-iso-f", ("us-isof-",), "csp.hci.ic.gov", "on.aws.hci.ic.gov", "console.csphome.hci.ic.gov"),
)

_SUFFIXES = "|".join(sorted({re.escape(partition.suffix) for partition in PARTITIONS}))
_DUAL_STACK = "|".join(sorted({re.escape(partition.dual_stack) for partition in PARTITIONS}))
_REGION = r"[a-z]{2,4}(?:-[a-z0-9]+)+"

# Texts, which re compiles when they are first needed: a cold start has to wait for what is compiled here.
_AWS_HOST = rf".+\.(?:{_SUFFIXES}|{_DUAL_STACK})"

# NAME.REGION.es.amazonaws.com and NAME.aos.REGION.on.aws, and the same of a collection:
# docs.aws.amazon.com/opensearch-service/latest/developerguide/createupdatedomains.html
_OPENSEARCH_HOST = (
    rf"[a-z0-9-]+\.(?:{_REGION}\.(?P<classic>es|aoss)(?:-fips)?\.(?:{_SUFFIXES})"
    rf"|(?P<dual>aos|aoss)(?:-fips)?\.{_REGION}\.(?:{_DUAL_STACK}))"
)
_SERVICES = {"es": "es", "aos": "es", "aoss": "aoss"}

# The bucket in which CloudFormation waits for the response of a custom resource, as its virtual host: with the region
# behind a dot or, in older regions, a dash.
# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-vpce-bucketnames.html
_RESPONSE_BUCKET = r"cloudformation-custom-resource-response-[a-z0-9-]+"


def partition_of(region: str) -> AwsPartition:
    """Return the partition of a region; the largest one for a region that no other claims."""
    return next(
        (partition for partition in PARTITIONS[1:] if region.startswith(partition.region_prefixes)), PARTITIONS[0]
    )


def is_aws_host(host: str) -> bool:
    """Return whether a host is under one of AWS's own domains, of any partition."""
    return bool(re.fullmatch(_AWS_HOST, host.lower()))


def opensearch_service(host: str) -> str:
    """Return what a host is an endpoint of: "es" a managed domain, "aoss" a collection, "" neither."""
    match = re.fullmatch(_OPENSEARCH_HOST, host.lower())
    return _SERVICES[match["classic"] or match["dual"]] if match else ""


def console_host(region: str) -> str:
    """Return the host of a region's console."""
    return f"{region}.{partition_of(region).console}"


def is_response_url(url: str, region: str) -> bool:
    """Return whether a URL is one at which CloudFormation of a region waits for a custom resource's response."""
    try:
        parts = urlsplit(url)
        has_port = parts.port not in (None, 443)
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username is not None or parts.password is not None or has_port:
        return False
    suffix = re.escape(partition_of(region).suffix)
    host = rf"{_RESPONSE_BUCKET}\.s3(?:[.-](?:dualstack\.)?{re.escape(region)})?\.{suffix}"
    return bool(re.fullmatch(host, parts.hostname or ""))
