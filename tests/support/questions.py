"""What people ask of CloudTrail, each with the search for it and its meaning, computed from the records themselves.

After the guides and benchmarks that AWS, CIS and others publish: console logins, root, keys, policies, open ports,
data that leaves, and who did it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from tests.support.event_files import event
from tests.support.search_truth import below, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.search_truth import Predicate, Record


@dataclass(frozen=True)
class Question:
    """A question, the words after `trailsink search`, and which records answer it."""

    text: str
    query: str
    holds: Predicate
    ignore_case: bool = False


@dataclass(frozen=True)
class Grouping:
    """A question for counts: the paths to count by, among the events of a query, and its meaning."""

    text: str
    paths: tuple[str, ...]
    query: str = "*"
    holds: Predicate = lambda _record: True


def equal(path: str, *values: str) -> Predicate:
    return lambda record: any(text in values for text in texts(record, path))


def like(path: str, *patterns: str, fold: bool = False) -> Predicate:
    def holds(record: Record) -> bool:
        found = [text.lower() if fold else text for text in texts(record, path)]
        return any(fnmatchcase(text, pattern) for text in found for pattern in patterns)

    return holds


def anywhere(path: str, pattern: str) -> Predicate:
    return lambda record: any(fnmatchcase(text, pattern) for text in below(record, path))


def exists(path: str) -> Predicate:
    return lambda record: bool(below(record, path))


def number(path: str, compare: Callable[[int], bool]) -> Predicate:
    return lambda record: any(compare(int(text)) for text in texts(record, path) if text.isdecimal())


def network(*networks: str) -> Predicate:
    def holds(record: Record) -> bool:
        try:
            addresses = [ip_address(text) for text in texts(record, "sourceIPAddress")]
        except ValueError:
            return False
        return any(address in ip_network(one) for address in addresses for one in networks)

    return holds


def both(*predicates: Predicate) -> Predicate:
    return lambda record: all(holds(record) for holds in predicates)


def either(*predicates: Predicate) -> Predicate:
    return lambda record: any(holds(record) for holds in predicates)


def no(holds: Predicate) -> Predicate:
    return lambda record: not holds(record)


def value_anywhere(value: str) -> Predicate:
    return lambda record: any(text == value for found in record.values() for text in found)


LOGIN = equal("eventName", "ConsoleLogin")
USER = "arn:aws:iam::123837392027:user/bert-jan"
SESSION_ISSUER = "userIdentity.sessionContext.sessionIssuer.userName"
OPEN_PORT = "requestParameters.ipPermissions.items.fromPort"
OPEN_RANGE = "requestParameters.ipPermissions.items.ipRanges.items.cidrIp"

QUESTIONS = (
    # Who
    Question("What did root do?", "userIdentity.type:Root", equal("userIdentity.type", "Root")),
    Question("What did this user do?", f'userIdentity.arn:"{USER}"', equal("userIdentity.arn", USER)),
    Question(
        "What was done with this key?",
        "userIdentity.accessKeyId:AKIAEXAMPLEQUESTIONS",
        equal("userIdentity.accessKeyId", "AKIAEXAMPLEQUESTIONS"),
    ),
    Question("What did sessions of this role do?", f"{SESSION_ISSUER}:auditor", equal(SESSION_ISSUER, "auditor")),
    Question(
        "Which sessions have this name?", "userIdentity.principalId:*\\:ada", like("userIdentity.principalId", "*:ada")
    ),
    Question("Which callers have no ARN?", "NOT _exists_:userIdentity.arn", no(exists("userIdentity.arn"))),
    Question("Which events have a caller?", "_exists_:userIdentity", exists("userIdentity")),
    Question("What did services do?", "_exists_:userIdentity.invokedBy", exists("userIdentity.invokedBy")),
    Question(
        "Which sessions had no MFA?",
        "userIdentity.sessionContext.attributes.mfaAuthenticated:false",
        equal("userIdentity.sessionContext.attributes.mfaAuthenticated", "false"),
    ),
    Question(
        "What was done in the console?",
        "sessionCredentialFromConsole:true",
        equal("sessionCredentialFromConsole", "true"),
    ),
    Question(
        "Who came by web identity?",
        "userIdentity.type:WebIdentityUser",
        equal("userIdentity.type", "WebIdentityUser"),
    ),
    # Console logins
    Question(
        "Which logins failed?",
        "eventName:ConsoleLogin AND responseElements.ConsoleLogin:Failure",
        both(LOGIN, equal("responseElements.ConsoleLogin", "Failure")),
    ),
    Question(
        "Which logins had no MFA?",
        "eventName:ConsoleLogin AND additionalEventData.MFAUsed:No",
        both(LOGIN, equal("additionalEventData.MFAUsed", "No")),
    ),
    Question(
        "Which logins had no MFA, as rules spell it?",
        "eventName:consolelogin AND additionalEventData.MFAUsed:NO",
        both(LOGIN, equal("additionalEventData.MFAUsed", "No")),
        ignore_case=True,
    ),
    Question(
        "Which messages say so?",
        'errorMessage:"failed authentication"',
        like("errorMessage", "*failed authentication*", fold=True),
    ),
    # From where
    Question("What came from this address?", "sourceIPAddress:203.0.113.9", equal("sourceIPAddress", "203.0.113.9")),
    Question("What came from this network?", 'sourceIPAddress:"203.0.113.0/24"', network("203.0.113.0/24")),
    Question(
        "What came from private addresses?",
        'source.ip:("10.0.0.0/8" OR "172.16.0.0/12" OR "192.168.0.0/16")',
        network("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    ),
    Question("What came from services?", "sourceIPAddress:*.amazonaws.com", like("sourceIPAddress", "*.amazonaws.com")),
    Question("What came from elsewhere?", "NOT awsRegion:us-east-1", no(equal("awsRegion", "us-east-1"))),
    Question("What came through an endpoint?", "vpcEndpointId:*", exists("vpcEndpointId")),
    Question("Which tool was it?", "userAgent:*Boto3*", like("userAgent", "*Boto3*")),
    Question("Who uses old TLS?", "tlsDetails.tlsVersion:TLSv1", equal("tlsDetails.tlsVersion", "TLSv1")),
    # What was refused
    Question(
        "What was denied?",
        "errorCode:(AccessDenied OR *UnauthorizedOperation*)",
        like("errorCode", "AccessDenied", "*UnauthorizedOperation*"),
    ),
    Question("Which errors are there?", "errorCode:*", exists("errorCode")),
    Question(
        "Which errors are others?",
        "errorCode:* AND NOT errorCode:AccessDenied",
        both(exists("errorCode"), no(equal("errorCode", "AccessDenied"))),
    ),
    # Which calls
    Question(
        "Who touched the trails?",
        "eventName:(StopLogging OR DeleteTrail OR UpdateTrail)",
        equal("eventName", "StopLogging", "DeleteTrail", "UpdateTrail"),
    ),
    Question(
        "Who made keys?",
        "eventName:(CreateUser OR CreateAccessKey)",
        equal("eventName", "CreateUser", "CreateAccessKey"),
    ),
    Question("Which calls changed something?", "readOnly:false", equal("readOnly", "false")),
    Question(
        "What was changed in IAM?",
        "eventSource:iam.amazonaws.com AND NOT readOnly:true",
        both(equal("eventSource", "iam.amazonaws.com"), no(equal("readOnly", "true"))),
    ),
    Question("Which calls list?", "eventName:list*", like("eventName", "list*", fold=True), ignore_case=True),
    Question("Who listed the buckets?", "eventName:listbuckets", equal("eventName", "ListBuckets"), ignore_case=True),
    Question(
        "Which calls are about buckets?",
        "eventName:/(Put|Delete)Bucket.*/",
        like("eventName", "PutBucket*", "DeleteBucket*"),
    ),
    Question(
        "What happened in this minute?",
        "eventTime:[2023-07-10T12:00:00Z TO 2023-07-10T12:00:59Z]",
        lambda record: any(text.startswith("2023-07-10T12:00:") for text in texts(record, "eventTime")),
    ),
    # In requests and responses
    Question(
        "Who made administrators?",
        "requestParameters.policyArn:*AdministratorAccess",
        like("requestParameters.policyArn", "*AdministratorAccess"),
    ),
    Question(
        "Which groups are for admins?",
        "requestParameters.groupName:*admin*",
        like("requestParameters.groupName", "*admin*"),
    ),
    Question(
        "Which trust policies name this account?",
        "requestParameters.assumeRolePolicyDocument:*193672423079*",
        like("requestParameters.assumeRolePolicyDocument", "*193672423079*"),
    ),
    Question(
        "Which bucket was it?",
        "requestParameters.bucketName:*stratus*",
        like("requestParameters.bucketName", "*stratus*"),
    ),
    Question("Which keys end so?", "requestParameters.key:*.sql", like("requestParameters.key", "*.sql")),
    Question("What happened to this instance?", "i-0questions", value_anywhere("i-0questions")),
    Question("What was opened to the world?", f'{OPEN_RANGE}:"0.0.0.0/0"', equal(OPEN_RANGE, "0.0.0.0/0")),
    Question("Where is the world named?", '"0.0.0.0/0"', value_anywhere("0.0.0.0/0")),
    Question(
        "What names the world at all?", 'requestParameters:"0.0.0.0/0"', anywhere("requestParameters", "0.0.0.0/0")
    ),
    Question("Who opened port 22?", f"{OPEN_PORT}:22", equal(OPEN_PORT, "22")),
    Question("Who opened a low port?", f"{OPEN_PORT}:[0 TO 1023]", number(OPEN_PORT, lambda port: port <= 1023)),
    Question(
        "Who asks for much?",
        "requestParameters.maxResults:>=100",
        number("requestParameters.maxResults", lambda value: value >= 100),
    ),
    Question(
        "Who asks for a page?",
        "requestParameters.maxResults:[50 TO 100]",
        number("requestParameters.maxResults", lambda value: 50 <= value <= 100),
    ),
    Question(
        "Which sessions are long?",
        "requestParameters.durationSeconds:>3600",
        number("requestParameters.durationSeconds", lambda value: value > 3600),
    ),
    Question(
        "Which snapshots were shared?",
        "_exists_:requestParameters.createVolumePermission.add",
        exists("requestParameters.createVolumePermission.add"),
    ),
    Question("Who got credentials?", "_exists_:responseElements.credentials", exists("responseElements.credentials")),
    Question("Which secrets were rotated?", "additionalEventData.Name:*", exists("additionalEventData.Name")),
    Question(
        "Which secrets were read?",
        "requestParameters.secretId:*stratus*",
        like("requestParameters.secretId", "*stratus*"),
    ),
    Question("Which keys were used?", "requestParameters.keyId:*", exists("requestParameters.keyId")),
    Question(
        "Who used this part of a value?",
        "requestParameters:*stratus-red-team*",
        anywhere("requestParameters", "*stratus-red-team*"),
    ),
    Question("Which resources are buckets?", "resources.ARN:arn\\:aws\\:s3*", like("resources.ARN", "arn:aws:s3*")),
    Question(
        "Who did not name this bucket?",
        "NOT requestParameters.bucketName:*stratus*",
        no(like("requestParameters.bucketName", "*stratus*")),
    ),
    Question(
        "Which user data was read?",
        "requestParameters.attribute:userData",
        equal("requestParameters.attribute", "userData"),
    ),
    Question(
        "Which databases are public?",
        "requestParameters.publiclyAccessible:true",
        equal("requestParameters.publiclyAccessible", "true"),
    ),
)

GROUPINGS = (
    Grouping("Which buckets are used?", ("requestParameters.bucketName",)),
    Grouping("Which objects are used?", ("requestParameters.bucketName", "requestParameters.key")),
    Grouping(
        "Which roles are assumed?",
        ("requestParameters.roleArn",),
        "eventName:AssumeRole",
        equal("eventName", "AssumeRole"),
    ),
    Grouping("Which policies are attached?", ("requestParameters.policyArn",)),
    Grouping("Which secrets are used?", ("requestParameters.secretId", "eventName")),
    Grouping("Which instance types are started?", ("requestParameters.instanceType",)),
    Grouping("Whose users were changed?", ("requestParameters.userName", "eventName")),
    Grouping("Which messages are there?", ("errorMessage",), "errorCode:*", exists("errorCode")),
    Grouping("Who calls whose account?", ("userIdentity.accountId", "recipientAccountId")),
)


def rare_events() -> list[dict[str, Any]]:
    """Events of the kinds that a short trail lacks, so that no question is answered by nothing."""
    world = {"items": [{"fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}
    high = {"items": [{"fromPort": 8080, "ipRanges": {"items": [{"cidrIp": "10.0.0.0/8"}]}}]}
    session = {"sessionIssuer": {"userName": "auditor"}, "attributes": {"mfaAuthenticated": "true"}}
    login: dict[str, Any] = {
        "eventName": "ConsoleLogin",
        "eventSource": "signin.amazonaws.com",
        "requestParameters": None,
    }
    return [
        event(**login, additionalEventData={"MFAUsed": "No"}, responseElements={"ConsoleLogin": "Success"}),
        event(
            **login,
            additionalEventData={"MFAUsed": "Yes"},
            responseElements={"ConsoleLogin": "Failure"},
            errorMessage="Failed authentication",
        ),
        event(userIdentity={"type": "Root", "arn": "arn:aws:iam::123456789012:root"}, readOnly=False),
        event(userIdentity={"type": "IAMUser", "accessKeyId": "AKIAEXAMPLEQUESTIONS"}),
        event(userIdentity={"type": "AssumedRole", "principalId": "AROAEXAMPLE:ada", "sessionContext": session}),
        event(userIdentity={"type": "WebIdentityUser", "userName": "x"}, tlsDetails={"tlsVersion": "TLSv1"}),
        event(userIdentity={"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}, vpcEndpointId="vpce-1"),
        event(sourceIPAddress="203.0.113.9", sessionCredentialFromConsole="true", userAgent="Boto3/1.40"),
        event(sourceIPAddress="192.168.3.4", awsRegion="eu-south-2"),
        event(eventName="AuthorizeSecurityGroupIngress", requestParameters={"groupId": "sg-1", "ipPermissions": world}),
        event(eventName="AuthorizeSecurityGroupIngress", requestParameters={"groupId": "sg-2", "ipPermissions": high}),
        event(eventName="AddUserToGroup", requestParameters={"groupName": "super-admins", "userName": "ada"}),
        event(requestParameters={"bucketName": "backups", "key": "db/2026.sql"}),
        event(requestParameters={"instancesSet": {"items": [{"instanceId": "i-0questions"}]}, "maxResults": 75}),
        event(eventName="AssumeRole", requestParameters={"roleArn": "arn:aws:iam::1:role/r", "durationSeconds": 43200}),
        event(requestParameters={"createVolumePermission": {"add": {"items": [{"userId": "1"}]}}}),
        event(requestParameters={"publiclyAccessible": True, "dBInstanceIdentifier": "db"}),
        event(eventName="CreateRole", requestParameters={"assumeRolePolicyDocument": '{"AWS":"193672423079"}'}),
        event(requestParameters={"attribute": "userData", "instanceId": "i-0other"}),
        event(eventName="RotationSucceeded", requestParameters=None, additionalEventData={"Name": "s", "ARN": "arn:s"}),
    ]
