"""ElasticMQ, a second server that has SQS's message move tasks: from the same repository as OpenSearch."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.local.folders import empty_run_folder, new_run_folder
from infra.local.jars import fetch_files
from infra.local.java import find_java
from infra.local.layout import build_once, say
from infra.local.node import DEFAULT_VERSION
from infra.local.polling import fetch, wait_until
from infra.local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "1.7.1"
CONFIG = """include classpath("application.conf")
node-address {{ protocol = http, host = "{host}", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "{host}", sqs-limits = strict }}
rest-stats {{ enabled = false }}
aws {{ region = us-east-1, accountId = 000000000000 }}
"""


def _build(home: Path, _: Path) -> None:
    fetch_files(f"elasticmq-{VERSION}", home, say)


@contextmanager
def elasticmq() -> Iterator[str]:
    """Run it on a free port of the loopback interface; gives the endpoint of its SQS."""
    jars = build_once(f"elasticmq-{VERSION}", _build)
    folder, port = new_run_folder("elasticmq"), free_port()
    (folder / "elasticmq.conf").write_text(CONFIG.format(host=LOOPBACK, port=port))
    url = f"http://{LOOPBACK}:{port}"
    options = ("-Xmx64m", "-XX:TieredStopAtLevel=1", f"-Dconfig.file={folder / 'elasticmq.conf'}")
    command = [str(find_java(DEFAULT_VERSION).executable), *options, "-cp", f"{jars}/*", "org.elasticmq.server.Main"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert wait_until(lambda: fetch(f"{url}/?Action=ListQueues") is not None, 60), "ElasticMQ does not start"
            yield url
        finally:
            server.kill()
    empty_run_folder(folder)
