"""The doctor's look at the cluster: whether the loader may load, and whether events are mapped, kept and searchable."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, SSLError, TransportError

from worker.health.findings import Finding, fault, not_checked, ok, warning
from worker.opensearch.errors import missing_permission
from worker.opensearch.schema import POLICIES, VERSION, index_template, name_of, retention_policy
from worker.opensearch.security import API, fetch_roles, missing_permissions, role_name, roles_mapped_to
from worker.opensearch.setup import SERVERLESS, Server, find_server, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import OpenSearch

    from worker.settings import Settings

_STALE_HOURS = 2  # a trail delivers about every five minutes while anything is called at all
_SHOWN = 3  # of names that stand in a sentence

_ISM = "/_plugins/_ism"
_NO_HANDLER = (400, 404)


class ClusterChecks:
    """One cluster; it is greeted first, and asked nothing more when it does not answer."""

    def __init__(
        self, settings: Settings, client: Callable[[], OpenSearch], now: datetime, loader: Callable[[], str]
    ) -> None:
        self._settings, self._connect, self._now, self._loader = settings, client, now, loader
        self._prefix, self._name = settings.index_prefix, name_of(settings.index_prefix)
        self.is_reached = False

    @cached_property
    def _client(self) -> OpenSearch:
        return self._connect()

    def _ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - a foreign answer
        return self._client.transport.perform_request(method, path, **options)

    # Whether it answers

    def cluster(self) -> Iterator[Finding]:
        """Greet the cluster."""
        url = self._settings.opensearch_url
        try:
            answer = self._ask("GET", "/_cat/indices" if self._settings.is_serverless else "/", params={"ignore": 403})
        except SSLError:
            yield self._untrusted(url)
        except NoConnection as error:
            yield self._silent(url, "the time is over" if error.status_code == "TIMEOUT" else "no connection")
        except TransportError as error:
            if error.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            fix = "give the right user and password (TRAILSINK_OPENSEARCH_SECRET_ARN or _PASSWORD_FILE), or IAM role"
            yield fault("cluster", f"{url} answers, and refuses who signs in here: 401", fix)
        else:
            self.is_reached = True
            number = answer.get("version", {}).get("number", "") if isinstance(answer, dict) else ""
            yield ok("cluster", f"{url} answers{number and f', version {number}'}")

    def _untrusted(self, url: str) -> Finding:
        file = self._settings.opensearch_ca_file
        believed = f"by the authority in {file}" if file else "by a public authority"
        return fault(
            "cluster",
            f"the certificate of {url} is not signed {believed}, or not for this name: tls_failure",
            "set TRAILSINK_OPENSEARCH_CA_FILE to the PEM file of the authority that signed it",
        )

    def _silent(self, url: str, why: str) -> Finding:
        if self._settings.opensearch_host.startswith("vpc-"):
            return not_checked("cluster", f"{url} does not answer here: {why}", "run the doctor inside of its VPC")
        fix = "see whether the cluster runs, and whether TRAILSINK_OPENSEARCH_URL is its address"
        return fault("cluster", f"{url} does not answer: {why}", fix)

    # Whether the loader may load

    def access(self) -> Iterator[Finding]:
        """Compare what the loader needs with what its roles grant."""
        if self._settings.is_serverless:
            return
        try:
            roles = fetch_roles(self._client)
        except TransportError as error:
            if error.status_code != HTTPStatus.FORBIDDEN:
                raise
            yield from self._own_rights()
            return
        if roles is None:
            yield ok("loader's rights", "this server has no fine-grained access control; whoever reaches it may load")
            return
        mappings, loader, ours = self._ask("GET", f"{API}/rolesmapping"), self._loader(), role_name(self._prefix)
        named = roles_mapped_to(mappings, loader) if loader else [name for name in (ours,) if name in roles]
        yield self._granted(loader or f"the role {ours}", [roles[name] for name in named if name in roles])
        if not loader and not any(mappings.get(ours, {}).get(one) for one in ("backend_roles", "users", "hosts")):
            yield self._unmapped(ours)

    def _granted(self, who: str, roles: list[dict[str, Any]]) -> Finding:
        fix = f"trailsink setup --loader-role {who if who.startswith('arn:') else 'ARN'}"
        if not roles:
            return fault("loader's rights", f"{who} is mapped to no role: every batch is parked", fix)
        missing = missing_permissions(self._prefix, roles, self._ask("GET", f"{API}/actiongroups"))
        if missing:
            return fault("loader's rights", f"{who} lacks {', '.join(missing)} for {self._prefix}-*", fix)
        return ok("loader's rights", f"{who} may load into {self._prefix}-*")

    def _unmapped(self, role: str) -> Finding:
        evidence = f"nobody is mapped to the role {role}; whoever loads needs another that lets it"
        return warning("mapping of the loader's role", evidence, "trailsink setup --loader-role ARN")

    def _own_rights(self) -> Iterator[Finding]:
        """Have the cluster say what it would refuse whoever signs in here, where it can do so without doing it.

        From OpenSearch 3.2 on, a request with `perform_permission_check` is judged and not carried out. A search tells
        whether the server knows that; older ones refuse the parameter. github.com/opensearch-project/security/pull/5496
        """
        index = f"{self._prefix}-undated"
        if self._refused("GET", f"/{index}/_search", None) is None:
            evidence = "these credentials may not look at roles"
            yield not_checked("loader's rights", evidence, "run the doctor as a user that may use the security API")
            return
        asked: tuple[tuple[str, str, Any], ...] = (
            ("POST", "/_bulk", f'{{"create":{{"_index":"{index}"}}}}\n{{}}\n'),
            ("PUT", f"/{index}", None),
            ("PUT", f"/{index}/_create/1", {}),
        )
        missing = [one for method, path, body in asked for one in self._refused(method, path, body) or ()]
        who = self._ask("GET", "/_plugins/_security/authinfo").get("user_name", "")
        if missing:
            fix = f"add {', '.join(missing)} to a role of {who}, or map it to the role {role_name(self._prefix)}"
            yield fault("loader's rights", f"{who}, who signs in here, lacks {', '.join(missing)}", fix)
        else:
            yield ok("loader's rights", f"{who}, who signs in here, may load, as far as it can see itself")

    def _refused(self, method: str, path: str, body: Any) -> list[str] | None:  # noqa: ANN401 - the client takes any
        """Return what would be missing for a request; None when the server does not judge without carrying out."""
        params = {"perform_permission_check": "true", "ignore": _NO_HANDLER}
        answer = self._ask(method, path, params=params, body=body)
        return list(answer["missingPrivileges"]) if isinstance(answer, dict) and "accessAllowed" in answer else None

    # How events are kept

    @cached_property
    def _server(self) -> Server:
        return SERVERLESS if self._settings.is_serverless else find_server(self._client)

    @cached_property
    def _templates(self) -> dict[str, dict[str, Any]]:
        return templates(self._client)

    @property
    def _properties(self) -> dict[str, Any]:
        """The fields as this version maps them on such a server."""
        body = index_template(self._prefix, compatible=self._server.compatible)
        properties: dict[str, Any] = body["template"]["mappings"]["properties"]
        return properties

    def template(self) -> Iterator[Finding]:
        """Say whether the index template is ours, current, and as it was made."""
        check, there = "index template", self._templates.get(self._name, {})
        meta = there.get("_meta") or {}
        if meta.get("owner") != "trailsink":
            evidence = f"no index template {self._name} of ours: fields are guessed, and records will be refused"
            yield fault(check, evidence, "trailsink setup")
        elif meta.get("version") != VERSION:
            newer = int(meta.get("version", 0)) > VERSION
            fix = "use the trailsink that made it" if newer else "trailsink setup"
            yield warning(check, f"{self._name} is of version {meta.get('version')}, this is {VERSION}", fix)
        elif changed := _differing(self._properties, there.get("template", {}).get("mappings", {}).get("properties")):
            fix = f"DELETE /_index_template/{self._name} in the cluster, then trailsink setup"
            yield warning(check, f"{self._name} was changed: {_few(changed)}", fix)
        else:
            yield ok(check, f"{self._name} version {VERSION}")

    def mapping(self) -> Iterator[Finding]:
        """Say whether the index that was written to last has our mapping: a template is for new indices only."""
        newest = self._last_written
        if newest is None:
            return
        found: Any = self._client.indices.get_mapping(index=newest)
        changed = _differing(self._properties, found[newest]["mappings"].get("properties"))
        if changed:
            fix = f"trailsink setup, for the next index; to mend {newest}, delete it and announce its files again"
            yield fault("mapping", f"{newest} has other fields than the template: {_few(changed)}", fix)
        else:
            yield ok("mapping", f"{newest}, last written to, has the template's")

    def retention(self) -> Iterator[Finding]:
        """Say whether the retention policy is there, says what was asked for, and is attached to the indices."""
        days, check = self._settings.retention_days, "retention"
        if self._settings.is_serverless:
            yield not_checked(check, "Serverless has no ISM; see the lifecycle policy of the collection")
            return
        if not days:
            yield ok(check, "none asked for; indices are kept")
            return
        try:
            found = self._ask("GET", f"{POLICIES}/{self._name}")
        except NotFoundError:
            yield fault(
                check, f"{days} days asked for, and no policy there", f"trailsink setup --retention-days {days}"
            )
            return
        except TransportError as error:
            if error.status_code not in _NO_HANDLER:
                raise
            evidence = f"{days} days asked for, and this server has no ISM plugin"
            yield warning(check, evidence, "delete old indices yourself, or set TRAILSINK_RETENTION_DAYS to 0")
            return
        wanted = retention_policy(self._prefix, days)["policy"]["description"]
        if found["policy"].get("description") == wanted:
            yield ok(check, wanted)
        else:
            evidence = f"{days} days asked for, the policy says: {found['policy'].get('description')}"
            yield fault(check, evidence, f"trailsink setup --retention-days {days}")
        yield from self._attached()

    def _attached(self) -> Iterator[Finding]:
        """Ask for each index whether a policy takes care of it: one attaches only to indices made after it."""
        check = "retention of each index"
        found = self._ask("GET", f"{_ISM}/explain/{self._prefix}-*")
        indices = {name: one for name, one in found.items() if isinstance(one, dict)}
        without = [name for name, one in sorted(indices.items()) if not one.get(_POLICY_ID)]
        failed = [name for name, one in sorted(indices.items()) if (one.get("action") or {}).get("failed")]
        if without:
            fix = f'POST {_ISM}/add/{self._prefix}-* {{"policy_id": "{self._name}"}}'
            yield fault(check, f"{len(without)} of {len(indices)} have no policy: {_few(without)}", fix)
        elif failed:
            yield fault(
                check, f"the policy failed for {_few(failed)}", f"POST {_ISM}/retry/{','.join(failed[:_SHOWN])}"
            )
        else:
            yield ok(check, f"{len(indices)} of {len(indices)} have a policy")

    # Whether events come

    @cached_property
    def _latest(self) -> dict[str, Any]:
        """The event that was indexed last, as a hit without its source, and the greatest event time."""
        newest = {"trailsink.indexed_at": {"order": "desc", "unmapped_type": "date"}}
        body = {
            "size": 1,
            "_source": False,
            "sort": [newest],
            "aggs": {name: {"max": {"field": field}} for name, field in _NEWEST.items()},
        }
        found: dict[str, Any] = self._client.search(
            index=f"{self._prefix}-*", body=body, params={"ignore_unavailable": "true"}
        )
        return found

    @property
    def _last_written(self) -> str | None:
        hits = self._latest.get("hits", {}).get("hits", [])
        return str(hits[0]["_index"]) if hits else None

    def newest(self) -> Iterator[Finding]:
        """Say how old the newest event is, and when it was indexed."""
        check, times = "newest event", self._latest.get("aggregations", {})
        indexed, event = ((times.get(name) or {}).get("value") for name in ("indexed", "event"))
        if not indexed or not event:
            fix = "see whether files arrive in the bucket, messages in the queue, and what the consumer logs"
            yield warning(check, "there is none", fix)
            return
        hours = (self._now - datetime.fromtimestamp(indexed / 1000, UTC)).total_seconds() / 3600
        evidence = f"of {datetime.fromtimestamp(event / 1000, UTC):%Y-%m-%d %H:%M}, indexed {hours:.1f} h ago"
        if hours < _STALE_HOURS:
            yield ok(check, evidence)
        else:
            yield warning(check, evidence, "see whether files arrive in the bucket and messages in the queue")


_NEWEST = {"event": "@timestamp", "indexed": "trailsink.indexed_at"}
_POLICY_ID = "index.plugins.index_state_management.policy_id"


def cannot_look(check: str, error: OpenSearchException) -> Finding:
    """Say why the cluster does not let itself be looked at, and what permission would."""
    if not isinstance(error, TransportError):
        return not_checked(check, f"OpenSearch: {type(error).__name__}")
    if permission := missing_permission(error):
        fix = f"give who signs in here {permission}, or run the doctor as an administrator"
        return not_checked(check, f"who signs in here lacks {permission}", fix)
    return not_checked(check, f"OpenSearch answers {error.status_code}: {error.error}")


def _differing(ours: dict[str, Any], theirs: dict[str, Any] | None, path: str = "") -> list[str]:
    """Name our fields that are missing, or of another type, among theirs; what they have beside is theirs."""
    found = []
    for name, field in ours.items():
        other = (theirs or {}).get(name)
        if other is None or other.get("type", "object") != field.get("type", "object"):
            found.append(f"{path}{name}")
        else:
            found += _differing(field.get("properties", {}), other.get("properties"), f"{path}{name}.")
    return found


def _few(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
