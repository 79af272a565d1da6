"""A plugin of botocore that writes down each call of each client: `service:Operation` and the members it was given.

botocore loads it by BOTOCORE_EXPERIMENTAL__PLUGINS=recorder=tests.support.botocore_recorder (botocore/plugin.py).
TRAILSINK_TEST_RECORD names the file to write to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def initialize_client_plugin(client: Any) -> None:
    """Listen to a new client."""
    client.meta.events.register("provide-client-params.*.*", _write_down)


def _write_down(params: dict[str, Any], model: Any, **_: Any) -> None:
    line = json.dumps({"service": model.service_model.service_name, "operation": model.name, "members": sorted(params)})
    with Path(os.environ["TRAILSINK_TEST_RECORD"]).open("a", encoding="utf-8") as record:
        record.write(f"{line}\n")
