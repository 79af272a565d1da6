"""The fact of which policy of ISM each index follows, for both `trailsink status` and `trailsink doctor`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from opensearchpy.exceptions import TransportError

from worker.health.observe import fact, require
from worker.health.retention_snapshot import IndexPolicies
from worker.opensearch.index_names import is_own_index
from worker.opensearch.managed_indices import managed_pattern, read_attached_policies
from worker.opensearch.schema import name_of

if TYPE_CHECKING:
    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts


class PolicyFacts:
    """What ISM does with the indices of one prefix."""

    def __init__(self, cluster: ClusterFacts, indices: IndexFacts, prefix: str) -> None:
        self._cluster, self._indices, self._prefix = cluster, indices, prefix

    @fact
    def attached(self) -> IndexPolicies | None:
        """Read what each index follows, None on a server without policies."""
        retention = require(self._cluster.retention)
        if retention is None or not retention.has_ism:
            return None
        try:
            policies = read_attached_policies(self._cluster.client, managed_pattern(self._prefix))
        except TransportError as error:
            # A role of a pipeline without retention needs no permission for this.
            if error.status_code == HTTPStatus.FORBIDDEN and not retention.request and not retention.policy:
                return None
            raise
        held = self._indices.held
        own = {
            name: policy
            for name, policy in policies.items()
            # A hold takes the policy away. Where holds may not be read, an index without one may be held.
            if is_own_index(name, self._prefix) and (policy.name if held is None else name not in held)
        }
        return IndexPolicies(name_of(self._prefix), own)
