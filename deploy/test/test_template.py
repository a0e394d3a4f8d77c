"""What can be said of the template without deploying it."""

import pathlib
import subprocess
import sys

import pytest

from conftest import DEPLOY

TEMPLATE = DEPLOY / "aws" / "dunlin.yaml"
# What CloudFormation takes without a bucket to put the template into.
BODY_BYTES_MAX = 51_200


def test_linter_finds_nothing():
    linter = pathlib.Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([linter, TEMPLATE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_user_data_is_what_cloud_init_says():
    subprocess.run([DEPLOY / "aws" / "render", "--check"], check=True)


def test_body_is_small_enough_to_be_given_as_it_is():
    assert TEMPLATE.stat().st_size <= BODY_BYTES_MAX


def test_every_parameter_has_a_default_a_sentence_and_limits(template):
    for name, parameter in template["Parameters"].items():
        assert "Default" in parameter, name
        sentence = parameter.get("Description", "")
        assert sentence.endswith(".") and len(sentence) > 20, name
        is_list = parameter["Type"] == "CommaDelimitedList"
        by_type = is_list or parameter["Type"].startswith("AWS::")
        limits = {"AllowedPattern", "AllowedValues", "MaxValue"} & parameter.keys()
        assert limits or by_type, f"{name} takes anything"
        if "AllowedPattern" in parameter:
            assert parameter.get("ConstraintDescription"), f"{name}: a mistake would be told as a pattern"
        if parameter["Type"] == "Number":
            assert "MinValue" in parameter, name


def test_every_parameter_is_in_a_group_of_the_console(template):
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])


def test_every_output_has_a_sentence(template):
    for name, output in template["Outputs"].items():
        assert output["Description"].endswith("."), name


@pytest.mark.parametrize("service", ["Worker", "Gateway", "Autoscaler"])
def test_instances_have_imdsv2_encrypted_disks_and_stop_at_shutdown(template, service):
    data = template["Resources"][f"{service}Template"]["Properties"]["LaunchTemplateData"]
    metadata = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert data["MetadataOptions"] == metadata
    disk = data["BlockDeviceMappings"][0]["Ebs"]
    assert (disk["VolumeType"], disk["Encrypted"]) == ("gp3", True)
    assert data["InstanceInitiatedShutdownBehavior"] == "stop"
    assert "KeyName" not in data


def test_buckets_are_closed_to_the_public(template):
    """moto takes these and forgets them."""
    buckets = [one["Properties"] for one in template["Resources"].values() if one["Type"] == "AWS::S3::Bucket"]
    assert len(buckets) == 3
    for bucket in buckets:
        block = bucket["PublicAccessBlockConfiguration"]
        assert len(block) == 4 and all(block.values())
        assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


@pytest.mark.parametrize(
    ("bucket", "expiry"), [("InBucket", {"Ref": "InDays"}), ("OutBucket", {"Ref": "OutDays"}), ("StateBucket", None)]
)
def test_buckets_are_emptied_by_age(template, bucket, expiry):
    """What the autoscaler remembers it deletes itself."""
    rules = template["Resources"][bucket]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    assert any(rule.get("AbortIncompleteMultipartUpload") == {"DaysAfterInitiation": 1} for rule in rules)
    expiries = [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule]
    assert expiries == ([expiry] if expiry else [])


@pytest.mark.parametrize("bucket", ["InBucket", "OutBucket", "StateBucket"])
def test_buckets_take_nothing_without_tls(template, bucket):
    """moto knows no policies of buckets in a template."""
    policy = template["Resources"][f"{bucket}Policy"]["Properties"]
    assert policy["Bucket"] == {"Ref": bucket}
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [{"Fn::GetAtt": [bucket, "Arn"]}, {"Fn::Sub": "${%s.Arn}/*" % bucket}]


def test_only_the_callers_port_is_open_and_only_to_whom_the_stack_names(template):
    open_to = []
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            rules = resource["Properties"].get("SecurityGroupIngress", [])
        elif resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            rules = [resource["Properties"]]
        else:
            continue
        for rule in rules:
            assert rule["FromPort"] == rule["ToPort"], name
            from_group = "SourceSecurityGroupId" in rule
            open_to.append((rule["FromPort"], "group" if from_group else rule["CidrIp"]))
    range_ = {"Ref": "AccessCidr"}
    assert sorted(open_to, key=str) == sorted([(8000, range_), (8001, "group"), (8002, "group"), (8002, "group")], key=str)
    assert template["Parameters"]["AccessCidr"]["Default"] == "127.0.0.1/32"


def test_options_that_user_data_sets_are_options_of_the_service():
    services = {"gateway": "gateway", "autoscaler": "autoscaler", "worker": "classifier-worker"}
    # Options that services share, by the file they are in.
    shared = {"AccessOptions": "options.rs", "InternalOptions": "internal.rs", "PeerOptions": "peers.rs"}
    for service, crate in services.items():
        source = (DEPLOY.parent / crate / "src" / "options.rs").read_text()
        for group, file in shared.items():
            if f"{group}," in source:
                source += (DEPLOY.parent / "platform" / "src" / "auth" / file).read_text()
        for line in (DEPLOY / "aws" / "cloud-init" / f"{service}.yaml").read_text().splitlines():
            for word in line.replace("echo", "").split():
                name = word.strip("\"'").split("=")[0]
                if name.startswith(("DUNLIN_", "ORT_")):
                    assert f'env = "{name}"' in source, f"{crate} has no option {name}"
