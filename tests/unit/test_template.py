"""Promises about the deployed template: it is sound by itself, and it and the code say the same."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.decode.cfn_yaml import loads

from infra.local import resources as local
from worker.aws.partitions import PARTITIONS
from worker.cli.deploy import next_commands
from worker.deploy.cluster_handler import ClusterVariables
from worker.deploy.custom_resource import LOOPBACK_VARIABLE
from worker.deploy.deployed import DeployedStack
from worker.deploy.notification_handler import NotificationVariables
from worker.deploy.template import parameter_defaults, parameter_names
from worker.opensearch import schema
from worker.settings import Settings, load_settings
from worker.telemetry import DIMENSION, METRICS, NAMESPACE
from worker.verify.metrics import VERIFY_METRICS

ROOT = Path(__file__).parents[2]
PATH = ROOT / "infra" / "template.yaml"
TEXT = PATH.read_text(encoding="utf-8")

# Plain values: cfn-lint's own decoder knows !Ref, !Sub and their kin, and gives them as {"Ref": …}.
TEMPLATE: dict[str, Any] = json.loads(json.dumps(loads(TEXT)))
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]

# What of the settings is not the deployed function's: it gets its password from Secrets Manager, never from a file.
NOT_FOR_LAMBDA = {"opensearch_username", "opensearch_password_file", "batch_seconds"}

# Values that CloudFormation would be given, one line for each kind of deployment.
DEPLOYMENTS = {
    "a new domain": {},
    "a new domain for people with passwords": {
        "DomainSignIn": "password",
        "BrowserCidrs": "203.0.113.0/24",
        "ClusterSetupBy": "operator",
    },
    "a new domain in a VPC, of three nodes": {
        "SubnetIds": "subnet-11111111,subnet-22222222,subnet-33333333",
        "SecurityGroupIds": "sg-11111111",
        "DomainInstanceCount": "3",
        "DomainMasterType": "m7g.medium.search",
        "DomainSignIn": "password",
        "KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/4f1d",
    },
    "a domain that is there, told by SNS": {
        "Destination": "domain",
        "EndpointUrl": "https://search-a-b.eu-central-1.es.amazonaws.com",
        "EndpointArn": "arn:aws:es:eu-central-1:123456789012:domain/a",
        "NotificationSource": "SNS",
        "TrailTopicArn": "arn:aws:sns:us-east-1:123456789012:trail",
    },
    "a collection, told by EventBridge": {
        "Destination": "serverless",
        "EndpointUrl": "https://abc.eu-central-1.aoss.amazonaws.com",
        "EndpointArn": "arn:aws:aoss:eu-central-1:123456789012:collection/abc",
        "CollectionName": "trail",
        "NotificationSource": "EventBridge",
    },
    "everything on a schedule": {
        "ScheduledCodeKey": "trailsink/def.zip",
        "VerifySchedule": "rate(1 day)",
        "DetectSchedule": "rate(5 minutes)",
        "DetectRulesBucket": "acme-rules",
        "DetectRulesPrefix": "sigma/",
        "FindingsTopicArn": "arn:aws:sns:eu-central-1:123456789012:findings",
    },
    "a cluster of one's own": {
        "Destination": "url",
        "EndpointUrl": "https://opensearch.example.com:9200",
        "SecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:opensearch-AbCdEf",
        "SubnetIds": "subnet-11111111",
        "SecurityGroupIds": "sg-11111111",
    },
}
LEAST = {"TrailBucketName": "acme-trail", "CodeBucket": "acme-code", "CodeKey": "trailsink/abc.zip"}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RESOURCES[name]["Properties"]
    return found


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


def everything_in(value: Any) -> list[Any]:
    """Return a value and all values inside it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for one in inside for found in everything_in(one))]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements() -> list[tuple[str, dict[str, Any]]]:
    """Return every statement of every policy, those under a condition too, by the resource that has it."""
    return [
        (name, one)
        for name, resource in RESOURCES.items()
        for one in everything_in(resource)
        if isinstance(one, dict) and "Effect" in one
    ]


def allowed() -> list[tuple[str, dict[str, Any]]]:
    return [(name, one) for name, one in statements() if one["Effect"] == "Allow"]


def resolve(value: Any, given: dict[str, str], true: dict[str, bool]) -> Any:
    """Work out conditions, parameters and lists; {} stands for what is not there, and other functions stay."""
    match value:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": str(name)} if name in given:
            return given[name]
        case {"Fn::If": [str(name), yes, no]}:
            return resolve(yes if true[name] else no, given, true)
        case dict():
            pairs = ((name, resolve(one, given, true)) for name, one in value.items())
            return {name: one for name, one in pairs if one is not None}
        case list():
            return [one for one in (resolve(one, given, true) for one in value) if one is not None]
    return value


def truth(condition: Any, given: dict[str, str]) -> bool:
    """Work out one condition or rule."""
    match condition:
        case {"Condition": str(name)}:
            return truth(TEMPLATE["Conditions"][name], given)
        case {"Fn::Equals": [one, other]}:
            return str(resolve(one, given, {})) == str(resolve(other, given, {}))
        case {"Fn::Not": [one]}:
            return not truth(one, given)
        case {"Fn::And": list(several)}:
            return all(truth(one, given) for one in several)
        case {"Fn::Or": list(several)}:
            return any(truth(one, given) for one in several)
    raise AssertionError(condition)


def values_of(deployment: dict[str, str]) -> dict[str, str]:
    defaults = {name: str(one["Default"]) for name, one in PARAMETERS.items() if "Default" in one}
    return defaults | LEAST | deployment


def deployed(deployment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the resources that CloudFormation would make of these parameters, with conditions worked out."""
    given = values_of(deployment)
    true = {name: truth(one, given) for name, one in TEMPLATE["Conditions"].items()}
    there = {name: one for name, one in RESOURCES.items() if true.get(one.get("Condition", ""), True)}
    return {name: resolve(one, given, true) for name, one in there.items()}


def broken_rules(deployment: dict[str, str]) -> list[str]:
    given = values_of(deployment)
    return [
        assertion["AssertDescription"]
        for rule in TEMPLATE["Rules"].values()
        if truth(rule.get("RuleCondition", {"Fn::And": []}), given)
        for assertion in rule["Assertions"]
        if not truth(assertion["Assert"], given)
    ]


def named_in(value: Any) -> set[str]:
    """Return the names of all that a value refers to."""
    found: set[str] = set()
    for one in everything_in(value):
        match one:
            case {"Ref": str(name)}:
                found.add(name)
            case {"Fn::GetAtt": [str(name), _]}:
                found.add(name)
            case {"Fn::Sub": str(text)}:
                found |= set(re.findall(r"\$\{([A-Za-z]+)", text))
            case {"Fn::Sub": [str(text), dict(own)]}:
                found |= set(re.findall(r"\$\{([A-Za-z]+)", text)) - set(own)
    return {name for name in found if not name.startswith("AWS")}


# By itself


def test_cfn_lint_finds_nothing() -> None:
    """Types, values, references and conditions, against AWS's own schemas of the resources."""
    matches = lint(TEXT, regions=["us-east-1", "eu-central-1"])

    assert [str(match) for match in matches] == []


def test_the_template_is_within_the_limits_of_cloudformation() -> None:
    """A template in a bucket, as both ways of deploying pass it: 1 MB, 500 resources, 200 parameters and 200 outputs.

    docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    """
    assert len(TEXT.encode()) <= 1_000_000
    assert len(RESOURCES) <= 500
    assert len(PARAMETERS) <= 200
    assert len(TEMPLATE["Outputs"]) <= 200


def test_every_parameter_is_described_bounded_and_shown_in_its_group() -> None:
    """A form in the console is the first that many see of it."""
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    bounds = {"AllowedPattern", "AllowedValues", "MinValue", "MinLength"}

    loose = [name for name, one in PARAMETERS.items() if not one.get("Description") or not bounds & set(one)]
    asked = [name for name, one in PARAMETERS.items() if "Default" not in one]
    shown = [name for group in groups for name in group["Parameters"]]

    assert loose == []
    assert asked == list(LEAST)
    assert sorted(shown) == sorted(PARAMETERS)


def test_deploy_reads_the_names_of_all_parameters() -> None:
    """It does so without a YAML library, and refuses a name that it has not read."""
    assert parameter_names(TEXT) == set(PARAMETERS)
    assert parameter_defaults(TEXT) == {
        name: str(one["Default"]) for name, one in PARAMETERS.items() if "Default" in one
    }


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_default_is_a_value_that_may_be_given(name: str) -> None:
    """CloudFormation refuses a template whose default its own constraint does not let through."""
    parameter = PARAMETERS[name]
    if "Default" not in parameter:
        return
    default = parameter["Default"]

    assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default))
    assert default in parameter.get("AllowedValues", [default])
    if parameter["Type"] == "Number":
        assert parameter.get("MinValue", default) <= default <= parameter.get("MaxValue", default)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_deployment_refers_only_to_what_is_made(deployment: dict[str, str]) -> None:
    """A reference to a resource whose condition is false fails on AWS, minutes into the making."""
    made = deployed(deployment)

    for name, value in deployment.items():
        assert re.fullmatch(PARAMETERS[name].get("AllowedPattern", ".*"), value)
    assert {name: loose for name, one in made.items() if (loose := named_in(one) - set(made) - set(PARAMETERS))} == {}
    assert broken_rules(deployment) == []


def test_what_is_made_follows_from_what_is_asked() -> None:
    """Nobody pays for a domain that they did not ask for."""
    made = {kind: set(deployed(deployment)) for kind, deployment in DEPLOYMENTS.items()}

    with_domain = {kind for kind, names in made.items() if "Domain" in names}
    assert with_domain == {kind for kind in DEPLOYMENTS if kind.startswith("a new domain")} | {
        "everything on a schedule"
    }
    scheduled = {"VerifyFunction", "DetectFunction", "FilesMissingAlarm"}
    assert {kind for kind, names in made.items() if names & scheduled} == {"everything on a schedule"}
    assert {kind for kind, names in made.items() if "CollectionAccess" in names} == {
        "a collection, told by EventBridge"
    }
    assert {kind for kind, names in made.items() if "TopicSubscription" in names} == {
        "a domain that is there, told by SNS"
    }
    assert {kind for kind, names in made.items() if "BucketNotification" not in names} == {
        "a domain that is there, told by SNS"
    }


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"NotificationSource": "SNS"}, "TrailTopicArn"),
        ({"NotificationSource": "EventBridge", "TrailBucketAccount": "210987654321"}, "another account's bucket"),
        ({"SubnetIds": "subnet-11111111"}, "go together"),
        ({"FiltersBucket": "acme-config"}, "FiltersBucket and FiltersKey go together"),
        ({"FiltersKey": "noise.json"}, "FiltersBucket and FiltersKey go together"),
        ({"Destination": "url"}, "EndpointUrl"),
        ({"Destination": "serverless", "EndpointUrl": "https://a.b"}, "EndpointArn"),
        ({"EndpointUrl": "https://a.b"}, "existing Destination"),
        ({"ClusterSetupBy": "operator"}, "DomainAdminArn"),
        ({"DomainSignIn": "password"}, "BrowserCidrs"),
        ({"DomainSignIn": "password", "BrowserCidrs": "203.0.113.0/24"}, "operator"),
    ],
)
def test_a_wrong_combination_is_refused_before_anything_is_made(wrong: dict[str, str], word: str) -> None:
    """Half an hour of making a domain is a long wait for a typing mistake."""
    assert any(word in sentence for sentence in broken_rules(wrong))


@pytest.mark.parametrize(
    ("prefix", "valid"),
    [
        ("AWSLogs/", True),
        ("org=acme/AWSLogs/", True),
        ("two words/AWSLogs/", True),
        ("Büro/AWSLogs/", True),
        ("a*b/", False),
        ("a?b/", False),
        ("a${b}/", False),
        ("漢/", False),
        ("AWSLogs", False),
        ("/AWSLogs/", False),
    ],
)
def test_a_prefix_may_be_what_a_trail_s_prefix_is(*, prefix: str, valid: bool) -> None:
    """But no wildcard in an ARN, and nothing that IAM does not take."""
    assert bool(re.fullmatch(PARAMETERS["TrailPrefix"]["AllowedPattern"], prefix)) is valid


# The queues


def test_a_message_is_hidden_for_six_times_the_functions_time_limit() -> None:
    """Less, and a message that is still worked on is given to a second function."""
    mapping = properties("LoaderSource")

    limit = properties("LoaderFunction")["Timeout"]

    needed = 6 * limit + mapping["MaximumBatchingWindowInSeconds"]
    assert properties("SourceQueue")["VisibilityTimeout"] >= needed
    assert properties("SourceQueue")["VisibilityTimeout"] == local.VISIBILITY_SECONDS


def test_the_queues_know_each_other() -> None:
    """The redrive policy makes the letters; only with it, and the allow policy, can they be moved back."""
    source, letters = properties("SourceQueue"), properties("DeadLetterQueue")

    redrive = source["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert letters["RedriveAllowPolicy"]["redrivePermission"] == "byQueue"
    [allowed_arn] = letters["RedriveAllowPolicy"]["sourceQueueArns"]
    assert source["QueueName"] == {"Ref": "AWS::StackName"}
    assert allowed_arn["Fn::Sub"].endswith(":${AWS::StackName}")
    assert source["MessageRetentionPeriod"] == letters["MessageRetentionPeriod"] == local.DEAD_LETTER_SECONDS


def test_a_message_is_given_up_after_as_many_receives_as_the_documents_say() -> None:
    """Promise 4: fewer would dead-letter what a cluster that is down for a day could not take."""
    receives = properties("SourceQueue")["RedrivePolicy"]["maxReceiveCount"]

    assert f"`maxReceiveCount` should be {receives}" in (ROOT / "docs/running.md").read_text(encoding="utf-8")
    assert receives == local.MAX_RECEIVES


def test_failures_are_reported_message_by_message() -> None:
    """Without it the answer is ignored, and every message of every batch is deleted."""
    mapping = properties("LoaderSource")

    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["SourceQueue", "Arn"]}
    assert mapping["FunctionName"] == {"Ref": "LoaderFunction"}
    assert "MaximumConcurrency" in mapping["ScalingConfig"]
    assert "ReservedConcurrentExecutions" not in properties("LoaderFunction")


@pytest.mark.parametrize("name", ["SourceQueuePolicy", "DeadLetterQueuePolicy", "AlarmTopicPolicy"])
def test_nothing_is_sent_or_read_in_clear(name: str) -> None:
    """TLS only, whatever else a policy allows."""
    [deny] = [one for owner, one in statements() if owner == name and one["Effect"] == "Deny"]

    assert deny["Principal"] == "*"
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_only_the_one_notifier_may_send(deployment: dict[str, str]) -> None:
    """A queue that anyone at S3 may send to is one that anyone may have files read from."""
    policy = deployed(deployment)["SourceQueuePolicy"]["Properties"]["PolicyDocument"]

    [allow] = [one for one in policy["Statement"] if one["Effect"] == "Allow"]

    source = values_of(deployment)["NotificationSource"]
    service = {"S3": "s3", "SNS": "sns", "EventBridge": "events"}[source]
    assert allow["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert allow["Action"] == "sqs:SendMessage"
    assert allow["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert ("StringEquals" in allow["Condition"]) == (source == "S3")


@pytest.mark.parametrize("name", ["SourceQueue", "DeadLetterQueue"])
@pytest.mark.parametrize("key", ["", "arn:aws:kms:eu-central-1:123456789012:key/4f1d"])
def test_queues_are_encrypted_one_way_or_the_other(name: str, key: str) -> None:
    """SQS takes either its own encryption or a key, and refuses both."""
    queue = deployed({"KmsKeyArn": key})[name]["Properties"]

    assert queue.get("SqsManagedSseEnabled", False) is not bool(key)
    assert queue.get("KmsMasterKeyId", "") == key


# Template and code


def test_the_environment_is_one_that_the_code_reads() -> None:
    """A name that nobody reads is a setting that silently does nothing."""
    functions = ("LoaderFunction", "VerifyFunction", "DetectFunction")
    names = {name for function in functions for name in properties(function)["Environment"]["Variables"]}
    fields = {f"TRAILSINK_{name.upper()}": field for name, field in Settings.model_fields.items()}
    required = {name for name, field in fields.items() if (field.description or "").endswith("Required.")}

    assert names <= set(fields)
    assert all(required <= set(properties(function)["Environment"]["Variables"]) for function in functions[:1])
    assert not names & {f"TRAILSINK_{name.upper()}" for name in NOT_FOR_LAMBDA}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_code_takes_the_environment(deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the settings refuse fails every invocation."""
    variables = deployed(deployment)["LoaderFunction"]["Properties"]["Environment"]["Variables"]
    given = values_of(deployment)
    for name, value in variables.items():
        match value:
            case {"Fn::FindInMap": [kind, key, member]}:
                text = TEMPLATE["Mappings"][kind][key][member]
            case {"Ref": "AWS::AccountId"}:
                text = "123456789012"
            case dict():
                text = "https://made.by.aws/queue"
            case _:
                text = value
        monkeypatch.setenv(name, text)

    settings = load_settings()

    assert settings.index_prefix == given["IndexPrefix"]
    expected = {"url": "basic"}.get(given["Destination"], "sigv4")
    assert settings.opensearch_auth == expected
    assert settings.opensearch_service == {"serverless": "aoss", "url": "auto"}.get(given["Destination"], "es")


def test_what_a_parameter_lets_through_the_settings_let_through() -> None:
    """Both bound the index prefix and the retention; the tighter of two would be met too late."""
    prefix = next(one for one in Settings.model_fields["index_prefix"].metadata if hasattr(one, "pattern"))

    assert PARAMETERS["IndexPrefix"]["AllowedPattern"] == prefix.pattern
    assert PARAMETERS["IndexPartition"]["Default"] == Settings.model_fields["index_partition"].default
    assert PARAMETERS["RetentionDays"]["MinValue"] == 0


@pytest.mark.parametrize("name", sorted(of_type("AWS::Lambda::Function")))
def test_every_handler_is_a_function_of_ours(name: str) -> None:
    """A misspelt handler is found by the first event, not by CloudFormation."""
    module, _, function = properties(name)["Handler"].rpartition(".")

    source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")

    assert re.search(rf"^def {function}\(event\b", source, re.MULTILINE)


CUSTOM = {"BucketNotification": NotificationVariables, "ClusterSetup": ClusterVariables}


def test_each_custom_resource_has_a_handler_that_names_it() -> None:
    """CloudFormation waits for an hour for the answer of a function that does not know it."""
    types = {name: resource["Type"] for name, resource in RESOURCES.items() if resource["Type"].startswith("Custom::")}

    assert types == {name: f"Custom::{name}" for name in CUSTOM}
    for name in CUSTOM:
        module = properties(f"{name}Function")["Handler"].rpartition(".")[0]
        assert f"`Custom::{name}`" in (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(CUSTOM))
def test_the_functions_of_custom_resources_are_told_by_their_environment(name: str) -> None:
    """It cannot be forged by whoever may invoke them. A variable that is misspelt would leave its default."""
    variables = properties(f"{name}Function")["Environment"]["Variables"]
    fields = {f"TRAILSINK_{field.upper()}" for field in CUSTOM[name].__struct_fields__}
    settings = {f"TRAILSINK_{field.upper()}" for field in Settings.model_fields}

    assert variables["TRAILSINK_STACK_ID"] == {"Ref": "AWS::StackId"}
    assert fields <= set(variables)
    assert set(variables) - fields - {"TRAILSINK_STACK_ID"} <= (settings if name == "ClusterSetup" else set())
    assert LOOPBACK_VARIABLE not in TEXT


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
@pytest.mark.parametrize("name", sorted(CUSTOM))
def test_a_change_of_a_function_s_environment_invokes_it(name: str, deployment: dict[str, str]) -> None:
    """CloudFormation calls a custom resource only when one of its properties changes: each value has to be there."""
    resources = deployed(deployment)
    if name not in resources:
        return
    variables = resources[f"{name}Function"]["Properties"]["Environment"]["Variables"]
    triggers = [json.dumps(value) for value in resources[name]["Properties"].values()]
    constant = ("TRAILSINK_STACK_ID", "TRAILSINK_BUCKET_ACCOUNT")

    missing = [
        variable
        for variable, value in variables.items()
        if value not in ("", "auto") and variable not in constant and json.dumps(value) not in triggers
    ]

    assert [variable for variable in missing if variable != "TRAILSINK_QUEUE_ARN"] == []


def test_a_custom_resource_waits_a_little_longer_than_its_function_may_take() -> None:
    """Less, and CloudFormation gives up while it is still answered; the default is an hour."""
    for one in ("BucketNotification", "ClusterSetup"):
        limit = properties(f"{one}Function")["Timeout"]

        assert limit < properties(one)["ServiceTimeout"] <= limit + 60


def test_a_new_mapping_is_put_in_place_by_an_update_of_the_stack() -> None:
    """CloudFormation calls a custom resource only when one of its properties changes."""
    assert properties("ClusterSetup")["Mapping"] == str(schema.VERSION)


def test_the_order_is_what_the_promises_need() -> None:
    """S3 tests the queue before it takes a notification; an index made before its template is wrong for ever."""
    assert RESOURCES["BucketNotification"]["DependsOn"] == "SourceQueuePolicy"
    assert "ClusterSetup" in named_in(RESOURCES["LoaderSource"])
    assert RESOURCES["Domain"]["DependsOn"] == "DomainLogsPolicy"


def dashboard() -> dict[str, Any]:
    text, own = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    text = text.replace("${Cluster}", own["Cluster"]["Fn::If"][1]["Fn::Sub"])
    body: dict[str, Any] = json.loads(text)
    return body


def shown() -> list[list[str]]:
    """Every metric of the dashboard as namespace, name and dimension, its dots and "..." filled in."""
    found: list[list[str]] = []
    for widget in dashboard()["widgets"]:
        before: list[str] = []
        for metric in widget["properties"]["metrics"]:
            words = [word for word in metric if isinstance(word, str)]
            before = (
                before
                if words in ([], ["..."])
                else [before[at] if word == "." else word for at, word in enumerate(words)]
            )
            found += [before] if before else []
    return found


def test_every_metric_that_is_watched_is_one_that_is_told() -> None:
    """An alarm on a metric that nobody publishes, or under another dimension, is silent for ever, and looks fine."""
    alarms = [one for one in of_type("AWS::CloudWatch::Alarm").values() if one.get("Namespace") == NAMESPACE]
    ours = [metric for metric in shown() if metric[0] == NAMESPACE]
    names = {metric[1] for metric in ours}

    published = {metric.name for metric in (*METRICS, *VERIFY_METRICS)}
    assert {alarm["MetricName"] for alarm in alarms} | names <= published
    assert names >= {"FilesIndexed", "RecordsIndexed", "BytesSent", "DeliveryLag", "BulkRetries", "DeadLetters"}
    assert {dimension["Name"] for alarm in alarms for dimension in alarm["Dimensions"]} == {DIMENSION}
    assert {tuple(metric[2:]) for metric in ours} == {(DIMENSION, "${SourceQueue.QueueName}")}


def test_the_dashboards_formula_uses_what_it_fetches() -> None:
    """A misspelt id shows an empty graph."""
    [cost] = [one for one in dashboard()["widgets"] if "dollars" in one["properties"]["title"]]
    options = [one[-1] for one in cost["properties"]["metrics"]]

    fetched = {one["id"] for one in options if "expression" not in one}
    used = set(re.findall(r"\b[a-z]+\b", re.sub(r"\$\{\w+\}", "1", options[0]["expression"])))

    assert used == fetched


def test_alarms_reach_somebody_and_say_what_is_wrong() -> None:
    """An alarm without words is a riddle at night."""
    alarms = of_type("AWS::CloudWatch::Alarm")

    assert {
        name for name, one in alarms.items() if not one.get("AlarmDescription") or not one.get("AlarmActions")
    } == set()
    assert alarms["SilenceAlarm"]["TreatMissingData"] == "breaching"
    assert alarms["LettersAlarm"]["MetricName"] == "ApproximateNumberOfMessagesVisible"  # sent ones leave out SQS's own


# Who may what


def test_no_right_is_wider_than_it_says() -> None:
    """No `*` for all actions of a service, and none for all resources but where an action has none.

    docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
    """
    wide = [
        (name, one.get("Sid"))
        for name, one in allowed()
        if any("*" in action for action in listed(one["Action"])) or "*" in listed(one.get("Resource"))
    ]

    assert wide == [("VerifyRole", "ListPublicKeys")]


def test_the_one_principal_that_is_anybody_is_a_person_with_a_password() -> None:
    """A browser is nobody to IAM: address or network is bounded, and the cluster asks for the password."""
    anybody = [one for _, one in allowed() if one.get("Principal") in ("*", {"AWS": "*"})]

    assert [one["Sid"] for one in anybody] == ["PeopleWithPassword"]
    for kind, deployment in DEPLOYMENTS.items():
        domain = deployed(deployment).get("Domain", {}).get("Properties", {})
        sids = {one["Sid"]: one for one in domain.get("AccessPolicies", {}).get("Statement", [])}
        assert ("PeopleWithPassword" in sids) == (deployment.get("DomainSignIn") == "password"), kind
        if "PeopleWithPassword" in sids and "VPCOptions" not in domain:
            assert sids["PeopleWithPassword"]["Condition"]["IpAddress"]["aws:SourceIp"]


def rights(role: str, deployment: dict[str, str]) -> set[str]:
    policies = deployed(deployment)[role]["Properties"]["Policies"]
    rows = [one for policy in policies for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    return {action for one in rows for action in listed(one["Action"])}


@pytest.mark.parametrize("name", sorted(of_type("AWS::IAM::Role")))
def test_every_role_takes_the_path_the_boundary_and_the_name(name: str) -> None:
    """Many companies refuse a role without their boundary; one without it fails the whole stack."""
    boundary = "arn:aws:iam::123456789012:policy/limits"
    parameters = {"RoleNames": "fixed", "RolePath": "/security/", "PermissionsBoundaryArn": boundary}

    admin = {"DomainAdminArn": "arn:aws:iam::123456789012:role/admin"}
    [generated, fixed] = [
        deployed(admin | DEPLOYMENTS["everything on a schedule"] | more)[name]["Properties"]
        for more in ({}, parameters)
    ]

    assert (generated["Path"], fixed["Path"]) == ("/", "/security/")
    assert "PermissionsBoundary" not in generated
    assert fixed["PermissionsBoundary"] == boundary
    assert "RoleName" not in generated
    assert fixed["RoleName"]["Fn::Sub"].startswith("${AWS::StackName}-")


def test_fixed_role_names_fit_with_a_stack_s_name() -> None:
    """IAM takes 64 characters; the description says how long the stack's name may be."""
    names = [role["RoleName"]["Fn::If"][1]["Fn::Sub"] for role in of_type("AWS::IAM::Role").values()]

    longest = 64 - max(len(name.removeprefix("${AWS::StackName}")) for name in names)

    assert len(set(names)) == len(names)
    assert f"a maximum of {longest} characters" in PARAMETERS["RoleNames"]["Description"]


LOADER = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"),
    *("sqs:SendMessage", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"),
    *("logs:CreateLogStream", "logs:PutLogEvents"),
}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("a new domain", {"es:ESHttpPost"}),
        ("a new domain in a VPC, of three nodes", {"es:ESHttpPost", "kms:Decrypt", "kms:GenerateDataKey"}),
        ("a collection, told by EventBridge", {"aoss:APIAccessAll"}),
        ("a cluster of one's own", {"secretsmanager:GetSecretValue"}),
    ],
)
def test_the_loader_may_do_what_it_does_and_nothing_else(kind: str, more: set[str]) -> None:
    """Rights that nobody needs are those that are abused."""
    assert rights("LoaderRole", DEPLOYMENTS[kind]) == LOADER | more


def test_the_custom_resources_may_do_what_they_do_and_nothing_else() -> None:
    """They run for a minute in a year, with rights that stay."""
    logs = {"logs:CreateLogStream", "logs:PutLogEvents"}

    assert rights("BucketNotificationRole", {}) == logs | {
        *("s3:GetBucketNotification", "s3:PutBucketNotification", "cloudformation:DescribeStacks")
    }
    assert rights("ClusterSetupRole", {}) == logs | {"es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut"}


def test_what_runs_on_a_schedule_reads_and_announces_and_nothing_else() -> None:
    """The cluster's own roles bound what they write there."""
    both = {
        "es:ESHttpGet",
        "es:ESHttpHead",
        "es:ESHttpPost",
        "es:ESHttpPut",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    scheduled = DEPLOYMENTS["everything on a schedule"]

    assert rights("VerifyRole", scheduled) == both | {
        *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "cloudtrail:ListPublicKeys")
    }
    assert rights("DetectRole", scheduled) == both | {"s3:GetObject", "s3:ListBucket", "sns:Publish"}


def test_a_schedule_passes_what_its_function_reads() -> None:
    """The event of another form would be refused at each run."""
    last = properties("VerifyRule")["Targets"][0]["Input"]["Fn::Sub"].replace("${VerifyDays}", "3")
    rules = properties("DetectRule")["Targets"][0]["Input"]["Fn::Sub"]

    assert json.loads(last) == {"last": "3d"}
    assert json.loads(rules) == {
        "rules": "s3://${DetectRulesBucket}/${DetectRulesPrefix}",
        "topic": "${FindingsTopicArn}",
    }


def test_policies_that_are_written_as_text_are_json() -> None:
    """CloudFormation does not look inside; the service refuses them, minutes into the making."""
    logs = properties("DomainLogsPolicy")["PolicyDocument"]["Fn::Sub"]
    text, own = properties("CollectionAccess")["Policy"]["Fn::Sub"]

    def written(*names: str) -> list[str]:
        policy = text
        for name in own:
            _, more, none = own[name]["Fn::If"]
            policy = policy.replace(f"${{{name}}}", more["Fn::Sub"] if name in names else none)
        return [rule["Description"] for rule in json.loads(policy)]

    assert [statement["Effect"] for statement in json.loads(logs)["Statement"]] == ["Allow"]
    assert written() == ["load"]
    assert written("SetUp") == ["load", "set up"]
    assert written("Verify", "Detect", "SetUp") == ["load", "verify", "detect", "set up"]


def test_every_function_has_a_role_and_a_log_of_its_own() -> None:
    """A shared role has the rights of all who share it."""
    functions = of_type("AWS::Lambda::Function").values()

    assert len({one["Role"]["Fn::GetAtt"][0] for one in functions}) == len(functions)
    assert len({one["LoggingConfig"]["LogGroup"]["Ref"] for one in functions}) == len(functions)
    assert all("RetentionInDays" in one for one in of_type("AWS::Logs::LogGroup").values())


# The domain


def test_a_domain_is_kept_and_closed() -> None:
    """It holds the data: it outlives the stack, and nothing goes in or out in clear or unnamed."""
    domain = properties("Domain")

    for name in ("Domain", "DomainSecret"):
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"
    assert domain["EncryptionAtRestOptions"]["Enabled"] is True
    assert domain["NodeToNodeEncryptionOptions"] == {"Enabled": True}
    assert domain["DomainEndpointOptions"]["EnforceHTTPS"] is True
    assert "TLS-1-2" in domain["DomainEndpointOptions"]["TLSSecurityPolicy"]
    assert domain["AdvancedSecurityOptions"]["Enabled"] is True
    assert domain["EBSOptions"]["VolumeType"] == "gp3"
    assert {"AUDIT_LOGS", "ES_APPLICATION_LOGS"} <= set(domain["LogPublishingOptions"])


@pytest.mark.parametrize(
    ("domain_key", "expected"), [("customer", "arn:aws:kms:eu-central-1:123456789012:key/4f1d"), ("aws", None)]
)
def test_the_domain_s_key_can_stay_while_everything_else_gets_one(domain_key: str, expected: str | None) -> None:
    """A domain whose key changes is replaced by an empty one, so an existing one keeps what it has."""
    key = {"KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/4f1d", "DomainKey": domain_key}

    made = deployed(key)

    assert made["Domain"]["Properties"]["EncryptionAtRestOptions"].get("KmsKeyId") == expected
    assert made["SourceQueue"]["Properties"]["KmsMasterKeyId"] == key["KmsKeyArn"]


def test_the_master_is_the_role_that_sets_up_or_a_password_that_nobody_chose() -> None:
    """A password in a parameter is one in a history."""
    by_role = deployed({})["Domain"]["Properties"]["AdvancedSecurityOptions"]
    by_password = deployed(DEPLOYMENTS["a new domain in a VPC, of three nodes"])

    master = by_password["Domain"]["Properties"]["AdvancedSecurityOptions"]["MasterUserOptions"]
    assert by_role["MasterUserOptions"] == {"MasterUserARN": {"Fn::GetAtt": ["ClusterSetupRole", "Arn"]}}
    assert by_role["InternalUserDatabaseEnabled"] is False
    assert all("{{resolve:secretsmanager:${DomainSecret}:" in one["Fn::Sub"] for one in master.values())
    assert by_password["ClusterSetup"]["Properties"]["OpensearchAuth"] == "basic"
    secret = by_password["DomainSecret"]["Properties"]["GenerateSecretString"]
    assert list(json.loads(secret["SecretStringTemplate"])) == ["username"]
    assert secret["GenerateStringKey"] == "password"


def test_the_oldest_engine_is_the_oldest_that_is_tested() -> None:
    """Before 2.19 a flat_object can take a node down."""
    pattern = PARAMETERS["DomainEngineVersion"]["AllowedPattern"]

    assert [bool(re.fullmatch(pattern, f"OpenSearch_{one}")) for one in ("2.17", "2.19", "3.1", "3.5")] == [
        False,
        True,
        True,
        True,
    ]


def test_no_index_of_a_domain_of_one_node_waits_for_a_copy() -> None:
    """A copy without a node makes the cluster yellow for ever, and hides what yellow is for."""
    three = DEPLOYMENTS["a new domain in a VPC, of three nodes"]

    assert deployed({})["ClusterSetup"]["Properties"]["Replicas"] == "0"
    assert "Replicas" not in deployed(three)["ClusterSetup"]["Properties"]
    assert deployed({"Replicas": "2"})["ClusterSetup"]["Properties"]["Replicas"] == "2"


def test_a_domain_has_as_many_zones_as_subnets() -> None:
    """OpenSearch Service refuses other numbers."""
    three = DEPLOYMENTS["a new domain in a VPC, of three nodes"]

    config = deployed(three)["Domain"]["Properties"]["ClusterConfig"]

    assert config["ZoneAwarenessConfig"] == {"AvailabilityZoneCount": 3}
    assert config["DedicatedMasterCount"] == 3
    assert deployed({})["Domain"]["Properties"]["ClusterConfig"]["ZoneAwarenessEnabled"] is False


@pytest.mark.parametrize("name", ["Domain", "DomainSecret", "DomainLogs", "DomainLogsPolicy"])
def test_what_a_domain_needs_stays_with_it(name: str) -> None:
    """Its logs say who has read the events; without their policy it could not write them any more."""
    assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


# Partitions, regions and shells


def test_the_console_s_hosts_are_those_of_the_code() -> None:
    """A key that is missing fails the stack, because the dashboard's address is an output."""
    hosts = {name: entry["Host"] for name, entry in TEMPLATE["Mappings"]["Console"].items()}

    assert hosts == {partition.name: partition.console for partition in PARTITIONS}
    text, own = TEMPLATE["Outputs"]["PipelineDashboard"]["Value"]["Fn::Sub"]
    assert text.startswith("https://${AWS::Region}.${Host}/cloudwatch/")
    assert own["Host"] == {"Fn::FindInMap": ["Console", {"Ref": "AWS::Partition"}, "Host"]}


def test_nothing_but_a_service_principal_names_a_domain_of_one_partition() -> None:
    """Elsewhere, AWS::URLSuffix or a mapping says it."""
    texts = [text for text in everything_in([RESOURCES, TEMPLATE["Outputs"]]) if isinstance(text, str)]
    domains = {domain for text in texts for domain in re.findall(r"[\w.*-]*\.amazon(?:aws)?\.com[\w.-]*", text)}

    assert domains
    assert {domain for domain in domains if not re.fullmatch(r"[a-z0-9]+\.amazonaws\.com", domain)} == set()


@pytest.mark.parametrize(
    ("deployment", "auth"),
    [
        ("a new domain", "sigv4"),
        ("a new domain for people with passwords", "basic"),
        ("a domain that is there, told by SNS", "sigv4"),
        ("a cluster of one's own", "basic"),
    ],
)
def test_the_next_commands_say_how_to_sign_in(deployment: str, auth: str) -> None:
    """By its host name, an endpoint of one's own would be asked unsigned."""
    text, own = TEMPLATE["Outputs"]["NextCommands"]["Value"]["Fn::Sub"]
    given = values_of(DEPLOYMENTS[deployment])
    true = {name: truth(condition, given) for name, condition in TEMPLATE["Conditions"].items()}

    value = resolve(own["Auth"], given, true)

    match value:
        case {"Fn::FindInMap": [kind, key, member]}:
            value = TEMPLATE["Mappings"][kind][key][member]
    assert "TRAILSINK_OPENSEARCH_AUTH=${Auth}" in text
    assert value == auth


def test_the_next_commands_replace_what_another_pipeline_set() -> None:
    """A setting that they leave out would stay in the shell, and belong to another stack."""
    text, _ = TEMPLATE["Outputs"]["NextCommands"]["Value"]["Fn::Sub"]
    names = {*PARAMETERS, *TEMPLATE["Outputs"]}

    for setting in DeployedStack("trailsink", dict.fromkeys(names, "x"), "").settings:
        assert f" TRAILSINK_{setting.upper()}=" in text.replace("\n", " ")


@pytest.mark.parametrize(
    ("set_up", "expected"),
    [
        ("", "trailsink doctor --stack audit"),
        (
            "trailsink setup --loader-role arn:role; ",
            "trailsink setup --stack audit --loader-role arn:role; trailsink doctor --stack audit",
        ),
    ],
)
@pytest.mark.parametrize("filters", ["", "s3://b/noise.json"])
def test_a_deployment_ends_with_what_is_typed_next(set_up: str, expected: str, filters: str) -> None:
    """Nobody pastes 800 characters; who needs them has `trailsink env`."""
    text, _ = TEMPLATE["Outputs"]["NextCommands"]["Value"]["Fn::Sub"]
    known = {"SetUp": set_up, "Filters": filters, "Prefix": "it'\\''s; a/"}
    output = re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: known.get(found[1], "x"), text).strip().replace("\n", " ")

    assert next_commands(output, "audit") == expected
    assert next_commands("", "audit") == "trailsink doctor --stack audit"


@pytest.mark.parametrize("prefix", ["AWSLogs/", "a b/AWSLogs/", "it's; id&/(x)!/"])
def test_a_shell_reads_the_prefix_as_it_is(prefix: str) -> None:
    """S3 allows almost any character in a key."""
    _, own = TEMPLATE["Outputs"]["NextCommands"]["Value"]["Fn::Sub"]
    assert re.fullmatch(PARAMETERS["TrailPrefix"]["AllowedPattern"], prefix)

    glue, parts = own["Prefix"]["Fn::Join"]
    quoted = glue.join(prefix.split(parts["Fn::Split"][0]))

    assert shlex.split(f"export A='{quoted}' B=1") == ["export", f"A={prefix}", "B=1"]


@pytest.mark.parametrize("path", ["$(id)", "a`id`", "a;id", "a'b", 'a"b', "a b", "a|b", "a&b", "${HOME}"])
def test_an_endpoint_s_address_holds_nothing_that_a_shell_reads(path: str) -> None:
    """README has `eval` of the next commands."""
    pattern = PARAMETERS["EndpointUrl"]["AllowedPattern"]

    assert not re.fullmatch(pattern, f"https://a.b/{path}")
    assert re.fullmatch(pattern, "https://a.b:9200/logs/2026")


@pytest.mark.parametrize(
    ("principal", "valid"),
    [
        ("sns.amazonaws.com", True),
        ("sns.me-central-1.amazonaws.com", True),
        ("*", False),
        ("s3.amazonaws.com", False),
        ("sns.amazonaws.com.evil.example", False),
    ],
)
def test_a_topic_of_an_opt_in_region_can_be_let_in(*, principal: str, valid: bool) -> None:
    """There, SNS sends under a name of the region's; both queues must let that one in and no other."""
    assert bool(re.fullmatch(PARAMETERS["TrailTopicService"]["AllowedPattern"], principal)) is valid

    made = deployed(DEPLOYMENTS["a domain that is there, told by SNS"] | {"TrailTopicService": principal})

    for name in ("SourceQueuePolicy", "DeadLetterQueuePolicy"):
        statements_ = made[name]["Properties"]["PolicyDocument"]["Statement"]
        allowed_ = [statement for statement in statements_ if statement["Effect"] == "Allow"]
        assert [statement["Principal"] for statement in allowed_] == [{"Service": principal}]


# Alarms


def test_a_single_waiting_file_raises_the_alarm_within_the_longest_delay() -> None:
    """A message comes back at least once an hour, and SQS itself does not count it any more."""
    alarm = properties("HandedBackAlarm")

    assert alarm["MetricName"] in {metric.name for metric in METRICS}
    assert alarm["Period"] >= Settings.model_fields["backoff_max_seconds"].default
    assert (alarm["DatapointsToAlarm"], alarm["Statistic"]) == (1, "Maximum")


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("MemoryAlarm", "JVMMemoryPressure"),
        ("SnapshotAlarm", "AutomatedSnapshotFailure"),
        ("KeyErrorAlarm", "KMSKeyError"),
        ("KeyInaccessibleAlarm", "KMSKeyInaccessible"),
    ],
)
def test_the_domain_has_the_alarms_that_aws_recommends(name: str, metric: str) -> None:
    """Those of its key only where it has one: without a key there is no such metric."""
    key = {"KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/4f1d"}

    assert properties(name)["MetricName"] == metric
    assert name in deployed(key)
    assert (name in deployed({})) == (not name.startswith("Key"))
    assert name not in deployed(DEPLOYMENTS["a cluster of one's own"])


def test_the_default_domain_is_warned_before_its_shards_are_used_up() -> None:
    """At the limit, no index of a new day can be created. 90 days of indices must not raise it."""
    alarm = deployed({})["ShardsAlarm"]["Properties"]
    limit = int(PARAMETERS["DomainShardsPerNode"]["Default"]) * int(PARAMETERS["DomainInstanceCount"]["Default"])

    assert alarm["Metrics"][0]["MetricStat"]["Metric"]["MetricName"] == "Shards.active"
    assert 100 < limit * alarm["Threshold"] / 100 < limit
