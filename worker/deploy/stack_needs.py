"""What `trailsink deploy` and `destroy` need: their own calls, and the actions on each kind of resource of the stack.

CloudFormation acts with the permissions of its caller, or of a service role. The actions are those of AWS's pages:
docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

# What is asked about the trail's bucket before anything is created.
BUCKET_ACTIONS = ("s3:ListBucket", "s3:GetBucketNotification")

# Actions on each kind of resource in the template, by its type. The key of the second table says which ARNs.
BY_TYPE: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS::SQS::Queue": {
        "queues": (
            "sqs:CreateQueue",
            "sqs:DeleteQueue",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ListQueueTags",
            "sqs:SetQueueAttributes",
            "sqs:TagQueue",
            "sqs:UntagQueue",
        )
    },
    "AWS::SQS::QueuePolicy": {"queues": ("sqs:GetQueueAttributes", "sqs:SetQueueAttributes")},
    "AWS::SNS::Subscription": {
        "subscribed topics": (
            "sns:GetSubscriptionAttributes",
            "sns:ListSubscriptionsByTopic",
            "sns:SetSubscriptionAttributes",
            "sns:Subscribe",
            "sns:Unsubscribe",
        )
    },
    "AWS::SNS::Topic": {
        "topics": (
            "sns:CreateTopic",
            "sns:DeleteTopic",
            "sns:GetDataProtectionPolicy",
            "sns:GetTopicAttributes",
            "sns:ListTagsForResource",
            "sns:SetTopicAttributes",
            "sns:TagResource",
            "sns:UntagResource",
        )
    },
    "AWS::SNS::TopicPolicy": {"topics": ("sns:SetTopicAttributes",)},
    "AWS::Events::Rule": {
        "rules": (
            "events:DeleteRule",
            "events:DescribeRule",
            "events:ListTargetsByRule",
            "events:PutRule",
            "events:PutTargets",
            "events:RemoveTargets",
            "events:TagResource",
        )
    },
    "AWS::Lambda::EventSourceMapping": {
        "`*`": (
            "lambda:CreateEventSourceMapping",
            "lambda:DeleteEventSourceMapping",
            "lambda:GetEventSourceMapping",
            "lambda:UpdateEventSourceMapping",
        ),
        "event source mappings": ("lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"),
    },
    "AWS::Lambda::Function": {
        "functions": (
            "lambda:CreateFunction",
            "lambda:DeleteFunction",
            "lambda:GetFunction",
            "lambda:GetFunctionCodeSigningConfig",
            "lambda:GetFunctionConfiguration",
            "lambda:GetFunctionRecursionConfig",
            "lambda:GetRuntimeManagementConfig",
            "lambda:ListTags",
            "lambda:TagResource",
            "lambda:UntagResource",
            "lambda:UpdateFunctionCode",
            "lambda:UpdateFunctionConfiguration",
        ),
        "`*`": ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"),
    },
    "AWS::Lambda::Permission": {"functions": ("lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission")},
    # CloudFormation invokes the function of a custom resource with its caller's permissions.
    "Custom::BucketNotification": {"functions": ("lambda:InvokeFunction",)},
    "Custom::ClusterSetup": {"functions": ("lambda:InvokeFunction",)},
    "AWS::IAM::Role": {
        "roles": (
            "iam:AttachRolePolicy",
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:PassRole",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
        )
    },
    "AWS::Logs::LogGroup": {
        "log groups": (
            "logs:AssociateKmsKey",
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:DeleteRetentionPolicy",
            "logs:DisassociateKmsKey",
            "logs:ListTagsForResource",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ),
        "`*`": ("logs:DescribeLogGroups",),
    },
    "AWS::Logs::ResourcePolicy": {
        "`*`": ("logs:DeleteResourcePolicy", "logs:DescribeResourcePolicies", "logs:PutResourcePolicy")
    },
    "AWS::OpenSearchService::Domain": {
        "domain": (
            "es:AddTags",
            "es:CreateDomain",
            "es:DeleteDomain",
            "es:DescribeDomain",
            "es:DescribeDomainChangeProgress",
            "es:DescribeDomainConfig",
            "es:GetUpgradeStatus",
            "es:ListTags",
            "es:RemoveTags",
            "es:UpdateDomainConfig",
            "es:UpgradeDomain",
        )
    },
    "AWS::OpenSearchServerless::AccessPolicy": {
        "`*`": (
            "aoss:CreateAccessPolicy",
            "aoss:DeleteAccessPolicy",
            "aoss:GetAccessPolicy",
            "aoss:UpdateAccessPolicy",
        )
    },
    "AWS::SecretsManager::Secret": {
        "secrets": (
            "secretsmanager:CreateSecret",
            "secretsmanager:DeleteSecret",
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "secretsmanager:TagResource",
            "secretsmanager:UntagResource",
            "secretsmanager:UpdateSecret",
        ),
        "`*`": ("secretsmanager:GetRandomPassword",),
    },
    "AWS::CloudWatch::Alarm": {
        "alarms": (
            "cloudwatch:DeleteAlarms",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:ListTagsForResource",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            "cloudwatch:UntagResource",
        )
    },
    "AWS::CloudWatch::Dashboard": {
        "dashboards": ("cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard")
    },
}


def merged(*tables: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return one table with the actions of all, sorted."""
    merged: dict[str, set[str]] = {}
    for table in tables:
        for resource, actions in table.items():
            merged.setdefault(resource, set()).update(actions)
    return {resource: tuple(sorted(actions)) for resource, actions in sorted(merged.items())}


# The calls of the command itself. The last two are optional: without them, `deploy` cannot say what would be denied.
COMMAND = {
    "stack": (
        "cloudformation:CreateChangeSet",
        "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack",
        "cloudformation:DescribeChangeSet",
        "cloudformation:DescribeStackEvents",
        "cloudformation:ExecuteChangeSet",
        "cloudformation:GetTemplate",
        "cloudformation:ListStackResources",
    ),
    "code bucket": (
        "s3:CreateBucket",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutObject",
    ),
    # The stacks of the region are listed, to keep the bundles that they use.
    "`*`": (
        "cloudformation:DescribeStacks",
        "cloudtrail:DescribeTrails",
        "iam:GetRole",
        "iam:SimulatePrincipalPolicy",
    ),
}

DEPLOY = merged(COMMAND, *BY_TYPE.values())
DESTROY = {"code bucket": (*COMMAND["code bucket"], "s3:DeleteBucket")}
