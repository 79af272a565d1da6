"""`trailsink cost` on a real node: the rows add up to what the cluster reports, and a large event costs more."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from infra.generate.json_documents import Costs, read
from tests.support.event_files import event
from tests.support.index_documents import index
from worker.cli.main import main
from worker.opensearch.cost import CostBy, CostScope, read_costs
from worker.wiring import now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench


@pytest.fixture
def loaded(bench: Bench) -> Bench:
    """Two days: many small events of one account, few large ones of another, and one without an account."""
    today = now()
    for day in (today, today - timedelta(days=5)):
        time = {"eventTime": day.strftime("%Y-%m-%dT00:00:00Z")}
        small = [event(recipientAccountId="111111111111", **time) for _ in range(400)]
        texts = [" ".join(str(hash((number, word))) for word in range(150)) for number in range(100)]
        large = [
            event(
                recipientAccountId="222222222222", eventSource="iam.amazonaws.com", responseElements={"x": text}, **time
            )
            for text in texts
        ]
        index(bench, [*small, *large, event(**time)], day=day.strftime("%Y-%m-%d"))
    bench.opensearch.indices.forcemerge(index=f"{bench.prefix}-*", params={"max_num_segments": "1"})
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*")
    return bench


def costs(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["cost", "--json", "--last", "60d", *words])
    assert result.exit_code == 0, result.output
    read(result.stdout, Costs)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def stats(bench: Bench) -> int:
    response = bench.opensearch.indices.stats(index=f"{bench.prefix}-*", metric="store")
    return int(response["_all"]["total"]["store"]["size_in_bytes"])


def test_the_rows_add_up_to_what_the_cluster_reports(loaded: Bench) -> None:
    """Within 5 % of `_stats`, whatever they are grouped by, and each event in one row."""
    documents = [costs("--by", str(by)) for by in CostBy]

    for document in documents:
        total = sum(row["bytes"] for row in document["groups"])
        assert abs(total - stats(loaded)) <= 0.05 * stats(loaded)
        assert abs(document["bytes"] - total) <= len(document["groups"])
        assert sum(row["events"] for row in document["groups"]) == loaded.count()


def test_large_events_cost_more_than_small_ones(loaded: Bench) -> None:
    """By events alone, the small ones would pay four fifths."""
    rows = {row["value"]: row for row in costs()["groups"]}

    small, large = rows["111111111111"], rows["222222222222"]
    assert small["events"] == 4 * large["events"]
    assert large["bytes"] / large["events"] > 3 * small["bytes"] / small["events"]
    assert rows["(none)"]["events"] == small["events"] // 400
    assert costs("--limit", "1")["groups"][1]["value"] == "(others)"
    assert sum(row["events"] for row in costs("--limit", "1")["groups"]) == loaded.count()


def test_a_price_list_of_one_s_own_decides(loaded: Bench, tmp_path: Path) -> None:
    """Nodes are shared out by bytes; a wrong list is refused."""
    prices = tmp_path / "prices.json"
    prices.write_text('{"gigabyte": 0, "million_events": 0, "nodes": 100}')

    document = costs("--price", str(prices))
    prices.write_text('{"gigabytes": 1}')
    refused = CliRunner().invoke(main, ["cost", "--price", str(prices)])

    assert document["month"] == pytest.approx(100, abs=0.1)
    assert refused.exit_code == 1
    assert "gigabyte, million_events, nodes" in refused.output
    assert "$" in CliRunner().invoke(main, ["cost", "--last", "60d"]).output
    assert loaded.count() > 0


def test_what_a_filter_would_drop_is_a_share_of_each_group(loaded: Bench) -> None:
    """The hook for filters: a clause, whose events are counted in each group."""
    end = now()
    dropped = {"term": {"eventSource": "iam.amazonaws.com"}}
    scope = CostScope(loaded.prefix, end.replace(year=end.year - 1), end, CostBy.ACCOUNT, dropped)

    groups = read_costs(loaded.opensearch, scope).groups

    assert groups["222222222222"].saved == pytest.approx(groups["222222222222"].octets)
    assert groups["111111111111"].saved == 0


def test_a_filter_shows_what_it_would_save(loaded: Bench, tmp_path: Path) -> None:
    """By the file that a consumer would read, and in each row."""
    noise = tmp_path / "noise.json"
    fields = [{"Field": "eventSource", "Equals": ["iam.amazonaws.com"]}]
    noise.write_text(json.dumps([{"Name": "IAM", "FieldSelectors": fields}]))

    rows = {row["value"]: row for row in costs("--filters", str(noise))["groups"]}
    shown = CliRunner().invoke(main, ["cost", "--last", "60d", "--filters", str(noise)]).output

    assert (rows["222222222222"]["saved"], rows["111111111111"]["saved"]) == (rows["222222222222"]["bytes"], 0)
    assert "100.0 %" in shown
    assert f"{noise} would save " in shown
    assert loaded.count() > 0
