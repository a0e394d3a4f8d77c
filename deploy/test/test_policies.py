"""Each role may do what its service does and nothing else: by reading the policies, and by trying under enforcement."""

import json

import botocore.exceptions
import parliament
import pytest

import stack

# All that the template can allow at once.
EVERYTHING = {"ReplyBy": "queue", "ResultsQueue": "true", "UriBuckets": "callers,others", "ModelSha256": "d" * 64}
# These name no resource in AWS's own reference.
ON_EVERYTHING = {"ec2:DescribeInstances", "ec2:DescribeLaunchTemplates", "sqs:ListQueues"}


def listed(value):
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def policies(moto):
    return stack.template_policies(moto, "policies", EVERYTHING)


@pytest.mark.parametrize("service", stack.SERVICES)
def test_parliament_finds_nothing(policies, service):
    analyzed = parliament.analyze_policy_string(json.dumps(policies[service]))
    assert [str(finding) for finding in analyzed.findings] == []


def test_parliament_would_find_a_mistake():
    statement = {"Effect": "Allow", "Action": "sqs:RecieveMessage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert parliament.analyze_policy_string(document).findings


@pytest.mark.parametrize("service", stack.SERVICES)
def test_no_permission_is_wide_open(policies, service):
    for statement in policies[service]["Statement"]:
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        assert not [action for action in actions if "*" in action], statement["Sid"]
        assert "NotAction" not in statement and "NotResource" not in statement
        if "*" in resources:
            assert set(actions) <= ON_EVERYTHING, statement["Sid"]
        for resource in resources:
            named = resource.split(":", 5)[2:] if resource != "*" else []
            assert "*" not in "".join(named[:3]), f"{statement['Sid']}: any region or account"


def test_autoscaler_touches_only_what_is_its_own(policies):
    """moto passes over conditions, so they are read."""
    by_sid = {statement["Sid"]: statement for statement in policies["autoscaler"]["Statement"]}
    ours = {"StringEquals": {"aws:ResourceTag/dunlin:fleet": "policies"}}
    assert by_sid["StartAndStopOurInstances"]["Condition"] == ours
    launch = by_sid["LaunchFromOurTemplateAlone"]["Condition"]["ArnEquals"]["ec2:LaunchTemplate"]
    assert ":launch-template/lt-" in launch and "*" not in launch
    tag = by_sid["TagWhatIsLaunched"]["Condition"]
    assert tag == {"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateFleet"]}}
    name = by_sid["NameOurInstances"]["Condition"]
    assert name == {**ours, "ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "dunlin:drain"]}}
    passed = by_sid["GiveInstancesTheWorkersRole"]
    assert passed["Resource"].endswith(":role/policies-us-east-1-worker")
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_callers_buckets_are_named_one_by_one(policies):
    for service, sid in (("gateway", "LookAtCallersImages"), ("worker", "GetCallersImages")):
        (statement,) = [one for one in policies[service]["Statement"] if one["Sid"] == sid]
        assert statement["Resource"] == ["arn:aws:s3:::callers/*", "arn:aws:s3:::others/*"]


@pytest.fixture(scope="module")
def world(moto):
    """A stack with all in use, a message in each queue and an object in each bucket, tried under enforcement."""
    found = stack.deploy(moto, "tried", EVERYTHING)
    keys = stack.all_credentials(moto, found)
    s3, sqs = stack.client("s3", moto), stack.client("sqs", moto)
    buckets = {
        "in": found["StoreUrl"].split("/")[2],
        "out": found["ResultsUrl"].split("/")[2],
        "state": found["StateUrl"].split("/")[2],
        "callers": "callers",
        "strangers": "strangers",
        "artefacts": "dunlin-artefacts",
    }
    for name in ("callers", "strangers", "artefacts"):
        s3.create_bucket(Bucket=buckets[name])
    for bucket in buckets.values():
        for key in ("key", "autoscaler/key", "jobs/key", "requests/key", "results/key"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for letter, service in (("a", "gateway"), ("b", "autoscaler"), ("c", "worker"), ("d", "model")):
        s3.put_object(Bucket=buckets["artefacts"], Key=f"{service}-{letter * 64}.tar.gz", Body=b"x")
    for name in ("tried-reply-one", "strange"):
        sqs.create_queue(QueueName=name)
    template = {"LaunchTemplateId": found["WorkerTemplateId"]}
    launched = stack.client("ec2", moto).run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)
    instance = launched["Instances"][0]["InstanceId"]
    stack.enforce(moto, True)
    yield {"endpoint": moto, "keys": keys, "buckets": buckets, "template": template, "instance": instance}
    stack.enforce(moto, False)


def attempt(world, service, action, on):
    """Whether the service may; any other failure is the test's own."""
    api, name = action.split(":")
    client = stack.client(api, world["endpoint"], world["keys"][service])
    try:
        getattr(client, name)(**arguments(world, api, name, on))
        return True
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation"):
            return False
        # It was let through to be refused for what it was about.
        if code in ("ReceiptHandleIsInvalid", "DryRunOperation", "InvalidParameterValue"):
            return True
        raise


def arguments(world, api, name, on):
    if api == "sqs":
        url = {} if name in ("list_queues", "create_queue") else {"QueueUrl": f"{world['endpoint']}/123456789012/{on}"}
        return {
            "list_queues": {"QueueNamePrefix": on},
            "create_queue": {"QueueName": on},
            "send_message": {**url, "MessageBody": "x"},
            "receive_message": {**url, "WaitTimeSeconds": 0},
            "delete_message": {**url, "ReceiptHandle": "none"},
            "change_message_visibility": {**url, "ReceiptHandle": "none", "VisibilityTimeout": 0},
            "get_queue_attributes": {**url, "AttributeNames": ["All"]},
            "send_message_batch": {**url, "Entries": [{"Id": "0", "MessageBody": "x"}]},
            "delete_message_batch": {**url, "Entries": [{"Id": "0", "ReceiptHandle": "none"}]},
            "tag_queue": {**url, "Tags": {"dunlin:seen": "0"}},
        }.get(name, url)
    if api == "s3":
        bucket, _, key = on.partition("/")
        place = {"Bucket": world["buckets"][bucket]}
        if key:
            place["Prefix" if name == "list_objects_v2" else "Key"] = key
        return {**place, "Body": b"x"} if name == "put_object" else place
    if api == "iam":
        return {"RoleName": "tried-us-east-1-worker"}
    instance = {"InstanceIds": [world["instance"]]}
    return {
        "describe_instances": {},
        "describe_launch_templates": {},
        "describe_vpcs": {},
        "run_instances": {"LaunchTemplate": world["template"], "MinCount": 1, "MaxCount": 1},
        "create_fleet": {
            "Type": "instant",
            "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {**world["template"], "Version": "$Latest"}}],
            "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
        },
        "create_tags": {"Resources": [world["instance"]], "Tags": [{"Key": "Name", "Value": "x"}]},
        "get_console_output": {"InstanceId": world["instance"]},
        "create_launch_template_version": {
            "LaunchTemplateId": world["template"]["LaunchTemplateId"],
            "LaunchTemplateData": {"InstanceType": "c7i.large"},
        },
    }.get(name, instance)


G, A, W = "gateway", "autoscaler", "worker"
# Action, what on, and which services may.
TABLE = [
    ("sqs:send_message", "tried", {G}),
    ("sqs:send_message", "tried-batch", {G}),
    ("sqs:send_message", "tried-dead", set()),
    ("sqs:send_message", "tried-results", {W}),
    ("sqs:send_message", "tried-reply-one", {W}),
    ("sqs:send_message", "strange", set()),
    ("sqs:send_message_batch", "tried", {G}),
    ("sqs:send_message_batch", "tried-reply-one", {W}),
    ("sqs:delete_message_batch", "tried", {W}),
    ("sqs:receive_message", "tried", {W}),
    ("sqs:receive_message", "tried-batch", {W}),
    ("sqs:receive_message", "tried-dead", {G}),
    ("sqs:receive_message", "tried-reply-one", {G}),
    ("sqs:receive_message", "tried-results", set()),
    ("sqs:receive_message", "strange", set()),
    ("sqs:delete_message", "tried", {W}),
    ("sqs:delete_message", "tried-batch", {W}),
    ("sqs:delete_message", "tried-dead", {G}),
    ("sqs:delete_message", "tried-reply-one", {G}),
    ("sqs:change_message_visibility", "tried", {W}),
    ("sqs:change_message_visibility", "tried-batch", {W}),
    ("sqs:change_message_visibility", "tried-dead", {G}),
    ("sqs:get_queue_attributes", "tried", {G, A}),
    ("sqs:get_queue_attributes", "tried-batch", {G, A}),
    ("sqs:get_queue_attributes", "tried-dead", set()),
    ("sqs:get_queue_attributes", "tried-results", set()),
    ("sqs:tag_queue", "tried-reply-one", {G}),
    ("sqs:tag_queue", "tried", set()),
    ("sqs:list_queue_tags", "tried-reply-one", {G}),
    ("sqs:list_queues", "tried-reply-", {G}),
    ("sqs:create_queue", "tried-reply-two", {G}),
    ("sqs:purge_queue", "tried", set()),
    ("sqs:delete_queue", "tried", set()),
    ("sqs:delete_queue", "strange", set()),
    ("sqs:delete_queue", "tried-reply-one", {G}),
    ("s3:head_bucket", "in", {G, W}),
    ("s3:head_bucket", "out", {W}),
    ("s3:head_bucket", "state", {A}),
    ("s3:list_objects_v2", "state/autoscaler/decisions/", {A}),
    ("s3:list_objects_v2", "callers", {G}),
    ("s3:list_objects_v2", "strangers", set()),
    ("s3:put_object", "in/new", {G}),
    ("s3:get_object", "in/key", {W}),
    ("s3:delete_object", "in/none", set()),
    ("s3:get_object", "in/jobs/key", {G, W}),
    ("s3:put_object", "in/jobs/new", {G}),
    ("s3:delete_object", "in/jobs/none", {G}),
    ("s3:get_object", "in/requests/key", {G, W}),
    ("s3:put_object", "in/requests/new", {G, W}),
    ("s3:delete_object", "in/requests/none", {G}),
    ("s3:get_object", "in/results/key", {G, W}),
    ("s3:put_object", "in/results/new", {G}),
    ("s3:put_object", "out/new", {W}),
    ("s3:delete_object", "out/none", set()),
    ("s3:get_object", "callers/key", {G, W}),
    ("s3:head_object", "callers/key", {G, W}),
    ("s3:put_object", "callers/new", set()),
    ("s3:get_object", "strangers/key", set()),
    ("s3:get_object", "state/autoscaler/key", {A}),
    ("s3:put_object", "state/autoscaler/new", {A}),
    ("s3:delete_object", "state/autoscaler/none", {A}),
    ("s3:put_object", "state/new", set()),
    ("s3:get_object", f"artefacts/gateway-{'a' * 64}.tar.gz", {G}),
    ("s3:get_object", f"artefacts/autoscaler-{'b' * 64}.tar.gz", {A}),
    ("s3:get_object", f"artefacts/worker-{'c' * 64}.tar.gz", {W}),
    ("s3:get_object", f"artefacts/model-{'d' * 64}.tar.gz", {W}),
    ("s3:put_object", f"artefacts/worker-{'c' * 64}.tar.gz", set()),
    ("s3:get_object", "artefacts/key", set()),
    ("ec2:describe_instances", "", {A}),
    ("ec2:describe_launch_templates", "", {A}),
    ("ec2:describe_vpcs", "", set()),
    ("ec2:run_instances", "", {A}),
    ("ec2:create_fleet", "", {A}),
    ("ec2:create_tags", "", {A}),
    ("ec2:get_console_output", "", {A}),
    ("ec2:stop_instances", "", {A}),
    ("ec2:start_instances", "", {A}),
    ("ec2:terminate_instances", "", {A}),
    ("ec2:create_launch_template_version", "", set()),
    ("iam:get_role", "", set()),
    ("iam:delete_role", "", set()),
]


@pytest.mark.parametrize(("action", "on", "who"), TABLE, ids=[f"{action} {on}"[:60] for action, on, _ in TABLE])
def test_role_may_do_its_own_and_nothing_else(world, action, on, who):
    # Those who may not go first: whoever may, may delete what it is about.
    order = sorted(stack.SERVICES, key=lambda service: service in who)
    assert {service for service in order if attempt(world, service, action, on)} == who
