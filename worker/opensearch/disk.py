"""How much of a disk must stay free, by a watermark of the cluster.

docs.opensearch.org/latest/install-and-configure/configuring-opensearch/cluster-settings/
"""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)(b|kb|mb|gb|tb)")
_UNITS = {"b": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40}


def reserved_bytes(watermark: str, total: int) -> int | None:
    """Return how many bytes of a disk of `total` must be free; None for what is no watermark.

    A watermark is a share that may be used, or a size that must be free.
    """
    watermark = watermark.strip().lower()
    if size := _SIZE.fullmatch(watermark):
        return int(float(size[1]) * (1 << _UNITS[size[2]]))
    try:
        share = float(watermark.removesuffix("%")) / (100 if watermark.endswith("%") else 1)
    except ValueError:
        return None
    return int(total * (1 - share))
