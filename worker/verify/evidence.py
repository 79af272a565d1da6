"""What a verification asks of its neighbours: a bucket or a folder tree, and the ledger with the index."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from worker.aws.digest_keys import read_signature
from worker.cutoff import Cutoff
from worker.errors import SetupError
from worker.opensearch.inventory import IndexInventory
from worker.opensearch.ledger import LedgerReader
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from opensearchpy import OpenSearch
    from types_boto3_s3 import S3Client

    from worker.aws.s3 import S3Store
    from worker.backfill.listing import Lister
    from worker.backfill.sources import LocalTree
    from worker.pipeline.ledger import LedgerEntry
    from worker.pipeline.objects import FetchedObject

_FETCH_SECONDS = 60.0


class Files(Protocol):
    """Where digests and log files are. Called by several threads at once."""

    name: str  # of the bucket, "" where it is not known

    @property
    def lister(self) -> Lister:
        """What lists the keys."""

    def fetch(self, key: str, limit: int) -> FetchedObject:
        """Read a file; raises UnreadableObject and StoreUnavailable."""

    def signature(self, key: str) -> str:
        """Return the signature of a digest, "" where it has none; raises StoreUnavailable."""

    def exists(self, key: str) -> bool:
        """Return whether there is a file that a listing did not show; raises StoreUnavailable."""


class LoadedFiles(Protocol):
    """What was loaded, by the ledger and the index. Every method raises SetupError and IndexUnavailable."""

    def recorded(self, account: str, region: str, since: datetime, until: datetime) -> Iterable[LedgerEntry]:
        """Yield the ledger's documents of files delivered in a time."""

    def find(self, uri: str, digest: str, delivered_at: datetime) -> LedgerEntry | None:
        """Return the ledger's document of a file with this content, written just now or earlier."""

    def documents(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Count the documents of up to 1,000 files in the index; one without any is missing."""


class BucketFiles:
    """A bucket. Needs s3:ListBucket and s3:GetObject."""

    def __init__(self, name: str, lister: Lister, store: S3Store, client: S3Client) -> None:
        self.name, self.lister, self._store, self._client = name, lister, store, client

    def fetch(self, key: str, limit: int) -> FetchedObject:
        """Read an object; raises UnreadableObject and StoreUnavailable."""
        return self._store.fetch(ObjectRef(self.name, key), limit, Cutoff(_FETCH_SECONDS))

    def signature(self, key: str) -> str:
        """Return the signature in a digest's metadata; raises StoreUnavailable."""
        return read_signature(self._client, self.name, key)

    def exists(self, key: str) -> bool:
        """Ask for one object; raises StoreUnavailable."""
        return self._store.head(ObjectRef(self.name, key)) is not None


class FolderFiles:
    """A folder tree: a copy of a bucket. A digest's signature is in a file of the same name and `.signature`."""

    def __init__(self, top: Path, tree: LocalTree, name: str = "") -> None:
        self.name, self.lister, self._top, self._tree = name, tree, top, tree

    def fetch(self, key: str, limit: int) -> FetchedObject:
        """Read a file; raises UnreadableObject and StoreUnavailable."""
        return self._tree.fetch(ObjectRef(self.name, key), limit)

    def signature(self, key: str) -> str:
        """Return the text of the file beside a digest, "" where there is none."""
        try:
            return (self._top / f"{key}.signature").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{key}.signature cannot be read.") from error

    def exists(self, key: str) -> bool:
        """Return whether there is a file."""
        return (self._top / key).is_file()


class IndexedFiles:
    """The ledger and the index of one cluster. `connect` opens a client, one for each thread.

    `selectors` is the digest of the selectors that are set now, "" for none.
    """

    def __init__(self, connect: Callable[[], OpenSearch], index_prefix: str, bucket: str, selectors: str = "") -> None:
        self._connect, self._prefix, self._bucket, self._selectors = connect, index_prefix, bucket, selectors
        self._thread = threading.local()

    def recorded(self, account: str, region: str, since: datetime, until: datetime) -> Iterator[LedgerEntry]:
        """Yield the ledger's documents of files delivered in a time."""
        return LedgerReader(self.client, self._prefix).recorded(account, region, since, until)

    def find(self, uri: str, digest: str, delivered_at: datetime) -> LedgerEntry | None:
        """Return the ledger's document of a file with this content."""
        return LedgerReader(self.client, self._prefix).find(uri, digest, delivered_at, self._selectors)

    def documents(self, keys: Sequence[str]) -> dict[str, int]:
        """Count the documents of files."""
        inventory = IndexInventory(self.client, self._prefix, self._bucket)
        return {key: file.documents for key, file in inventory.lookup(keys).items()}

    @property
    def client(self) -> OpenSearch:
        """This thread's client."""
        client: OpenSearch | None = getattr(self._thread, "client", None)
        if client is None:
            client = self._thread.client = self._connect()
        return client
