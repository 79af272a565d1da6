"""The Lambda entry points of what runs on a schedule: `trailsink verify` and `trailsink detect run`.

They need libraries that the loader never loads, so they are in a bundle of their own: `trailsink package --scheduled`.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.aws.session import config, open_session
from worker.cli.detect import find_new
from worker.cli.options import DURATION
from worker.cli.output import print_document
from worker.cli.verify import run_verification
from worker.cli.verify_options import VerifyOptions
from worker.detect.run import Interval
from worker.errors import SetupError
from worker.settings import load_settings
from worker.verify.metrics import verify_metrics_line
from worker.verify.verdict import exit_code, verdict_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.aws.lambda_context import LambdaContext

_RULE_FILES = (".yml", ".yaml")
_MAX_RULES = 5_000
_MAX_NAME = 200  # characters
_END_SECONDS = 30.0  # that remain for the end of a verification that is interrupted
_FIRST, _OVERLAP = timedelta(days=1), timedelta(minutes=30)  # as of `trailsink detect run`


def verify_handler(event: object, context: LambdaContext) -> dict[str, str | bool]:
    """Verify the last days, print the verdict and the metrics, and return the verdict.

    The event is `{"last": "3d"}`, with `"deep": 5.0` for a share of the files. Raises SetupError when the event is
    another, and NotJudgedError when there is no verdict: then the function's errors have an alarm.
    """
    match event:
        case {"last": str(last), "deep": float() | int() as deep}:
            percent = float(deep)
        case {"last": str(last)}:
            percent = 0.0
        case _:
            raise SetupError('The event of a scheduled verification is {"last": "3d"}.')
    settings = load_settings()
    # Lambda writes nowhere else. An invocation that is repeated in the same environment resumes.
    os.environ.setdefault("XDG_STATE_HOME", tempfile.gettempdir())
    options = VerifyOptions(last=DURATION.convert(last, None, None), deep=percent or None, progress=False)
    with _stopping_before_timeout(context) as stop:
        totals = run_verification(options, stop)
    if queue := settings.metrics_queue:
        print_document(f"{verify_metrics_line(totals, queue, datetime.now(UTC))}\n")
    return {"verdict": verdict_line(totals), "complete": exit_code(totals) == 0}


def detect_handler(event: object, _context: object) -> dict[str, int]:
    """Search for what is new by the Sigma rules in S3, and return the number of new findings.

    The event is `{"rules": "s3://bucket/folder/", "topic": "arn:..."}`: each new finding is published to the topic, to
    none for "". Raises SetupError when the event is another, when there are no rules, and when one of them could not be
    searched for.
    """
    match event:
        case {"rules": str(address), "topic": str(topic)} if address.startswith("s3://"):
            pass
        case _:
            raise SetupError('The event of a scheduled detection is {"rules": "s3://bucket/folder/", "topic": ""}.')
    with tempfile.TemporaryDirectory() as name:
        _download_rules(address, Path(name))
        return {"new_findings": find_new((Path(name),), None, Interval(_OVERLAP, _FIRST, None), sns=topic or None)}


@contextmanager
def _stopping_before_timeout(context: LambdaContext) -> Iterator[threading.Event]:
    stop = threading.Event()
    timer = threading.Timer(max(0.0, context.get_remaining_time_in_millis() / 1000 - _END_SECONDS), stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()


def _download_rules(address: str, folder: Path) -> None:
    """Copy the rules below an address into a folder; raises SetupError when there are none, or too many."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    try:
        with closing(open_session().client("s3", config=config(connections=1))) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
            keys = [key for key in keys if key.endswith(_RULE_FILES)]
            if len(keys) > _MAX_RULES:
                raise SetupError(f"{len(keys):,} rules are below {address}; the maximum is {_MAX_RULES:,}.")
            for key in keys:
                path = folder / _file_name(key)
                path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (ClientError, BotoCoreError) as error:
        raise SetupError(f"The rules of {address} cannot be read: {error_text(error)}.") from error
    if not keys:
        raise SetupError(f"No file below {address} ends in {' or '.join(_RULE_FILES)}.")


def _file_name(key: str) -> str:
    """Return a name that is the same at each run, and another for the same file of another folder.

    A rule without an id is known by it.
    """
    return f"{sha256(key.encode()).hexdigest()[:16]}-{key.rpartition('/')[2][-_MAX_NAME:]}"
