"""The SNS adapter: publishes messages to a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_sns import SNSClient

_FIFO_SUFFIX = ".fifo"
# docs.aws.amazon.com/sns/latest/api/API_Publish.html
_SUBJECT_CHARACTERS = 100


class SnsTopic:
    """A topic, standard or FIFO."""

    def __init__(self, client: SNSClient, arn: str) -> None:
        self._client, self._arn = client, arn

    def publish(self, subject: str, text: str, *, id_: str, attributes: Mapping[str, str]) -> None:
        """Publish a message; raises SetupError. A FIFO topic drops a message whose id it had five minutes ago."""
        printable = "".join(character if " " <= character <= "~" else " " for character in subject)
        try:
            self._client.publish(
                TopicArn=self._arn,
                Subject=printable[:_SUBJECT_CHARACTERS].strip() or "trailsink",
                Message=text,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
                },
                **({"MessageDeduplicationId": id_, "MessageGroupId": "findings"} if self._is_fifo else {}),
            )
        except (BotoCoreError, ClientError) as error:
            raise SetupError(f"The topic {self._arn} takes no finding: {error_text(error)}.") from error

    @property
    def _is_fifo(self) -> bool:
        return self._arn.endswith(_FIFO_SUFFIX)
