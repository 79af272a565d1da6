"""The fields of a record that a selector can name, by path: `eventName`, `userIdentity.arn`, `requestParameters.key`.

docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

from difflib import get_close_matches

# Members that hold one value.
_SCALARS = (
    "eventTime eventVersion eventSource eventName awsRegion sourceIPAddress userAgent errorCode errorMessage requestID"
    " eventID eventId eventType eventCategory apiVersion recipientAccountId accountId sharedEventID vpcEndpointId"
    " vpcEndpointAccountId sessionCredentialFromConsole readOnly managementEvent"
)
SCALARS = tuple(_SCALARS.split())

# Members that each service fills in its own way: any path below them can be.
_FREE_FORM = (
    "requestParameters responseElements serviceEventDetails insightDetails edgeDeviceDetails eventContext summary"
    " additionalEventData"
)
FREE_FORM = tuple(_FREE_FORM.split())

_IDENTITY = (
    "type userName principalId arn accountId accessKeyId invokedBy credentialId identityProvider"
    " invokedByDelegate.accountId onBehalfOf.userId onBehalfOf.identityStoreArn inScopeOf.sourceArn"
    " inScopeOf.sourceAccount inScopeOf.issuerType inScopeOf.credentialsIssuedTo sessionContext.sourceIdentity"
    " sessionContext.ec2RoleDelivery sessionContext.assumedRoot sessionContext.attributes.creationDate"
    " sessionContext.attributes.mfaAuthenticated sessionContext.webIdFederationData.federatedProvider"
)

# The values of the members whose shape is documented.
DOCUMENTED = tuple(
    f"{root}.{name}"
    for root, names in (
        ("userIdentity", _IDENTITY),
        ("userIdentity.sessionContext.sessionIssuer", "type userName principalId arn accountId"),
        ("resources", "ARN ARNPrefix accountId type"),
        ("tlsDetails", "tlsVersion cipherSuite clientProvidedHostHeader keyExchange"),
        ("addendum", "reason updatedFields originalRequestID originalEventID"),
        ("timeWindow", "windowStart windowEnd windowSize"),
    )
    for name in names.split()
)

# What the caller of an API chooses, or can choose: whoever knows a selector by it can hide from the index.
CHOSEN_BY_CALLERS = ("userAgent", "requestParameters", "additionalEventData", "resources", "tlsDetails", "errorMessage")

# The provider of a web identity is part of these names, with its dots.
_OPEN_BELOW = "userIdentity.sessionContext.webIdFederationData.attributes."


def field_problem(field: str) -> str:
    """Return why no record can have a value at this path, as the end of a sentence; "" where a record can."""
    root, _, rest = field.partition(".")
    if field in SCALARS or field in DOCUMENTED or (field.startswith(_OPEN_BELOW) and field != _OPEN_BELOW):
        return ""
    if root in FREE_FORM and rest:
        return "" if all(rest.split(".")) else "has an empty part"
    if root in FREE_FORM or any(name.startswith(f"{field}.") for name in DOCUMENTED):
        return "is an object; name one of its members"
    if root in SCALARS:
        return f"is no field of a record: {root} has no members"
    return f"is no field of a record{_suggestion(field)}"


def _suggestion(field: str) -> str:
    names = {name.lower(): name for name in (*SCALARS, *DOCUMENTED, *FREE_FORM)}
    close = get_close_matches(field.lower(), names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else ""
