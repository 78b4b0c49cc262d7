"""The CloudFormation template: linted, and created, updated and deleted in an emulated AWS."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto.core import set_initial_no_auth_action_count

from cloud.scripts import load
from cloud.stacks import (
    ACCOUNT,
    CLOUD,
    NEEDED,
    REGION,
    SIGNAL,
    TEMPLATE,
    emulated_aws,
    machines,
    objections,
    read_template,
    settings_of,
)

DIGEST = f"lab/cdeep3m@sha256:{'a' * 64}"
INDEX = "https://packages.example/whl/cpu"
TYPES = read_template()["Parameters"]["InstanceType"]["AllowedValues"]
CPU = ("t3.xlarge", "c7i.xlarge", "c7i.4xlarge")
V100 = ("p3.2xlarge", "p3.8xlarge", "p3.16xlarge")
USER_DATA_LIMIT = 16 * 1024
LONGEST_BUCKET = "a" * 63
LONG_ADDRESS = f"https://releases.example/{'x' * 1900}.tar.gz?X-Amz-Signature=a%2Fb&Expires=604800"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def account(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with emulated_aws() as account:
        yield account


def needed_for(machine: str, image: str = "ami-0123456789abcdef0") -> dict[str, str]:
    """Parameters that this type of machine must have beside those that all must have."""
    return {"PackageIndex": INDEX} if machine in CPU else {"MachineImage": image} if machine in V100 else {}


def test_linter_finds_nothing():
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), TEMPLATE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_template_can_be_given_to_cloudformation_as_it_is():
    assert len(TEMPLATE.read_bytes()) < 51200


@pytest.mark.parametrize("family", ["g4dn", "g5", "g6", "p3", "p4d", "p5", "t3", "c7i"])
def test_families_can_be_chosen(family):
    assert any(name.split(".")[0] == family for name in TYPES)


def test_machines_have_an_entry_each_and_those_without_a_gpu_are_told_apart():
    devices = {name: entry["Device"] for name, entry in read_template()["Mappings"]["Machines"].items()}
    assert [*devices] == TYPES
    assert {name for name, device in devices.items() if device == "cpu"} == {*CPU}


def test_no_machine_image_and_no_account_is_named_by_a_number():
    text = TEMPLATE.read_text()
    assert not re.search(r"ami-[0-9a-f]{8}|\b\d{12}\b", text)
    for name in ("GpuImage", "CpuImage"):
        slot = read_template()["Parameters"][name]
        assert slot["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
        assert slot["Default"].startswith("/aws/service/")


@pytest.mark.parametrize("machine", [name for name in TYPES if name.endswith((".xlarge", ".2xlarge", ".24xlarge"))])
def test_every_machine_starts_on_its_image_with_its_device(account, machine):
    stack = account.create(InstanceType=machine, **needed_for(machine, account.other_image))
    image = account.cpu_image if machine in CPU else account.other_image if machine in V100 else account.gpu_image
    assert (stack.machine()["InstanceType"], stack.machine()["ImageId"]) == (machine, image)
    assert settings_of(stack.user_data())["device"] == ("cpu" if machine in CPU else "cuda")


def test_stack_with_the_defaults_is_closed_encrypted_and_stops_by_itself(account):
    stack = account.create()
    assert stack.machine()["InstanceType"] == "g4dn.xlarge"
    assert stack.ingress() == []
    assert (stack.disk()["Encrypted"], stack.disk()["VolumeType"], stack.disk()["Size"]) == (True, "gp3", 150)
    assert stack.launch()["MetadataOptions"]["HttpTokens"] == "required"
    assert stack.launch()["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert "InstanceMarketOptions" not in stack.launch()
    assert [*stack.policies()] == ["session-manager"]
    assert settings_of(stack.user_data()) == {
        "archive": NEEDED["Archive"], "sha256": NEEDED["ArchiveSha256"], "image": "", "device": "cuda",
        "package_index": "", "bucket": "", "endpoint": "", "spot": False, "idle_minutes": 30, "signal": SIGNAL,
    }  # fmt: skip
    assert stack.outputs()["LogIn"] == f"aws ssm start-session --target {stack.machine()['InstanceId']}"


@pytest.mark.parametrize(
    "given",
    [
        {"DiskSize": "100", "IdleMinutes": "0"},
        {"DiskSize": "16384", "IdleMinutes": "10080"},
        {"KeyName": "me", "SshFrom": "255.255.255.255/32"},
        {"KeyName": "me", "SshFrom": "0.0.0.0/8"},
        {"Bucket": "abc"},
        {"Bucket": LONGEST_BUCKET, "KeyName": "me", "SshFrom": "192.0.2.0/24"},
        {"Image": DIGEST, "PackageIndex": INDEX},
        {"Archive": LONG_ADDRESS, "ArchiveSha256": "f" * 64, "Image": f"{'n' * 200}@sha256:{'f' * 64}"},
        {"Purchase": "spot", "Bucket": "lab-data"},
    ],
    ids=lambda given: ",".join(given),
)
def test_extremes_of_the_parameters_reach_the_machine(account, given):
    stack = account.create(**given)
    settings = settings_of(stack.user_data())
    names = {"Archive": "archive", "ArchiveSha256": "sha256", "Image": "image", "PackageIndex": "package_index"}
    names |= {"Bucket": "bucket", "IdleMinutes": "idle_minutes"}
    for name in {*given} & {*names}:
        assert str(settings[names[name]]) == given[name]
    assert stack.disk()["Size"] == int(given.get("DiskSize", 150))
    assert stack.ingress() == ([(22, 22, [given["SshFrom"]])] if "KeyName" in given else [])
    assert stack.machine().get("KeyName") == given.get("KeyName")
    assert ("bucket" in stack.policies()) == ("Bucket" in given)
    assert ("session-manager" in stack.policies()) == ("KeyName" not in given)
    assert len(stack.user_data().encode()) < USER_DATA_LIMIT


def test_machine_with_a_key_and_without_a_bucket_has_no_role_at_all(account):
    stack = account.create(KeyName="me", SshFrom="192.0.2.17/32")
    assert stack.policies() == {}
    assert not account.client("iam").list_roles()["Roles"]
    assert "IamInstanceProfile" not in stack.machine()
    assert stack.outputs()["LogIn"].startswith("ssh ")


def test_network_of_one_s_own_is_used(account):
    stack = account.create(Vpc=account.vpc, Subnet=account.subnet)
    assert stack.machine()["SubnetId"] == account.subnet
    (group,) = account.client("ec2").describe_security_groups(GroupIds=[stack.resources()["Firewall"]])[
        "SecurityGroups"
    ]
    assert group["VpcId"] == account.vpc


def test_spot_machine_is_asked_for_once_so_that_deleting_the_stack_ends_it(account):
    stack = account.create(Purchase="spot", Bucket="lab-data")
    assert stack.launch()["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
    assert settings_of(stack.user_data())["spot"] is True


def test_idle_machine_stops_with_its_disk_and_an_idle_spot_machine_goes():
    machine = read_template()["Resources"]["Machine"]["Properties"]
    assert machine["InstanceInitiatedShutdownBehavior"] == {"Fn::If": ["Spot", "terminate", "stop"]}
    assert machine["LaunchTemplate"]["LaunchTemplateId"] == {"Ref": "Launch"}
    assert machine["SecurityGroupIds"] == [{"Fn::GetAtt": ["Firewall", "GroupId"]}]


def test_stack_waits_for_the_machine_s_word():
    resources = read_template()["Resources"]
    assert resources["Ready"]["DependsOn"] == "Machine"
    assert resources["Ready"]["Properties"] == {"Handle": {"Ref": "Handle"}, "Count": 1, "Timeout": "3600"}


def test_update_lets_somebody_in_and_leaves_one_machine(account):
    machine = account.create(Bucket="lab-data").machine()["InstanceId"]
    stack = account.update(KeyName="me", SshFrom="192.0.2.17/32", Bucket="lab-data")
    assert stack.ingress() == [(22, 22, ["192.0.2.17/32"])]
    assert stack.machine()["InstanceId"] == machine


@pytest.mark.parametrize(
    "given", [{}, {"Bucket": "lab-data", "Purchase": "spot"}, {"KeyName": "me", "SshFrom": "192.0.2.17/32"}]
)
def test_deleted_stack_leaves_nothing_that_is_paid_for(account, given):
    ec2, iam = account.client("ec2"), account.client("iam")
    groups = len(ec2.describe_security_groups()["SecurityGroups"])
    stack = account.create(**given)
    stack.delete()
    assert not machines(account, "pending", "running", "stopping", "stopped")
    assert not ec2.describe_volumes()["Volumes"]
    assert not ec2.describe_launch_templates()["LaunchTemplates"]
    assert not iam.list_roles()["Roles"]
    assert not iam.list_instance_profiles()["InstanceProfiles"]
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == groups


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("InstanceType", "g4dn.metal"),
        ("Purchase", "persistent"),
        ("DiskSize", "99"),
        ("DiskSize", "16385"),
        ("IdleMinutes", "-1"),
        ("IdleMinutes", "10081"),
        ("Bucket", "Lab"),
        ("Bucket", "a"),
        ("Bucket", "a" * 64),
        ("Bucket", 'x","image":"evil'),
        ("KeyName", "line\nbreak"),
        ("SshFrom", "0.0.0.0/0"),
        ("SshFrom", "0.0.0.0/7"),
        ("SshFrom", "192.0.2.17"),
        ("SshFrom", "300.0.2.17/32"),
        ("SshFrom", "192.0.2.17/33"),
        ("Archive", "http://releases.example/cdeep3m.tar.gz"),
        ("Archive", 'https://releases.example/","sha256":"'),
        ("Archive", "https://releases.example/a b"),
        ("Archive", "https://releases.example/\\"),
        ("ArchiveSha256", "F" * 64),
        ("ArchiveSha256", "f" * 63),
        ("Image", "lab/cdeep3m:latest"),
        ("Image", "lab/cdeep3m@sha256:1234"),
        ("PackageIndex", "http://packages.example"),
        ("Vpc", "default"),
        ("Subnet", "subnet-xyz"),
        ("MachineImage", "ami-latest"),
    ],
)
def test_value_that_cannot_be_right_is_refused(name, value):
    assert objections(read_template(), NEEDED | {name: value}) == [name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"KeyName": "me"}, "SshFrom"),
        ({"SshFrom": "192.0.2.17/32"}, "KeyName"),
        ({"Purchase": "spot"}, "Bucket"),
        ({"InstanceType": "p3.2xlarge"}, "MachineImage"),
        ({"InstanceType": "t3.xlarge"}, "PackageIndex"),
        ({"Vpc": "vpc-0123456789abcdef0"}, "Subnet"),
        ({"Subnet": "subnet-0123456789abcdef0"}, "Vpc"),
    ],
)
def test_what_belongs_together_is_asked_for_in_a_sentence(given, words):
    (said,) = objections(read_template(), NEEDED | given)
    assert words in said


def test_everything_but_the_archive_has_a_default():
    assert {name for name, slot in read_template()["Parameters"].items() if "Default" not in slot} == {*NEEDED}
    assert objections(read_template(), NEEDED) == []


def test_machine_with_an_image_for_the_cpu_needs_no_index():
    assert objections(read_template(), NEEDED | {"InstanceType": "t3.xlarge", "Image": DIGEST}) == []


CALLS = {
    "list the bucket": ("s3", "list_objects_v2", {"Bucket": "lab-data"}),
    "read from it": ("s3", "get_object", {"Bucket": "lab-data", "Key": "mito/image.png"}),
    "write into it": ("s3", "put_object", {"Bucket": "lab-data", "Key": "mito/map.png", "Body": b"map"}),
    "delete in it": ("s3", "delete_object", {"Bucket": "lab-data", "Key": "mito/old.png"}),
    "list another bucket": ("s3", "list_objects_v2", {"Bucket": "lab-data-2"}),
    "read from another": ("s3", "get_object", {"Bucket": "lab-data-2", "Key": "secret"}),
    "write into another": ("s3", "put_object", {"Bucket": "lab-data-2", "Key": "map", "Body": b"map"}),
    "list all buckets": ("s3", "list_buckets", {}),
    "make a bucket": ("s3", "create_bucket", {"Bucket": "a-new-one"}),
    "delete the bucket": ("s3", "delete_bucket", {"Bucket": "lab-data"}),
    "open the bucket to all": ("s3", "put_bucket_acl", {"Bucket": "lab-data", "ACL": "public-read"}),
    "change its policy": ("s3", "put_bucket_policy", {"Bucket": "lab-data", "Policy": "{}"}),
    "start machines": ("ec2", "run_instances", {"ImageId": "ami-12345678", "MinCount": 1, "MaxCount": 1}),
    "see machines": ("ec2", "describe_instances", {}),
    "end machines": ("ec2", "terminate_instances", {"InstanceIds": ["i-12345678"]}),
    "make users": ("iam", "create_user", {"UserName": "evil"}),
    "read parameters": ("ssm", "get_parameter", {"Name": "secret"}),
    "command machines": ("ssm", "send_command", {"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-1"]}),
    "change stacks": ("cloudformation", "delete_stack", {"StackName": "lab"}),
    "become somebody": (
        "sts",
        "assume_role",
        {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/admin", "RoleSessionName": "evil"},
    ),
}
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
ALLOWED = ("list the bucket", "read from it", "write into it", "delete in it")


def calls_that_pass(account, policies: dict) -> list[str]:
    """Make every call of CALLS as somebody with these policies; return those that were not denied."""
    s3, iam = account.client("s3"), account.client("iam")
    for bucket, key in (("lab-data", "mito/image.png"), ("lab-data-2", "secret")):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=b"image")
    iam.create_user(UserName="machine")
    for name, document in policies.items():
        iam.put_user_policy(UserName="machine", PolicyName=name, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="machine")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    return [name for name, call in CALLS.items() if passes(*call, keys)]


@set_initial_no_auth_action_count(0)
def passes(service: str, method: str, words: dict, keys: dict) -> bool:
    """Whether the emulator lets the owner of these keys make a call; its policies are enforced within."""
    client = boto3.client(service, region_name=REGION, **keys)
    try:
        getattr(client, method)(**words)
    except ClientError as error:
        denied = error.response["Error"]["Code"]
    else:
        denied = ""
    assert denied in ("", *DENIED)
    return not denied


def test_machine_may_read_and_write_its_bucket_and_nothing_else(account):
    policies = account.create(Bucket="lab-data").policies()
    assert calls_that_pass(account, policies) == [*ALLOWED]


def test_machine_without_a_bucket_may_do_none_of_it(account):
    policies = account.create().policies()
    assert calls_that_pass(account, policies) == []


def test_only_machines_take_the_role(account):
    stack = account.create(Bucket="lab-data")
    role = account.client("iam").get_role(RoleName=stack.resources()["Role"])["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (statement["Principal"], statement["Action"]) == ({"Service": "ec2.amazonaws.com"}, "sts:AssumeRole")


def test_no_policy_has_a_star_but_where_aws_knows_no_resource(account):
    for name, document in account.create(Bucket="lab-data").policies().items():
        for statement in document["Statement"]:
            assert "*" not in "".join(statement["Action"])
            assert (statement["Resource"] == "*") == (name == "session-manager")


def test_user_data_hold_the_boot_script_as_it_is_and_run_it(account):
    config = yaml.safe_load(account.create().user_data())
    files = {one["path"]: one for one in config["write_files"]}
    assert files["/usr/local/sbin/cdeep3m-boot"]["content"] == (CLOUD / "boot.py").read_text()
    assert files["/etc/cdeep3m/cloud.json"]["permissions"] == "0600"
    assert "exec /usr/local/sbin/cdeep3m-boot\n" in files["/var/lib/cloud/scripts/per-boot/cdeep3m"]["content"]


def test_files_that_are_copied_hold_what_they_are_made_of():
    assemble = load("assemble")
    config, boot = (CLOUD / "cloud-init.yaml").read_text(), (CLOUD / "boot.py").read_text()
    assert assemble.cloud_init(config, boot) == config, "run `make cloud`"
    assert assemble.template(TEMPLATE.read_text(), config) == TEMPLATE.read_text(), "run `make cloud`"


def test_cloud_init_s_settings_are_those_of_the_template(account):
    plain = settings_of((CLOUD / "cloud-init.yaml").read_text())
    assert [*plain] == [*settings_of(account.create().user_data())]
    assert (plain["device"], plain["idle_minutes"], plain["spot"]) == ("auto", 30, False)
