"""Stacks of docker/cloud/cdeep3m.yaml in an emulated AWS, and what CloudFormation does that the emulator leaves out."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import moto.cloudformation.parsing as emulator
import yaml
from moto import mock_aws
from moto.core.common_models import CloudFormationModel
from moto.ssm.models import Parameter, ssm_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLOUD = Path(__file__).parents[2] / "docker" / "cloud"
TEMPLATE = CLOUD / "cdeep3m.yaml"
REGION, ACCOUNT = "us-east-1", "123456789012"
SIGNAL = "https://cloudformation-waitcondition.example/arn%3Aaws%3Acloudformation?Expires=1&Signature=a%2Fb%3D"
NEEDED = {"Archive": "https://releases.example/cdeep3m-0.1.0.tar.gz", "ArchiveSha256": "0" * 64}
"""Parameters without a default."""


class _Waiting:
    """What the emulator leaves out of a stack: of it, only the address to tell counts here."""

    kind = ""
    physical_resource_id = SIGNAL

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.kind

    @classmethod
    def create_from_cloudformation_json(cls, *_: Any, **__: Any) -> Any:
        return cls()

    @classmethod
    def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any, **__: Any) -> None:
        return None

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return False


class WaitConditionHandle(_Waiting, CloudFormationModel):
    kind = "AWS::CloudFormation::WaitConditionHandle"


class WaitCondition(_Waiting, CloudFormationModel):
    kind = "AWS::CloudFormation::WaitCondition"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, as the long ones."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        value = value.split(".", 1) if suffix == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@cache
def read_template() -> dict[str, Any]:
    """Return the template with all functions written out; to be read only, as it is read once."""
    return yaml.load(TEMPLATE.read_text(), Loader=_Loader)


def objections(template: dict[str, Any], given: dict[str, str]) -> list[str]:
    """List what CloudFormation has against these parameters: constraints first, then the rules."""
    found = [
        name for name, slot in template["Parameters"].items() if not fits(slot, given.get(name, slot.get("Default")))
    ]
    values = {name: given.get(name, slot.get("Default")) for name, slot in template["Parameters"].items()}
    return found or [text for rule in template["Rules"].values() for text in broken(rule, values)]


def fits(slot: dict[str, Any], value: Any) -> bool:
    """Whether a value is one that a parameter takes."""
    if value is None or ("AllowedValues" in slot and str(value) not in map(str, slot["AllowedValues"])):
        return False
    if slot["Type"] == "Number":
        whole = re.fullmatch(r"-?\d+", str(value))
        return bool(whole) and slot["MinValue"] <= int(value) <= slot["MaxValue"]
    return re.fullmatch(slot.get("AllowedPattern", ".*"), str(value)) is not None


def broken(rule: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """List what a rule says of these values where they break it."""
    if not evaluate(rule.get("RuleCondition", True), values):
        return []
    return [one["AssertDescription"] for one in rule["Assertions"] if not evaluate(one["Assert"], values)]


def evaluate(expression: Any, values: dict[str, Any]) -> Any:
    """Evaluate the functions that rules may have."""
    if isinstance(expression, list):
        return [evaluate(one, values) for one in expression]
    if not isinstance(expression, dict):
        return expression
    ((name, argument),) = expression.items()
    if name == "Ref":
        return values[argument]
    words = evaluate(argument, values)
    functions: dict[str, Callable[[Any], Any]] = {
        "Fn::Not": lambda w: not w[0], "Fn::And": all, "Fn::Or": any,
        "Fn::Equals": lambda w: str(w[0]) == str(w[1]), "Fn::Contains": lambda w: w[1] in w[0],
    }  # fmt: skip
    return functions[name](words)


@cache
def _session() -> boto3.session.Session:
    """One session for all accounts: AWS's descriptions of itself take longer to read than a stack to make."""
    return boto3.session.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)


@contextmanager
def emulated_aws() -> Iterator[Account]:
    """An account without anything in it, but for what AWS itself gives."""
    old = list(emulator.NULL_MODELS)
    emulator.NULL_MODELS.clear()
    for kept in (emulator.get_model_list, emulator.get_model_map, emulator.get_name_type_map):
        kept.cache_clear()
    try:
        with mock_aws():
            yield Account()
    finally:
        emulator.NULL_MODELS.extend(old)


@dataclass
class Account:
    """An emulated account, with public names of two machine images, a key pair and a network of its own."""

    client: Callable[..., Any] = field(default_factory=lambda: _session().client)

    def __post_init__(self) -> None:
        ec2 = self.client("ec2")
        images = [ec2.register_image(Name=name, RootDeviceName="/dev/sda1") for name in ("gpu", "cpu", "other")]
        self.gpu_image, self.cpu_image, self.other_image = (image["ImageId"] for image in images)
        slots = read_template()["Parameters"]
        self._publish(slots["GpuImage"]["Default"], self.gpu_image)
        self._publish(slots["CpuImage"]["Default"], self.cpu_image)
        ec2.create_key_pair(KeyName="me")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]

    def create(self, **parameters: str) -> Stack:
        """Create a stack, as CloudFormation does where it has no objections."""
        assert not (found := objections(read_template(), NEEDED | parameters)), found
        self.client("cloudformation").create_stack(**self._call(parameters))
        return Stack(self)

    def update(self, **parameters: str) -> Stack:
        """Update the stack."""
        assert not (found := objections(read_template(), NEEDED | parameters)), found
        self.client("cloudformation").update_stack(**self._call(parameters))
        return Stack(self)

    def _call(self, parameters: dict[str, str]) -> dict[str, Any]:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in (NEEDED | parameters).items()]
        return {
            "StackName": "lab", "TemplateBody": TEMPLATE.read_text(), "Parameters": given,
            "Capabilities": ["CAPABILITY_IAM"],
        }  # fmt: skip

    def _publish(self, name: str, image: str) -> None:
        facts = {"parameter_type": "String", "description": "", "allowed_pattern": None, "keyid": None}
        ssm_backends[ACCOUNT][REGION]._parameters[name].append(
            Parameter(
                account_id=ACCOUNT, name=name, value=image, last_modified_date=0, version=1, data_type="text", **facts
            )
        )


@dataclass
class Stack:
    """What a stack made."""

    account: Account

    def resources(self) -> dict[str, str]:
        """Return what there is, by its name in the template."""
        found = self.account.client("cloudformation").describe_stack_resources(StackName="lab")["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found if "LogicalResourceId" in one}

    def outputs(self) -> dict[str, str]:
        """Return what the stack tells."""
        (stack,) = self.account.client("cloudformation").describe_stacks(StackName="lab")["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def machine(self) -> dict[str, Any]:
        """Return the running machine."""
        (machine,) = machines(self.account, "running")
        return machine

    def disk(self) -> dict[str, Any]:
        """Return the machine's disk."""
        (mapping,) = self.machine()["BlockDeviceMappings"]
        (volume,) = self.account.client("ec2").describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
        return volume

    def launch(self) -> dict[str, Any]:
        """Return the newest version of the launch template."""
        found = self.account.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=self.resources()["Launch"], Versions=["$Latest"]
        )
        return found["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def ingress(self) -> list[tuple[int, int, list[str]]]:
        """Return who may come in: ports and addresses."""
        group = self.account.client("ec2").describe_security_groups(GroupIds=[self.resources()["Firewall"]])
        rules = group["SecurityGroups"][0]["IpPermissions"]
        return [(one["FromPort"], one["ToPort"], [a["CidrIp"] for a in one["IpRanges"]]) for one in rules]

    def user_data(self) -> str:
        """Return the machine's user data, as it was given."""
        machine = self.machine()["InstanceId"]
        found = self.account.client("ec2").describe_instance_attribute(InstanceId=machine, Attribute="userData")
        return b64decode(found["UserData"]["Value"]).decode()

    def policies(self) -> dict[str, dict[str, Any]]:
        """Return the policies of the machine's role; none where it has no role."""
        role = self.resources().get("Role")
        if role is None:
            return {}
        iam = self.account.client("iam")
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}

    def delete(self) -> None:
        """Delete the stack."""
        self.account.client("cloudformation").delete_stack(StackName="lab")


def machines(account: Account, *states: str) -> list[dict[str, Any]]:
    """List the machines in these states."""
    found = account.client("ec2").describe_instances()["Reservations"]
    return [one for group in found for one in group["Instances"] if one["State"]["Name"] in states]


def settings_of(user_data: str) -> dict[str, Any]:
    """Return the settings that user data write."""
    files = {one["path"]: one["content"] for one in yaml.safe_load(user_data)["write_files"]}
    return json.loads(files["/etc/cdeep3m/cloud.json"])
