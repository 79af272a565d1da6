"""One day's new index: creates it beside the old one, fills it, and puts it in the old one's place in one request.

While it grows, the copy has a name that no search matches. Before the last events are copied, the old index gets a
write block: consumers hand their messages back to the queue, and load them after the swap.
docs.opensearch.org/latest/api-reference/index-apis/blocks/
docs.opensearch.org/latest/api-reference/alias/aliases-api/
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from worker.opensearch.index_names import abandoned_mark, next_copy, unfinished_mark
from worker.opensearch.managed_indices import attach_existing_policy
from worker.opensearch.reindex.days import read_copies, read_states
from worker.opensearch.reindex.filler import CopyStopped
from worker.opensearch.schema import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import OpenSearch

    from worker.opensearch.reindex.days import Copy, IndexState, Template
    from worker.opensearch.reindex.filler import CopyFiller, CopyProgress
    from worker.opensearch.reindex.lease import Lease

# How long the copy's replicas may take to begin: unassigned for longer, no node takes them.
_REPLICA_SECONDS = 120.0
_POLL_SECONDS = 1.0

_ATTEMPTS = 5

_REPLICAS, _REFRESH = "index.number_of_replicas", "index.refresh_interval"


class IndexReplacement:
    """The replacement of one index by a copy with the template's mapping.

    `make_filler` gets the alias of the copy, and returns what fills it.
    """

    def __init__(  # noqa: PLR0913 - each is independent
        self,
        client: OpenSearch,
        state: IndexState,
        template: Template,
        lease: Lease,
        make_filler: Callable[[str], CopyFiller],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._state, self._template, self._lease = client, state, template, lease
        # With a mark of its own, no late request of an earlier process can swap or fill this copy.
        self._copy, self._mark = next_copy(state.name, state.index), unfinished_mark(state.name, secrets.token_hex(4))
        self._filler = make_filler(self._mark)
        self._remembered: dict[str, Any] = {}
        self._sleep = sleep
        self._was_blocked = "write" in state.blocks
        self.events = 0  # once both indices were compared
        self.remark = ""  # about what is in place

    # CopyFiller it

    def prepare(self, copy: Copy | None) -> None:
        """Create the copy, or go on with the one of an interrupted run if it is of the same index."""
        if copy and not self._can_go_on(copy.state):
            abandon(self._client, copy, self._state)
            copy = None
        if not copy:
            self._create()
            return
        self._was_blocked = bool(copy.state.meta["reindex"]["was_blocked"])
        actions = [
            {"remove": {"index": self._copy, "alias": copy.mark, "must_exist": True}},
            {"add": {"index": self._copy, "alias": self._mark}},
        ]
        self._client.indices.update_aliases(body={"actions": actions})

    def _can_go_on(self, copy: IndexState) -> bool:
        memory = copy.meta.get("reindex") or {}
        return (
            copy.index == self._copy
            and memory.get("source") == self._state.uuid
            and not copy.blocks
            and not self._template.is_newer(copy)
            and self._filler.resume(memory)
        )

    def _create(self) -> None:
        settings = self._template.settings | {"number_of_replicas": 0, "refresh_interval": "-1"}
        # ISM counts an index's age from its creation, and the events are as old as they were. OpenSearch 2.19 sets
        # no such date, 3.8 does.
        dated = settings | {"creation_date": self._state.settings["creation_date"]}
        try:
            self._client.indices.create(index=self._copy, body=self._body(dated))
        except RequestError as error:
            if "creation_date" not in str(error.info):
                raise
            self._client.indices.create(index=self._copy, body=self._body(settings))

    def _body(self, settings: dict[str, Any]) -> dict[str, Any]:
        mappings = self._template.mappings | {"_meta": self._meta()}
        return {"settings": {"index": settings}, "mappings": mappings, "aliases": {self._mark: {}}}

    def _meta(self) -> dict[str, Any]:
        memory = {"source": self._state.uuid, "was_blocked": self._was_blocked} | self._filler.memory
        return (self._template.mappings.get("_meta") or {}) | {"reindex": memory}

    def fill(self) -> Iterator[CopyProgress]:
        """Fill the copy while events arrive, until little is left; yields progress."""
        for progress in self._filler.fill():
            self._remember()
            yield progress

    def _remember(self) -> None:
        """Note in the mapping of the copy how far it is, where that has changed: each note is work for the master."""
        memory = self._filler.memory
        if memory != self._remembered:
            self._client.indices.put_mapping(index=self._copy, body={"_meta": self._meta()})
            self._remembered = memory

    def settle(self) -> None:
        """Give the copy its settings and the policy, and wait until it is as safe as the old index."""
        settings = {_REPLICAS: self._state.replicas, _REFRESH: self._template.settings.get("refresh_interval")}
        self._client.indices.put_settings(index=self._copy, body=settings)
        attach_existing_policy(self._client, name_of(self._template.prefix), self._copy)
        waited = 0.0
        while not self._is_safe():
            self._lease.hold()
            self._sleep(_POLL_SECONDS)
            waited = waited + _POLL_SECONDS if not self._health(self._copy)["initializing_shards"] else 0.0
            if waited >= _REPLICA_SECONDS:
                raise CopyStopped("no node takes the replicas of the copy: free disk, or use fewer replicas")

    def _is_safe(self) -> bool:
        copy, index = self._health(self._copy)["status"], self._health(self._state.index)["status"]
        # A cluster of one node has no replicas, and the old index none to lose.
        return bool(copy == "green" or (copy == "yellow" and index != "green"))

    def _health(self, index: str) -> Any:  # noqa: ANN401 - a foreign answer
        return self._client.cluster.health(index=index)

    # Putting it in place

    def finish(self) -> None:
        """Block writes, copy the rest, compare, and swap; raises CopyStopped."""
        self._lease.hold()
        if not self._was_blocked:
            self._block_writes()
        self._filler.fill_rest()
        self.events = self._filler.compare()
        if self._was_blocked:
            self._client.indices.put_settings(index=self._copy, body={"index.blocks.write": True})
        self.remark = _remark(self._client, self._copy, self._state)
        self._lease.hold()
        _check_block(self._client, self._state.index)
        self._swap()

    def _block_writes(self) -> None:
        """Block writes; the cluster answers when those in flight have ended.

        It does not wait for them where the block is there already, as from a run that was killed. So that is lifted.
        """
        index = self._state.index
        for _ in range(_ATTEMPTS):
            response: Any = self._client.transport.perform_request("PUT", f"/{index}/_block/write")
            if response.get("acknowledged") and response.get("shards_acknowledged"):
                return
            _despite_full_disk(self._client, index, lambda: _lift(self._client, index, "write"))
            self._sleep(_POLL_SECONDS)
            self._lease.hold()
        raise CopyStopped("the cluster does not block writes in time")

    def _swap(self) -> None:
        """Remove the old index and give the copy its name and its aliases, in one change of the cluster's state."""
        aliases = {self._state.name: {}} | self._state.aliases
        actions = [
            {"remove": {"index": self._copy, "alias": self._mark, "must_exist": True}},
            *({"add": {"index": self._copy, "alias": name} | body} for name, body in aliases.items()),
            {"remove_index": {"index": self._state.index}},
        ]
        self._client.indices.update_aliases(body={"actions": actions})

    # Giving it up

    def give_up(self) -> bool:
        """Lift the block of the old index and delete the copy, so that all is as it was.

        Returns False where the copy is in place already: the response to the swap was lost.
        """
        self._lease.hold()
        for copy in read_copies(self._client, self._template.prefix):
            if copy.state.index == self._copy:
                abandon(self._client, copy, self._state)
        return all(state.index != self._copy for state in read_states(self._client, self._template.prefix))


def _check_block(client: OpenSearch, index: str) -> None:
    response: Any = client.indices.get_settings(index=index, name="index.blocks.write")
    blocks = response.get(index, {}).get("settings", {}).get("index", {}).get("blocks", {})
    if str(blocks.get("write")) != "true":
        raise CopyStopped("somebody lifted the write block before the swap")


def _remark(client: OpenSearch, copy: str, state: IndexState) -> str:
    """Return what an operator should know of a copy that is about to be put in place, "" for most."""
    response: Any = client.indices.get_settings(index=copy, name="index.creation_date")
    created = response[copy]["settings"]["index"]["creation_date"]
    is_as_old = int(created) <= int(state.settings["creation_date"])
    return "" if is_as_old else "its age counts from now: this server sets no date of creation"


def abandon(client: OpenSearch, copy: Copy, state: IndexState | None) -> None:
    """Delete a copy, and lift the write block of its index before, if reindexing set it; None where it is gone.

    Without its first mark, no late request can put the copy in place. So nothing that is written after the block is
    lost with the old index.
    """
    if not (copy.is_abandoned or _mark_abandoned(client, copy)):
        return
    memory = copy.state.meta.get("reindex") or {}
    if state and memory.get("source") == state.uuid and not memory.get("was_blocked"):
        with suppress(NotFoundError):  # retention deleted it meanwhile
            _despite_full_disk(client, state.index, lambda: _lift(client, state.index, "write"))
    client.indices.delete(index=copy.state.index, params={"ignore_unavailable": "true"})


def _mark_abandoned(client: OpenSearch, copy: Copy) -> bool:
    """Change the mark of a copy; returns False for one that is in place, or deleted."""
    index = copy.state.index
    actions = [
        {"remove": {"index": index, "alias": copy.mark, "must_exist": True}},
        {"add": {"index": index, "alias": abandoned_mark(copy.state.name)}},
    ]
    try:
        _despite_full_disk(client, index, lambda: client.indices.update_aliases(body={"actions": actions}))
    except NotFoundError:
        return False
    return True


def _despite_full_disk(client: OpenSearch, index: str, request: Callable[[], object]) -> None:
    """Send a request; again without the block of a full disk, which the cluster sets again while the disk is full."""
    for attempt in range(_ATTEMPTS):
        try:
            request()
        except TransportError as error:
            if "cluster_block_exception" not in str(error.info) or attempt == _ATTEMPTS - 1:
                raise
            _lift(client, index, "read_only_allow_delete")
        else:
            return


def _lift(client: OpenSearch, index: str, block: str) -> None:
    client.indices.put_settings(index=index, body={f"index.blocks.{block}": None})
