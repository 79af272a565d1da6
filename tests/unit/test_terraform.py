"""Promises about the Terraform module: it says what the template says, and hands over what its user says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

import hcl2
import pytest

from infra.generate.terraform import MODULE, TEMPLATE, files, read_template
from worker.deploy.template import UPLOADED_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEMPLATE_SAYS = read_template()
PARAMETERS: dict[str, dict[str, Any]] = {
    name: one for name, one in TEMPLATE_SAYS["Parameters"].items() if name not in UPLOADED_PARAMETERS
}
OF_ITS_OWN = {"bundle", "scheduled_bundle", "stack_name", "code_bucket", "tags"}
DOCS = MODULE.parents[1] / "docs"
PLAIN = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)

# A value for each parameter that a pattern bounds, as CloudFormation is given it.
GIVEN = {
    "MergedReplicas": "0",
    "VerifySchedule": "rate(1 day)",
    "DetectSchedule": "cron(0/5 * * * ? *)",
    "DetectRulesBucket": "acme-rules",
    "DetectRulesPrefix": "sigma/aws/",
    "FindingsTopicArn": "arn:aws:sns:eu-central-1:123456789012:findings",
    "TrailBucketName": "acme-trail",
    "TrailBucketAccount": "123456789012",
    "NotificationVersion": "20261130T2200",
    "TrailPrefix": "acme/it's=(1)! & Büro/AWSLogs/",
    "TrailKmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/4f1d",
    "TrailTopicArn": "arn:aws:sns:us-east-1:123456789012:trail",
    "TrailTopicService": "sns.me-central-1.amazonaws.com",
    "KmsKeyArn": "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/4f1d",
    "SubnetIds": "subnet-11111111,subnet-22222222",
    "SecurityGroupIds": "sg-11111111",
    "EndpointUrl": "https://[2001:db8::1]:9200/logs",
    "EndpointArn": "arn:aws:aoss:eu-central-1:123456789012:collection/abc",
    "CollectionName": "trail",
    "SecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:opensearch-AbCdEf",
    "SecretKmsKeyArn": "",
    "RolePath": "/security/",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/limits",
    "IndexPrefix": "cloudtrail_2",
    "FiltersBucket": "acme-filters",
    "FiltersKey": "noise.json",
    "Replicas": "2",
    "DomainName": "trail",
    "DomainEngineVersion": "OpenSearch_3.1",
    "DomainInstanceType": "r7g.large.search",
    "DomainMasterType": "m7g.medium.search",
    "BrowserCidrs": "203.0.113.0/24,198.51.100.0/24",
    "DomainAdminArn": "arn:aws:iam::123456789012:role/people",
    "AlarmEmail": "you@example.com",
    "AlarmTopicArn": "",
}


@cache
def blocks(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the blocks of one kind by their first label."""
    return blocks_of(path.read_text(encoding="utf-8"), kind)


def blocks_of(text: str, kind: str) -> dict[str, dict[str, Any]]:
    found = hcl2.loads(text, serialization_options=PLAIN).get(kind, [])
    return {name: body for one in found for name, body in one.items()}


def resource(kind: str, name: str) -> dict[str, Any]:
    found = hcl2.loads((MODULE / "main.tf").read_text(encoding="utf-8"), serialization_options=PLAIN)["resource"]
    body: dict[str, Any] = next(one[kind][name] for one in found if name in one.get(kind, {}))
    return body


def variables() -> dict[str, dict[str, Any]]:
    """All of the module's: those of the template and its own."""
    return blocks(MODULE / "variables.tf", "variable") | blocks(MODULE / "main.tf", "variable")


def snake(name: str) -> str:
    return "_".join(re.findall(r"[A-Z][a-z]*", name)).lower()


def is_list(name: str) -> bool:
    return "comma-separated" in PARAMETERS[name]["Description"]


def last_value(rules: dict[str, Any]) -> str:
    """A value that is allowed, and seldom the default."""
    return str(rules["AllowedValues"][-1] if "AllowedValues" in rules else rules["MaxValue"])


def for_terraform(name: str, text: str) -> Any:
    """Write a parameter's value as a user of the module does."""
    if is_list(name):
        return text.split(",")
    return int(text) if PARAMETERS[name]["Type"] == "Number" else text


def wrong(name: str) -> Any:
    """A value of the right type that the template refuses."""
    rules = PARAMETERS[name]
    if rules["Type"] == "Number":
        return rules["MaxValue"] + 1 if "MaxValue" in rules else 4
    return ["€"] if is_list(name) else "€"


# By itself, and beside the template


@pytest.mark.parametrize("name", ["variables.tf", "parameters.tf", "outputs.tf"])
def test_the_module_was_made_from_the_template_as_it_is(name: str) -> None:
    """Whoever changes the template is told here to run `make docs`."""
    assert (MODULE / name).read_text(encoding="utf-8") == files(TEMPLATE_SAYS)[name]


def test_each_parameter_is_a_variable_of_its_name_type_and_bounds() -> None:
    """Read with a parser of HCL, so that what makes the files is not its own judge."""
    found = variables()
    kinds = {name: "number" if one["Type"] == "Number" else "string" for name, one in PARAMETERS.items()}
    kinds |= dict.fromkeys(("SubnetIds", "SecurityGroupIds", "BrowserCidrs"), "${list(string)}")

    assert set(found) == {snake(name) for name in PARAMETERS} | OF_ITS_OWN
    for name, rules in PARAMETERS.items():
        variable = found[snake(name)]
        conditions = " ".join(one["condition"] for one in variable["validation"])
        bounds = [json.dumps(rules[one]) for one in ("AllowedPattern", "AllowedValues") if one in rules]
        bounds += [f"= {rules[one]}" for one in ("MinValue", "MaxValue", "MaxLength") if one in rules]
        assert variable["type"] == kinds[name], name
        assert ("default" in variable) == ("Default" in rules), name
        assert variable.get("default") is None, name
        assert bounds, name
        assert [bound for bound in bounds if bound not in conditions] == [], name


def test_each_description_tells_the_default() -> None:
    """Nobody should have to open the template to know what a variable that is left out does."""
    found = variables()
    said = {name: found[snake(name)]["description"] for name in PARAMETERS}
    defaults = {name: one["Default"] for name, one in PARAMETERS.items() if one.get("Default", "") != ""}

    assert {name for name, words in said.items() if "[default: " in words} == set(defaults)
    assert [name for name, one in defaults.items() if not said[name].endswith(f"[default: {one}]")] == []


def test_no_description_speaks_of_a_parameter_by_its_name_in_the_template() -> None:
    """`With BrowserCidrs` would send a reader looking for a variable that is not there."""
    found = [*variables().values(), *blocks(MODULE / "outputs.tf", "output").values()]
    words = " ".join(one["description"] for one in found)

    assert set(re.findall(r"\w+", words)) & {name for name in PARAMETERS if snake(name) != name.lower()} == set()
    assert "comma-separated" not in words


def test_each_output_of_the_stack_is_one_of_the_module() -> None:
    """Under a name of Terraform's; what is not always there is null, and no error."""
    found = {name: one["value"] for name, one in blocks(MODULE / "outputs.tf", "output").items()}

    assert set(found) == {snake(name) for name in TEMPLATE_SAYS["Outputs"]}
    for name, output in TEMPLATE_SAYS["Outputs"].items():
        assert f'"{name}"' in found[snake(name)]
        assert ("null" in found[snake(name)]) == ("Condition" in output)


def test_the_stack_is_the_template_with_no_more_power_than_it_needs() -> None:
    """A role's name is the stack's own, and only on request: another could take a role's place."""
    stack = resource("aws_cloudformation_stack", "trailsink")
    identities = [one["Properties"] for one in TEMPLATE_SAYS["Resources"].values() if one["Type"][:10] == "AWS::IAM::"]
    names = [one[word] for one in identities for word in ("RoleName", "PolicyName", "ManagedPolicyName") if word in one]

    assert (MODULE / "../template.yaml").resolve() == TEMPLATE.resolve()
    assert 'template = "${path.module}/../template.yaml"' in (MODULE / "main.tf").read_text(encoding="utf-8")
    assert stack["capabilities"] == ["CAPABILITY_NAMED_IAM"]
    for name in names:
        condition, fixed, otherwise = name["Fn::If"]
        assert (condition, otherwise) == ("HasFixedRoleNames", {"Ref": "AWS::NoValue"})
        assert fixed["Fn::Sub"].startswith("${AWS::StackName}-")


def test_nothing_replaces_a_stack_that_is_there_but_another_name() -> None:
    """Replaced, its queue would be a new one with nothing in it. An imported stack has none of these arguments."""
    stack = resource("aws_cloudformation_stack", "trailsink")

    assert {"on_failure", "disable_rollback", "timeout_in_minutes"} & set(stack) == set()


@pytest.mark.parametrize("name", ["bundle", "template"])
def test_old_code_goes_after_new_code_runs(name: str) -> None:
    """An update that fails is rolled back to it; and it is seen in CodeKey that the stack has not the new one."""
    found = resource("aws_s3_object", name)

    assert found["lifecycle"] == [{"create_before_destroy": True}]
    assert "${local.release}" in found["key"]


def test_what_the_loader_runs_is_compared_with_the_bundle() -> None:
    """The key in the bucket names what was uploaded, and not what Lambda has read there."""
    whole = hcl2.loads((MODULE / "main.tf").read_text(encoding="utf-8"), serialization_options=PLAIN)
    [check] = [body for block in whole["check"] for body in block.values()]
    [assertion] = check["assert"]

    assert "filebase64sha256(var.bundle)" in assertion["condition"]
    assert "data.aws_lambda_function.loader.source_code_hash" in assertion["condition"]


def test_the_module_s_bucket_takes_no_request_without_tls() -> None:
    """As the one that `trailsink deploy` creates."""
    policy = resource("aws_s3_bucket_policy", "code")["policy"]

    assert "aws:SecureTransport" in str(policy)
    assert "Deny" in str(policy)


@pytest.mark.parametrize("path", [MODULE / "examples/minimal/main.tf", DOCS / "terraform.md"], ids=lambda one: one.name)
def test_examples_say_what_the_module_takes_and_gives(path: Path) -> None:
    """They are copied, and a wrong name costs a stranger's first minutes."""
    text = path.read_text(encoding="utf-8")
    texts = re.findall(r"```hcl\n(.*?)```", text, re.DOTALL) if path.suffix == ".md" else [text]
    modules = [body for one in texts for body in blocks_of(one, "module").values()]
    inputs, outputs = set(variables()), set(blocks(MODULE / "outputs.tf", "output"))

    assert modules
    for said in modules:
        assert set(said) - {"source"} <= inputs
        assert {"source", "trail_bucket_name", "bundle"} <= set(said)
    assert set(re.findall(r"module\.trailsink\.([a-z_]+)", text)) - {"aws_cloudformation_stack"} <= outputs


# With a real binary


@pytest.fixture
def binary() -> str:
    """OpenTofu or Terraform, where one of them is on PATH."""
    found = shutil.which("tofu") or shutil.which("terraform")
    if not found:
        pytest.skip("neither tofu nor terraform is on PATH")
    return found


@pytest.fixture
def work_out(binary: str, tmp_path: Path) -> Callable[[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """What CloudFormation would be given: the module without its resources, which needs no provider and no network."""
    for name in ("variables.tf", "parameters.tf"):
        shutil.copy(MODULE / name, tmp_path)
    (tmp_path / "shown.tf").write_text('output "parameters" {\n  value = local.parameters\n}\n', encoding="utf-8")

    def run(values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "given.auto.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
        return call(binary, "apply", "-auto-approve", "-input=false", "-no-color", "-compact-warnings", folder=tmp_path)

    return run


def call(binary: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    nothing_of_the_user = {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "PATH": os.environ["PATH"]}
    return subprocess.run(
        [binary, *words], cwd=folder, env=nothing_of_the_user, capture_output=True, text=True, timeout=120, check=False
    )


def parameters(folder: Path) -> dict[str, str]:
    state = json.loads((folder / "terraform.tfstate").read_text(encoding="utf-8"))
    found: dict[str, str] = state["outputs"]["parameters"]["value"]
    return found


def test_the_files_are_written_as_its_formatter_writes_them(binary: str) -> None:
    """What users see in their editors does not change when they save it."""
    done = call(binary, "fmt", "-check", "-diff", "-recursive", "-no-color", folder=MODULE)

    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_what_is_not_said_is_left_to_the_template(
    work_out: Callable[[dict[str, Any]], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """So defaults stand in one place, and a new release may better one."""
    done = work_out({"trail_bucket_name": "acme-trail"})

    assert done.returncode == 0, done.stderr
    assert parameters(tmp_path) == {"TrailBucketName": "acme-trail"}


def test_what_is_said_reaches_its_parameter_as_text(
    work_out: Callable[[dict[str, Any]], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Every variable, numbers and lists too; a zero is a value."""
    given = {name: last_value(one) for name, one in PARAMETERS.items() if "AllowedPattern" not in one} | GIVEN
    given["RetentionDays"] = "0"

    done = work_out({snake(name): for_terraform(name, text) for name, text in given.items()})

    assert done.returncode == 0, done.stderr
    assert set(given) == set(PARAMETERS)
    assert parameters(tmp_path) == given


def test_what_the_template_would_refuse_is_refused_before_anything_is_planned(
    work_out: Callable[[dict[str, Any]], subprocess.CompletedProcess[str]],
) -> None:
    """CloudFormation says it too, but only after minutes, and one at a time."""
    done = work_out({snake(name): wrong(name) for name in PARAMETERS} | {"memory_megabytes": 1769.5})

    refused = re.findall(r"^(\w+) must ", done.stderr, re.MULTILINE)
    assert done.returncode == 1
    assert set(refused) == {snake(name) for name in PARAMETERS}
