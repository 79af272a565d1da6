"""What the functions of a stack run: Lambda's digest of their code, to be compared with a bundle's.

The name of a bundle's object says what was uploaded, and the digest what Lambda has read there.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from boto3 import Session

    from worker.deploy.manifest import Contents

# The functions of the template that run the bundle of the scheduled functions.
_SCHEDULED = ("VerifyFunction", "DetectFunction")


def code_sha256(bundle: bytes) -> str:
    """Return a bundle's digest in the form in which Lambda has a function's."""
    return b64encode(sha256(bundle).digest()).decode()


def read_function_code(session: Session, stack: str, contents: Contents = "loader") -> dict[str, str]:
    """Return the digest of the code of each function of a stack that runs a bundle, by the function's name.

    Raises SetupError when it cannot be read.
    """
    functions, client = dict[str, str](), session.client("lambda")
    try:
        for page in session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack):
            for resource in page["StackResourceSummaries"]:
                name = resource.get("PhysicalResourceId", "")
                is_scheduled = resource.get("LogicalResourceId") in _SCHEDULED
                is_asked = is_scheduled == (contents == "scheduled")
                if name and is_asked and resource["ResourceType"] == "AWS::Lambda::Function":
                    functions[name] = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    except (ClientError, BotoCoreError) as error:
        raise SetupError(f"The code of the functions of {stack} cannot be read: {error_text(error)}.") from error
    return functions
