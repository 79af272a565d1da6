"""The board that is opened first: what needs a look now, and the tables to look it up in."""

from __future__ import annotations

from worker.boards.panels import Board, Controls, Note, Panel, cases, count, over_time, terms, terms_or_none

# As CIS counts it: without what AWS services do in the account's name.
# docs.aws.amazon.com/securityhub/latest/userguide/cloudwatch-controls.html
_ROOT = "userIdentity.type:Root AND NOT userIdentity.invokedBy:* AND NOT eventType:AwsServiceEvent"
_DENIED = "errorCode:(*AccessDenied* OR *Unauthorized*)"
_ASSUMED = "eventName:(AssumeRole OR AssumeRoleWithSAML OR AssumeRoleWithWebIdentity) AND NOT errorCode:*"
_LOGIN = "eventName:ConsoleLogin"

_COUNTER_WIDTH, _COUNTER_HEIGHT, _COUNTERS_A_ROW = 8, 5, 6
_COUNTERS_TOP = 8

_GREEN, _RED, _AMBER = "#7FC8A9", "#D64545", "#E8A33D"

# Each: id, title, query, the number from which it is red, and what it means.
_COUNTERS = (
    ("count-root", "Use of root", _ROOT, 1, "Calls of the root user, as CIS counts them."),
    (
        "count-login-no-mfa",
        "Logins without MFA",
        (
            f"{_LOGIN} AND NOT errorMessage:* AND NOT additionalEventData.MFAUsed:Yes"
            " AND userIdentity.type:(IAMUser OR Root)"
        ),
        1,
        "Successful ones. Whoever signs in by SSO passes MFA elsewhere, and is not counted.",
    ),
    ("count-login-failed", "Failed logins", f"{_LOGIN} AND errorMessage:*", 5, "People mistype: red from 5."),
    ("count-denied", "Denied calls", _DENIED, 100, "Some are normal: red from 100."),
    (
        "count-trail-changed",
        "Trail or Config changed",
        (
            "eventName:(StopLogging OR DeleteTrail OR UpdateTrail OR PutEventSelectors OR StopConfigurationRecorder"
            " OR DeleteConfigurationRecorder OR DeleteDeliveryChannel OR DeleteFlowLogs OR DeleteDetector)"
        ),
        1,
        "What records and detects. Attempts that failed count, too.",
    ),
    (
        "count-iam-changed",
        "IAM changed",
        (
            "eventSource:iam.amazonaws.com AND NOT errorCode:*"
            " AND eventName:(Create* OR Delete* OR Put* OR Attach* OR Detach* OR Update* OR Add* OR Remove*)"
        ),
        20,
        "Users, roles and policies. Deployments do this: red from 20.",
    ),
    (
        "count-network-changed",
        "Network changed",
        (
            "eventName:(AuthorizeSecurityGroup* OR RevokeSecurityGroup* OR CreateSecurityGroup OR DeleteSecurityGroup"
            " OR *NetworkAcl* OR *RouteTable OR *Route OR *InternetGateway OR *Vpc)"
            " AND NOT eventName:Describe* AND NOT errorCode:*"
        ),
        20,
        "Security groups, routes and gateways. Deployments do this: red from 20.",
    ),
    (
        "count-bucket-access",
        "Bucket access changed",
        (
            "eventSource:s3.amazonaws.com AND NOT errorCode:* AND eventName:(PutBucketPolicy OR DeleteBucketPolicy"
            " OR PutBucketAcl OR PutBucketPublicAccessBlock OR DeletePublicAccessBlock OR DeleteBucketPublicAccessBlock"
            " OR PutBucketCors OR PutBucketLifecycle OR PutBucketReplication OR DeleteBucketEncryption)"
        ),
        1,
        "Policies, access lists, public access and replication of buckets.",
    ),
    (
        "count-keys-disabled",
        "Keys disabled or deleted",
        "eventName:(DisableKey OR ScheduleKeyDeletion OR PutKeyPolicy) AND NOT errorCode:*",
        1,
        "Keys of KMS.",
    ),
    (
        "count-foreign-callers",
        "Roles assumed from other accounts",
        "eventName:AssumeRole AND userIdentity.type:AWSAccount AND NOT errorCode:*",
        1,
        "The caller's account is another one than the trail's.",
    ),
    ("count-insights", "Insights", "eventCategory:Insight", 1, "Unusual rates that CloudTrail itself reports."),
    (
        "count-degraded",
        "Degraded records",
        "trailsink.degraded:*",
        1,
        "Records that the index could not take whole. Their text is in trailsink.raw.",
    ),
)


def _counter(number: int) -> Panel:
    id_, title, query, red_from, description = _COUNTERS[number]
    row, column = divmod(number, _COUNTERS_A_ROW)
    grid = (
        column * _COUNTER_WIDTH,
        _COUNTERS_TOP + row * _COUNTER_HEIGHT,
        _COUNTER_WIDTH,
        _COUNTER_HEIGHT,
    )
    return Panel(
        id_, title, "counter", grid, query, metrics=(count(title),), description=description, red_from=red_from
    )


COUNTERS = tuple(_counter(number) for number in range(len(_COUNTERS)))

CHARTS = (
    Panel(
        "outcome-over-time",
        "Outcome over time",
        "histogram",
        (0, 18, 24, 12),
        groups=(
            cases(succeeded="NOT errorCode:*", denied=_DENIED, failed=f"errorCode:* AND NOT {_DENIED}"),
            over_time(),
        ),
        colors={"succeeded": _GREEN, "denied": _RED, "failed": _AMBER},
    ),
    Panel(
        "changes-over-time",
        "Changes by service over time",
        "histogram",
        (24, 18, 24, 12),
        "readOnly:false",
        groups=(terms("eventSource", "Service", 8), over_time()),
        description="Calls that are not read-only.",
    ),
)

TABLES = (
    Panel(
        "denied-calls",
        "Denied calls by principal",
        "table",
        (0, 30, 48, 14),
        _DENIED,
        groups=(
            terms_or_none("userIdentity.type", "Kind", 6),
            terms_or_none("userIdentity.arn", "Caller"),
            terms("eventName", "Call", 5),
            terms("errorCode", "Error", 3),
        ),
    ),
    Panel(
        "failed-logins",
        "Failed logins",
        "table",
        (0, 44, 24, 12),
        f"{_LOGIN} AND errorMessage:*",
        groups=(
            terms_or_none("userIdentity.arn", "User"),
            terms("sourceIPAddress", "From", 5),
            terms("errorMessage.keyword", "Why", 3),
        ),
        description="CloudTrail names no ARN for a name that does not exist.",
    ),
    Panel(
        "successful-logins",
        "Successful logins",
        "table",
        (24, 44, 24, 12),
        f"{_LOGIN} AND NOT errorMessage:*",
        groups=(
            terms_or_none("userIdentity.arn", "User"),
            terms("sourceIPAddress", "From", 5),
            terms_or_none("additionalEventData.MFAUsed", "MFA", 3),
        ),
    ),
    Panel(
        "assumed-roles",
        "Who assumed what",
        "table",
        (0, 56, 48, 14),
        f"{_ASSUMED} AND NOT userIdentity.type:AWSService",
        groups=(
            terms("userIdentity.type", "Kind", 6),
            terms_or_none("userIdentity.arn", "Caller"),
            terms("resources.ARN", "Role", include=".*:role/.*"),
        ),
        description="AWSAccount is a caller of another account, WebIdentityUser and SAMLUser have no ARN yet.",
    ),
    Panel(
        "roles-of-services",
        "Roles assumed by AWS services",
        "table",
        (0, 70, 24, 12),
        f"{_ASSUMED} AND userIdentity.type:AWSService",
        groups=(
            terms_or_none("userIdentity.invokedBy", "Service"),
            terms("resources.ARN", "Role", 5, include=".*:role/.*"),
        ),
    ),
    Panel(
        "root-use",
        "Use of root",
        "table",
        (24, 70, 24, 12),
        _ROOT,
        groups=(
            terms("recipientAccountId", "Account"),
            terms("eventName", "Call"),
            terms("sourceIPAddress", "From", 5),
        ),
        description="As CIS counts it: without what AWS services do in the account's name.",
    ),
    Panel(
        "busiest-callers",
        "Busiest callers",
        "horizontal_bar",
        (0, 82, 24, 14),
        groups=(terms("userIdentity.arn", "Caller"),),
    ),
    Panel(
        "errors",
        "Errors",
        "table",
        (24, 82, 24, 14),
        "errorCode:*",
        groups=(terms("errorCode", "Error"), terms("eventName", "Call", 5)),
    ),
    Panel(
        "calls-by-address",
        "Calls by source address",
        "table",
        (0, 96, 24, 12),
        groups=(terms("sourceIPAddress", "From", 20),),
    ),
    Panel(
        "calls-by-agent",
        "Calls by user agent",
        "table",
        (24, 96, 24, 12),
        groups=(terms("userAgent", "User agent", 20),),
    ),
    Panel(
        "calls-by-region",
        "Calls by account and region",
        "table",
        (0, 108, 16, 12),
        groups=(terms_or_none("recipientAccountId", "Account", 20), terms("awsRegion", "Region", 20)),
    ),
    Panel(
        "without-mfa",
        "Calls of users without MFA",
        "table",
        (16, 108, 32, 12),
        "userIdentity.type:(IAMUser OR Root) AND NOT userIdentity.invokedBy:*"
        " AND NOT userIdentity.sessionContext.attributes.mfaAuthenticated:true",
        groups=(terms_or_none("userIdentity.arn", "User"), terms("eventName", "Call", 5)),
        description="Sessions without MFA, and long-term access keys, which know none. Roles are left out: "
        "what a service assumes never has MFA.",
    ),
    Panel(
        "data-events",
        "Data events by bucket",
        "table",
        (0, 120, 48, 12),
        "eventCategory:Data AND eventSource:s3.amazonaws.com",
        # An event names its object and its bucket; the bucket is the one without a slash.
        groups=(terms("resources.ARN", "Bucket", include="arn:aws[^:]*:s3:::[^/]+"), terms("eventName", "Call", 5)),
    ),
)

OVERVIEW = Board(
    "overview",
    "overview",
    (
        Note(
            "about-overview",
            "About",
            (0, 0, 12, 8),
            "{links}\n\nRed: look here first. Click a value to filter the whole board. Times are those of the calls.",
        ),
        Controls(
            "filters",
            "Filters",
            (12, 0, 36, 8),
            {
                "Account": "recipientAccountId",
                "Region": "awsRegion",
                "Service": "eventSource",
                "Kind of caller": "userIdentity.type",
            },
        ),
        *COUNTERS,
        *CHARTS,
        *TABLES,
    ),
    search_grid=(0, 132, 48, 20),
)
