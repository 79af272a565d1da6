"""The page of JSON documents, from the structs that describe them."""

from __future__ import annotations

import inspect
import types
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from infra.generate.json_documents import (
    Cluster,
    Consumer,
    CostRow,
    Costs,
    CrashLine,
    Day,
    Discarded,
    Disk,
    End,
    Explained,
    Exported,
    Failed,
    FilterEnd,
    FilterEvent,
    FilterRule,
    FilterSelector,
    FiltersLine,
    Finding,
    Imported,
    IndexFigures,
    Indices,
    Lag,
    LeftOut,
    Letters,
    MessageLine,
    ObjectLine,
    Plan,
    Queue,
    Reindexed,
    Retention,
    Status,
    Template,
    Throughput,
    Trails,
    TrailState,
    UnsentLine,
)
from infra.generate.markdown import page, table
from worker.boards.report_values import (
    BoardReport,
    Counter,
    CoverageFigures,
    NewEntry,
    NewValues,
    ReportScope,
    ReportTable,
)
from worker.dlq.redrive import PlanLine, RedriveReport
from worker.dlq.views import FileNow, GroupView, LetterDetail, LetterView, RejectedRecord

if TYPE_CHECKING:
    import msgspec

_GROUPS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "trailsink status": (
        Status,
        *(Queue, Letters, Consumer, Throughput, Trails, TrailState, Lag),
        *(Cluster, Disk, Template, Retention, Indices, IndexFigures),
    ),
    "trailsink doctor": (Finding,),
    "trailsink backfill": (Plan, Day, Failed, End),
    "trailsink dlq": (
        *(LetterView, GroupView, LetterDetail, FileNow, RejectedRecord),
        *(RedriveReport, PlanLine, Discarded, Exported, Imported),
    ),
    "trailsink filter test": (FilterSelector, FilterEvent, FilterRule, FilterEnd, LeftOut),
    "trailsink cost": (Costs, CostRow),
    "trailsink reindex": (Reindexed,),
    "trailsink explain": (Explained,),
    "trailsink report": (BoardReport, ReportScope, CoverageFigures, Counter, ReportTable, NewValues, NewEntry),
    "The log": (ObjectLine, MessageLine, UnsentLine, CrashLine, FiltersLine),
}

_CONTAINERS: dict[object, str] = {
    list: "list of {0}",
    tuple: "pair of {0} and {1}",
    dict: "object; its values are {1}s",
}
_NAMES: dict[object, str] = {
    Any: "anything",
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    datetime: "time",
    type(None): "null",
}


def json_page() -> str:
    """Return docs/reference/json.md."""
    introduction = (
        "With `--json`, commands print one document per line. Existing members are not removed or renamed. Times are in"
        " ISO 8601. The log also has a line with the message `batch` after each batch. Its members are the"
        " [metrics](metrics.md), and `ignored`: the number of messages that announce nothing, by cause."
        " With filters, `filtered` is the number of records that each selector left out."
    )
    parts = [
        "\n\n".join([f"## {title}", *(_section(struct) for struct in structs)]) for title, structs in _GROUPS.items()
    ]
    return page("JSON documents", introduction, *parts)


def _section(struct: type[msgspec.Struct]) -> str:
    tag = struct.__struct_config__.tag
    rows = [(f"`{struct.__struct_config__.tag_field}`", f"`{tag}`", "")] if isinstance(tag, str) else []
    hints = get_type_hints(struct, include_extras=True)
    for name, encoded in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        kind, meaning = hints[name], ""
        if get_origin(kind) is Annotated:
            kind, metadata = get_args(kind)
            meaning = metadata.description
        rows.append((f"`{encoded}`", _type_name(kind), meaning))
    return f"### {struct.__name__}\n\n{inspect.getdoc(struct)}\n\n" + table(("member", "type", "meaning"), rows)


def _type_name(kind: object) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(f"`{member.value}`" for member in kind)
    names = [_type_name(argument) for argument in arguments]
    if origin in (Union, types.UnionType):
        return " or ".join(names)
    if origin in _CONTAINERS:
        return _CONTAINERS[origin].format(*names)
    return _NAMES.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"  # type: ignore[attr-defined] # a struct
