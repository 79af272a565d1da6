"""Write-once indices: documents can be created in them, and never changed or deleted; only a whole index can go.

The setting is final: not even a closed index loses it. It also forbids to redact an event later, so it is an option.
docs.opensearch.org/latest/install-and-configure/configuring-opensearch/index-settings/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import SetupError
from worker.opensearch.template_trial import TemplateTrial, TrialResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch

SETTING = "index.append_only.enabled"


def is_write_once(template: Mapping[str, Any]) -> bool:
    """Return whether an index template, as the server returns it, makes write-once indices."""
    settings = template.get("template", {}).get("settings", {}).get("index", {})
    return str(settings.get("append_only", {}).get("enabled", False)).lower() == "true"


def make_write_once(body: dict[str, Any]) -> None:
    """Change the body of an index template to one that makes write-once indices."""
    body["template"]["settings"][SETTING] = True


def check_server(client: OpenSearch) -> None:
    """Raise SetupError when the server does not have write-once indices; lets other errors of the client pass."""
    sample = {"template": {"settings": {SETTING: True}, "mappings": {}}}
    if TemplateTrial(client).result(sample) is TrialResult.REFUSED:
        raise SetupError(f"This server has no write-once indices: it refuses {SETTING}. Leave out --write-once.")
