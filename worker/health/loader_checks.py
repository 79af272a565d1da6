"""The doctor's checks of the loader's rights in a cluster with fine-grained access control."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.observe import fact, require
from worker.health.snapshot import Unobserved
from worker.opensearch.security import API, fetch_roles, missing_permissions, role_name, roles_mapped_to
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.health.cluster_facts import ClusterFacts
    from worker.settings import Settings

_NO_HANDLER = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)


class LoaderChecks:
    """What the loader's roles grant.

    `loader` returns the loader's ARN as the cluster knows it. Without one, the role of `trailsink setup` is checked.
    """

    def __init__(self, settings: Settings, facts: ClusterFacts, loader: Callable[[], str]) -> None:
        self._settings, self._facts, self._loader = settings, facts, loader
        self._prefix, self._role = settings.index_prefix, role_name(settings.index_prefix)

    @fact
    def roles(self) -> dict[str, Any] | None:
        """Read the cluster's roles by name, None where it has no fine-grained access control."""
        return fetch_roles(self._facts.client)

    @fact
    def mappings(self) -> dict[str, Any]:
        """Read to whom each role is mapped."""
        mappings: dict[str, Any] = self._facts.ask("GET", f"{API}/rolesmapping")
        return mappings

    @check("loader's rights")
    def rights(self) -> Iterator[Judgement]:
        """Compare what the loader needs with what its roles grant."""
        if self._settings.is_serverless:
            return
        if _is_forbidden(self.roles):
            yield self._judge_own_rights()
            return
        roles = require(self.roles)
        if roles is None:
            yield Judgement.ok("this server has no fine-grained access control; whoever reaches it may load")
            return
        loader, mappings = self._loader(), require(self.mappings)
        names = roles_mapped_to(mappings, loader) if loader else [self._role]
        yield self._judge_roles(loader or f"the role {self._role}", [roles[name] for name in names if name in roles])

    def _judge_roles(self, loader: str, roles: list[dict[str, Any]]) -> Judgement:
        fix = f"trailsink setup --loader-role {loader if loader.startswith('arn:') else 'ARN'}"
        if not roles:
            return Judgement.fault(f"{loader} is mapped to no role: every batch is parked", fix)
        groups, has_ledger = self._facts.ask("GET", f"{API}/actiongroups"), self._settings.ledger
        missing = missing_permissions(self._prefix, roles, groups, ledger=has_ledger)
        if missing:
            places = f"{self._prefix}-*" + (f" or {ledger_pattern(self._prefix)}" if has_ledger else "")
            return Judgement.fault(f"{loader} lacks {', '.join(missing)} for {places}", fix)
        return Judgement.ok(f"{loader} may load into {self._prefix}-*")

    @check("mapping of the loader's role")
    def mapping(self) -> Iterator[Judgement]:
        """Check that the role of `trailsink setup` has a mapping, where the loader is not known."""
        roles = self.roles
        if self._settings.is_serverless or isinstance(roles, Unobserved) or roles is None or self._loader():
            return
        mapping = require(self.mappings).get(self._role, {})
        if not any(mapping.get(member) for member in ("backend_roles", "users", "hosts")):
            evidence = f"the role {self._role} has no mapping; the loader needs another role with these permissions"
            yield Judgement.warning(evidence, "trailsink setup --loader-role ARN")

    def _judge_own_rights(self) -> Judgement:
        """Judge which requests the cluster would refuse this user, if it can check that without carrying them out.

        From OpenSearch 3.2 on, a request with `perform_permission_check` is checked and not carried out. A search shows
        whether the server knows that; older ones refuse the parameter. github.com/opensearch-project/security/pull/5496
        """
        index = f"{self._prefix}-undated"
        if self._missing_privileges("GET", f"/{index}/_search") is None:
            fix = "run the doctor as a user that may use the security API"
            return Judgement.not_checked("these credentials may not read roles", fix)
        requests: tuple[tuple[str, str, Any], ...] = (
            ("POST", "/_bulk", f'{{"create":{{"_index":"{index}"}}}}\n{{}}\n'),
            ("PUT", f"/{index}", None),
            ("PUT", f"/{index}/_create/1", {}),
        )
        missing = [name for request in requests for name in self._missing_privileges(*request) or ()]
        user = self._facts.ask("GET", "/_plugins/_security/authinfo").get("user_name", "")
        if missing:
            fix = f"add {', '.join(missing)} to a role of {user}, or map it to the role {self._role}"
            return Judgement.fault(f"{user}, who signs in here, lacks {', '.join(missing)}", fix)
        return Judgement.ok(f"{user}, who signs in here, may load, as far as it can check itself")

    def _missing_privileges(self, method: str, path: str, body: Any = None) -> list[str] | None:  # noqa: ANN401
        """Return what the user lacks for a request; None when the server does not check without carrying it out."""
        params = {"perform_permission_check": "true", "ignore": _NO_HANDLER}
        response = self._facts.ask(method, path, params=params, body=body)
        is_check = isinstance(response, dict) and "accessAllowed" in response
        return list(response["missingPrivileges"]) if is_check else None


def _is_forbidden(observed: object) -> bool:
    error = observed.error if isinstance(observed, Unobserved) else None
    return isinstance(error, TransportError) and error.status_code == HTTPStatus.FORBIDDEN
