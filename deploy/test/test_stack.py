"""The template in moto: what it makes, for each way of using it; and that it can be updated and deleted."""

import base64
import json

import pytest

import stack

DEFAULT = {}
COURSE = {"Profile": "cse546", "InBucketName": "course-in", "OutBucketName": "course-out"}
ELSEWHERE = {
    "RunServices": "false",
    "AutoscalerAddress": "http://10.0.0.5:8002",
    "ReplyBy": "queue",
    "ResultsQueue": "true",
}


@pytest.fixture(scope="module")
def stacks(moto):
    """Three at once, which also shows that their names don't meet."""
    return {
        "default": stack.deploy(moto, "default", DEFAULT),
        "course": stack.deploy(moto, "course", COURSE),
        "elsewhere": stack.deploy(moto, "elsewhere", ELSEWHERE),
    }


def queue(endpoint, name):
    sqs = stack.client("sqs", endpoint)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def queues(endpoint, prefix):
    urls = stack.client("sqs", endpoint).list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
    return sorted(url.split("/")[-1] for url in urls)


@pytest.mark.parametrize(
    ("name", "bytes_max", "suffixes"),
    [
        ("default", 1_048_576, ["", "-batch", "-dead"]),
        ("course", 1024, ["", "-batch", "-dead", "-results"]),
        ("elsewhere", 1_048_576, ["", "-batch", "-dead", "-results"]),
    ],
)
def test_queues_are_encrypted_long_polled_and_as_large_as_the_profile_says(moto, stacks, name, bytes_max, suffixes):
    assert queues(moto, name) == [name + suffix for suffix in suffixes]
    for suffix in suffixes:
        attributes = queue(moto, name + suffix)
        assert attributes["SqsManagedSseEnabled"] == "true", suffix
        assert attributes["ReceiveMessageWaitTimeSeconds"] == "20", suffix
        assert int(attributes["MaximumMessageSize"]) == bytes_max, suffix


@pytest.mark.parametrize("name", ["default", "default-batch"])
def test_third_failure_moves_a_task_to_the_dead_letters(moto, stacks, name):
    attributes = queue(moto, name)
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == queue(moto, "default-dead")["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 3
    assert attributes["VisibilityTimeout"] == "30"


def test_dead_letters_are_kept_for_two_weeks(moto, stacks):
    assert queue(moto, "default-dead")["MessageRetentionPeriod"] == str(14 * 24 * 3600)


@pytest.mark.parametrize("key", ["StoreUrl", "ResultsUrl", "StateUrl"])
def test_buckets_are_encrypted(moto, stacks, key):
    bucket = stacks["default"][key].split("/")[2]
    rules = stack.client("s3", moto).get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_course_profile_has_its_own_names_and_limits(moto, stacks):
    found = stacks["course"]
    assert (found["StoreUrl"], found["ResultsUrl"]) == ("s3://course-in", "s3://course-out")
    ec2 = stack.client("ec2", moto)
    for service in stack.SERVICES:
        data = launch_template(ec2, f"course-{service}")
        text = user_data_of(data)
        assert "DUNLIN_PROFILE=cse546" in text, service
        if service == "autoscaler":
            assert "DUNLIN_MAX_INSTANCES=15" in text


def launch_template(ec2, name):
    versions = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def user_data_of(data):
    return base64.b64decode(data["UserData"]).decode()


def test_instances_launched_from_the_workers_template_are_of_the_fleet(moto, stacks):
    ec2 = stack.client("ec2", moto)
    template = {"LaunchTemplateId": stacks["default"]["WorkerTemplateId"]}
    launched = ec2.run_instances(LaunchTemplate=template, MinCount=2, MaxCount=2)["Instances"]
    of_fleet = ec2.describe_instances(Filters=[{"Name": "tag:dunlin:fleet", "Values": ["default"]}])
    found = [one for reservation in of_fleet["Reservations"] for one in reservation["Instances"]]
    assert {one["InstanceId"] for one in found} == {one["InstanceId"] for one in launched}
    tags = {tag["Key"]: tag["Value"] for tag in found[0]["Tags"]}
    assert tags["dunlin:role"] == "worker"
    assert found[0]["InstanceType"] == "c7i.large"
    ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in launched])


def test_gateway_and_autoscaler_are_not_of_the_fleet(moto, stacks):
    ec2 = stack.client("ec2", moto)
    for key in ("GatewayInstance", "AutoscalerInstance"):
        reservation = ec2.describe_instances(InstanceIds=[stacks["default"][key]])["Reservations"][0]
        tags = {tag["Key"] for tag in reservation["Instances"][0]["Tags"]}
        assert "dunlin:fleet" not in tags


def test_services_run_elsewhere_when_the_stack_is_told_so(moto, stacks):
    found = stacks["elsewhere"]
    assert "Url" not in found and "GatewayInstance" not in found
    text = user_data_of(launch_template(stack.client("ec2", moto), "elsewhere-worker"))
    assert "DUNLIN_AUTOSCALER=http://10.0.0.5:8002" in text
    assert found["ResultsQueueUrl"] == "sqs://us-east-1/elsewhere-results"


def test_stack_runs_in_a_vpc_that_is_there(moto):
    ec2 = stack.client("ec2", moto)
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    before = len(ec2.describe_vpcs()["Vpcs"])
    found = stack.deploy(moto, "vpc-there", {"VpcId": vpc, "SubnetIds": subnet})
    assert found["Subnets"] == subnet
    assert len(ec2.describe_vpcs()["Vpcs"]) == before
    group = ec2.describe_security_groups(GroupIds=[found["WorkerGroupId"]])["SecurityGroups"][0]
    assert group["VpcId"] == vpc


def test_update_gives_workers_a_new_template_version(moto):
    before = stack.deploy(moto, "updated")
    # moto updates what the template changes, and passes over what only a parameter does.
    body = stack.TEMPLATE.read_text().replace("VolumeSize: 8", "VolumeSize: 9")
    after = stack.update(moto, "updated", body)
    assert after["FleetUrl"] == before["FleetUrl"], "the autoscaler would have to be told"
    ec2 = stack.client("ec2", moto)
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=after["WorkerTemplateId"])
    assert [version["VersionNumber"] for version in versions["LaunchTemplateVersions"]] == [1, 2]
    assert launch_template(ec2, "updated-worker")["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 9


def test_deleted_stack_leaves_nothing(moto):
    ec2 = stack.client("ec2", moto)
    # In a VPC that is there: moto never deletes a route table that CloudFormation made, and so no VPC.
    vpc = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.2.0.0/24")["Subnet"]["SubnetId"]
    stack.deploy(moto, "deleted", {"VpcId": vpc, "SubnetIds": subnet})
    stack.client("cloudformation", moto).delete_stack(StackName="deleted")
    assert queues(moto, "deleted") == []
    buckets = [bucket["Name"] for bucket in stack.client("s3", moto).list_buckets()["Buckets"]]
    assert not [name for name in buckets if name.startswith("deleted")]
    roles = [role["RoleName"] for role in stack.client("iam", moto).list_roles()["Roles"]]
    assert not [name for name in roles if name.startswith("deleted")]
    templates = ec2.describe_launch_templates()["LaunchTemplates"]
    assert not [one for one in templates if one["LaunchTemplateName"].startswith("deleted")]
