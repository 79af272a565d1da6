"""Promises about what stands beside a dead letter: reason, detail and positions, cut to what SQS takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import ANY, Stubber

from tests.support.factories import ref
from tests.support.queues import LETTERS_URL, MIB, SOURCE_URL, attributes_of_the_letter, letter, sqs_client
from worker import __version__
from worker.aws.sqs import SqsQueue
from worker.errors import QueueUnavailable
from worker.pipeline.notifications import s3_notification

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

    from worker.pipeline.ports import DeadLetter


def weight(sent: Any) -> int:
    """What SQS counts: body, and name, type and value of each attribute."""
    attributes = sent["MessageAttributes"]
    return len(sent["MessageBody"].encode()) + sum(
        len(name.encode()) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in attributes.items()
    )


def offers(one: DeadLetter) -> list[dict[str, Any]]:
    """Be an SQS that finds every message too long; returns what it was offered, in order."""
    client = sqs_client()
    offered: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.sqs.SendMessage", lambda params, **_: offered.append(params))
    with Stubber(client) as stub:
        for _ in range(10):
            stub.add_client_error("send_message", "InvalidParameterValue", "too long", http_status_code=400)
        with pytest.raises(QueueUnavailable):
            SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(one)
    return offered


def test_a_letter_says_what_why_and_where(queues: tuple[SQSClient, SqsQueue]) -> None:
    """The operator sees it without reading the object; the body is the announcement itself."""
    client, queue = queues

    queue.send_dead_letter(letter())

    said = attributes_of_the_letter(client)
    assert json.loads(said.pop("rejected")) == [[1, "mapper_parsing_exception"], [7, "not_a_json_object"]]
    assert said == {
        "reason": "records_rejected",
        "detail": "2 of 9 records were rejected",
        "attempts": "3",
        "source_message_id": "message-1",
        "trailsink_version": __version__,
    }


@pytest.mark.parametrize("spare", [0, 1, 30, 120, 300, 2_000, 20_000])
def test_a_body_of_nearly_a_mebibyte_is_sent_with_what_fits_beside_it(spare: int) -> None:
    """Attributes count into SQS's limit: a body that just fits must not be refused for its reason."""
    body = "x" * (MIB - spare)
    one = letter(body=body, rejected=tuple((n, "mapper_parsing_exception") for n in range(5_000)), detail="d" * 5_000)

    offered = offers(one)

    fitting = [params for params in offered if weight(params) <= MIB]
    assert fitting, "no offer was small enough"
    assert all(params["MessageBody"] == body for params in offered)
    assert [weight(params) for params in offered] == sorted((weight(params) for params in offered), reverse=True)
    assert ("reason" in fitting[0]["MessageAttributes"]) == (spare >= 30)


def test_a_long_list_of_rejections_is_cut_to_whole_entries() -> None:
    """Half an entry could not be read; the file itself has them all."""
    one = letter(rejected=tuple((n, "mapper_parsing_exception") for n in range(100_000)))

    first = offers(one)[0]

    pairs = json.loads(first["MessageAttributes"]["rejected"]["StringValue"])
    assert pairs == [[n, "mapper_parsing_exception"] for n in range(len(pairs))]
    assert 100 < len(pairs) < 1_000
    assert weight(first) < 20_000


def test_a_queue_that_takes_less_gets_the_letter_with_fewer_attributes() -> None:
    """Queues made before August 2025 may still allow 256 KiB only."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("send_message", "InvalidParameterValue", http_status_code=400)
        stub.add_response(
            "send_message",
            {},
            {"QueueUrl": LETTERS_URL, "MessageBody": s3_notification(ref()), "MessageAttributes": ANY},
        )

        SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(letter())

        stub.assert_no_pending_responses()


@pytest.mark.parametrize("detail", ["", "line\x00\x0b\ufffe end", "\ud800", "ä€🐝", "x" * 5_000])
def test_any_detail_can_be_sent(queues: tuple[SQSClient, SqsQueue], detail: str) -> None:
    """SQS takes only XML's characters and no empty value; a letter must not fail for its wording."""
    client, queue = queues

    queue.send_dead_letter(letter(detail=detail))

    assert 1 <= len(attributes_of_the_letter(client)["detail"]) <= 1_000
