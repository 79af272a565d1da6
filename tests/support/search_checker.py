"""Looks at all events of a prefix again and again, in a process of its own: each exactly once, and none gone.

Prints one JSON line when its standard input ends: how many looks, and what was wrong in any of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

MAX_EVENTS = 10_000


def look(url: str, prefix: str, stop: threading.Event) -> dict[str, Any]:
    """Search until told to stop; what one look finds, every later one must find again."""
    client = OpenSearch([url], timeout=30)
    searched: set[str] = set()
    report: dict[str, Any] = {"looks": 0, "incomplete": 0, "doubled": [], "lost": []}
    body = {"size": MAX_EVENTS, "_source": False, "query": {"match_all": {}}}
    while not stop.is_set():
        try:
            response = client.search(index=f"{prefix}-*", body=body)
        except (NotFoundError, TransportError):  # an index went while the search was on its way, and it says so
            report["incomplete"] += 1
            continue
        shards = response["_shards"]
        if shards["successful"] < shards["total"]:  # it says so as well
            report["incomplete"] += 1
            continue
        ids = Counter(hit["_id"] for hit in response["hits"]["hits"])
        report["looks"] += 1
        report["doubled"] += [id_ for id_, times in ids.items() if times > 1]
        report["lost"] += sorted(searched - set(ids))
        searched |= set(ids)
    return report | {"events": len(searched)}


class Checker:
    """The process, from start to report."""

    def __init__(self, url: str, prefix: str) -> None:
        command = [sys.executable, "-m", "tests.support.search_checker", url, prefix]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def report(self) -> dict[str, Any]:
        """End it, and return what it saw."""
        output, _ = self._process.communicate("", timeout=240)
        report: dict[str, Any] = json.loads(output)
        return report


if __name__ == "__main__":
    end = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        end.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    sys.stdout.write(json.dumps(look(sys.argv[1], sys.argv[2], end)))
