"""The doctor's checks of the cluster: whether it answers, and whether events are mapped, kept and searchable."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import SSLError, TransportError

from worker.errors import UnsafeAddress
from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.flow_rules import judge_days, judge_fields, missing_days
from worker.health.observe import judge_unobserved, require
from worker.health.retention_rules import judge_index_policies, judge_retention
from worker.health.rules import judge_health
from worker.health.snapshot import Unobserved
from worker.health.template_rules import judge_template
from worker.opensearch.errors import is_redirect, speaks_no_tls
from worker.opensearch.schema import CHANGED_SINCE, generation_of
from worker.opensearch.template_content import differing_fields, fields_of, missing_core_fields
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts
    from worker.health.policy_facts import PolicyFacts
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class ClusterChecks:
    """One cluster, and the indices of one prefix in it."""

    settings: Settings
    facts: ClusterFacts
    indices: IndexFacts
    policies: PolicyFacts
    now: datetime

    @property
    def is_answering(self) -> bool:
        """Whether the cluster answers and accepts the sign-in."""
        return not isinstance(self.facts.version, Unobserved)

    # Whether it answers

    @check("cluster")
    def cluster(self) -> Iterator[Judgement]:
        """Check that the cluster answers."""
        url, version = self.settings.opensearch_url, self.facts.version
        if isinstance(version, Unobserved):
            yield self._judge_silence(url, version)
        else:
            yield Judgement.ok(f"{url} answers{version.number and f', version {version.number}'}")

    def _judge_silence(self, url: str, silence: Unobserved) -> Judgement:
        match silence.error:
            case UnsafeAddress() as error:
                return Judgement.fault(error.why, error.fix)
            case NoConnection() as error:
                return self._judge_no_connection(url, error, silence.why)
            case TransportError(status_code=HTTPStatus.UNAUTHORIZED):
                fix = "set the right user and password (TRAILSINK_OPENSEARCH_SECRET_ARN or _PASSWORD_FILE), or IAM role"
                return Judgement.fault(f"{url} answers, and refuses this sign-in: 401", fix)
            case TransportError() as error if is_redirect(error):
                fix = "set TRAILSINK_OPENSEARCH_URL to the address that it names, if that is your cluster"
                return Judgement.fault(f"{url} answers with a redirect, which is not followed", fix)
        return judge_unobserved(silence)

    def _judge_no_connection(self, url: str, error: NoConnection, why: str) -> Judgement:
        if isinstance(error, SSLError):
            if speaks_no_tls(error):
                return Judgement.fault(f"{url} does not speak TLS", "set TRAILSINK_OPENSEARCH_URL to http://")
            return self._judge_certificate(url)
        if self.settings.opensearch_host.startswith("vpc-"):
            return Judgement.not_checked(f"{url} does not answer here: {why}", "run the doctor inside its VPC")
        fix = "check that the cluster runs, and that TRAILSINK_OPENSEARCH_URL is its address"
        return Judgement.fault(f"{url} does not answer: {why}", fix)

    def _judge_certificate(self, url: str) -> Judgement:
        file = self.settings.opensearch_ca_file
        authority = f"the authority in {file}" if file else "a public authority"
        return Judgement.fault(
            f"the certificate of {url} is not signed by {authority}, or not for this name: tls_failure",
            "set TRAILSINK_OPENSEARCH_CA_FILE to the PEM file of the authority that signed it",
        )

    @check("health")
    def health(self) -> Iterator[Judgement]:
        """Check the health that the cluster reports."""
        yield judge_health(require(self.facts.cluster))

    # How events are stored

    @check("index template")
    def template(self) -> Iterator[Judgement]:
        """Check that the index template is trailsink's, current, and unchanged."""
        template = require(self.facts.template)
        judgement = judge_template(template)
        yield judgement._replace(evidence=f"{template.name}: {judgement.evidence}")

    @check("mapping")
    def mapping(self) -> Iterator[Judgement]:
        """Check the mapping of the index that was written last: a template applies only to new indices."""
        index = require(self.indices.last_written)
        if index is None:
            return
        response: Any = self.facts.client.indices.get_mapping(index=index)
        mappings = response[index]["mappings"]
        expected, actual = fields_of(self.facts.expected_template(mappings)), mappings.get("properties")
        older = CHANGED_SINCE.get(generation_of(mappings), frozenset())
        differing = [*differing_fields(expected, actual, ignore_missing=True), *missing_core_fields(actual)]
        changed = [name for name in differing if name not in older]
        missing = [name for name in differing_fields(expected, actual) if name not in changed]
        yield judge_fields(index, missing, changed)

    @check("retention")
    def retention(self) -> Iterator[Judgement]:
        """Check that the retention policy exists, and keeps events as long as the settings ask."""
        yield judge_retention(require(self.facts.retention))

    @check("retention of each index")
    def attached_policies(self) -> Iterator[Judgement]:
        """Check that a policy is attached to each index: it attaches only to indices that are created after it."""
        policies = require(self.policies.attached)
        retention = require(self.facts.retention)
        if policies and retention and (judgement := judge_index_policies(retention, policies)):
            yield judgement

    # Whether events arrive

    @check("daily indices")
    def days(self) -> Iterator[Judgement]:
        """Check that no day between others lacks its index, as after somebody deleted it."""
        sizes = require(self.indices.sizes)
        if self.settings.index_partition is Partition.DAY and sizes:
            yield judge_days(missing_days((index.name for index in sizes), self.now, self.settings.retention_days))
