#!/usr/bin/env python3
"""Deploys deploy/aws/dunlin.yaml into a moto server and hands out the roles it made.

    stack.py --endpoint http://127.0.0.1:PORT [--name NAME] [--parameter KEY=VALUE ...] [--enforce]

prints JSON: `outputs` of the stack, and `credentials` of each role as environment variables. With --enforce, moto
checks the policies of these roles from then on. For tests in other languages; the ones beside this file use it too.
"""

import argparse
import ast
import json
import pathlib
import urllib.request

import boto3
import botocore.config

TEMPLATE = pathlib.Path(__file__).resolve().parent.parent / "aws" / "dunlin.yaml"
REGION = "us-east-1"
SERVICES = ("gateway", "autoscaler", "worker")

# What a person gives the stack; moto runs no user data, so the archives need not be there.
PARAMETERS = {
    "ArtefactBucket": "dunlin-artefacts",
    "GatewaySha256": "a" * 64,
    "AutoscalerSha256": "b" * 64,
    "WorkerSha256": "c" * 64,
}


def client(service, endpoint, credentials=None):
    """As whoever the credentials belong to; without any, as the owner of the account."""
    keys = credentials or {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys.get("AWS_SESSION_TOKEN"),
        config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def enforce(endpoint, on):
    """Whether moto checks policies. Off, everybody may do everything; on, the roles may and the owner may not."""
    calls_without = b"0" if on else b"1000000000"
    url, headers = endpoint + "/moto-api/reset-auth", {"content-type": "text/plain"}
    request = urllib.request.Request(url, data=calls_without, method="POST", headers=headers)
    urllib.request.urlopen(request, timeout=10).read()


def parameters(name, more=None):
    merged = {**PARAMETERS, "Name": name, **(more or {})}
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in merged.items()]


def outputs(endpoint, name):
    """The stack's outputs; fails unless the stack is complete."""
    stack = client("cloudformation", endpoint).describe_stacks(StackName=name)["Stacks"][0]
    assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), stack["StackStatus"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def role_name(name, service):
    return f"{name}-{REGION}-{service}"


def policy(endpoint, name, service):
    """What the stack allows a service, with everything filled in."""
    iam = client("iam", endpoint)
    found = iam.get_role_policy(RoleName=role_name(name, service), PolicyName=service)["PolicyDocument"]
    # moto keeps what CloudFormation gave it as an object, and shows it as Python does.
    return without_none(ast.literal_eval(found) if isinstance(found, str) else found)


def without_none(value):
    """moto leaves a hole where AWS::NoValue leaves nothing."""
    if isinstance(value, list):
        return [without_none(one) for one in value if one is not None]
    if isinstance(value, dict):
        return {key: without_none(one) for key, one in value.items()}
    return value


# AWS allows a batch by the action of its entries; moto asks for the batch's own name.
BATCHES = {f"sqs:{name}": f"sqs:{name}Batch" for name in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")}

# moto asks about these for every queue at once, because it knows no queue yet.
SQS_ON_EVERYTHING = {"sqs:GetQueueUrl", "sqs:CreateQueue", "sqs:ListQueues"}


def as_moto_asks(document):
    """The same policy in the words in which moto asks: EC2 and some of SQS for everything, batches and HeadBucket by
    these names (AWS has no such actions: it asks for those of the entries, and for ListBucket). Conditions it passes over. What is compared exactly is every action, and
    for SQS and S3 the queue, the bucket and the key."""
    statements = []
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resource = "*" if all(action.startswith("ec2:") for action in actions) else statement["Resource"]
        actions = [*actions, *(BATCHES[action] for action in actions if action in BATCHES)]
        if "s3:ListBucket" in actions:
            actions = [*actions, "s3:HeadBucket"]
        statements.append({**statement, "Action": actions, "Resource": resource})
        everywhere = sorted(SQS_ON_EVERYTHING & set(actions))
        if everywhere:
            statements.append({"Effect": "Allow", "Action": everywhere, "Resource": "*"})
    return {**document, "Statement": statements}


def mend_policies(endpoint, name):
    """Makes the roles' policies ones that moto can enforce."""
    iam = client("iam", endpoint)
    for service in SERVICES:
        document = json.dumps(as_moto_asks(policy(endpoint, name, service)))
        iam.put_role_policy(RoleName=role_name(name, service), PolicyName=service, PolicyDocument=document)


def template_policies(endpoint, name="dunlin", more=None):
    """What the stack allows each service, before any mending; for a stack that is not deployed yet."""
    create(endpoint, name, more)
    return {service: policy(endpoint, name, service) for service in SERVICES}


def create(endpoint, name, more=None):
    client("cloudformation", endpoint).create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=parameters(name, more),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    return outputs(endpoint, name)


def deploy(endpoint, name="dunlin", more=None):
    found = create(endpoint, name, more)
    mend_policies(endpoint, name)
    return found


def update(endpoint, name, body, more=None):
    client("cloudformation", endpoint).update_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=parameters(name, more),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    return outputs(endpoint, name)


def credentials(endpoint, role_arn):
    """What an instance with this role would get from its metadata service."""
    assumed = client("sts", endpoint).assume_role(RoleArn=role_arn, RoleSessionName="instance")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
        "AWS_SESSION_TOKEN": assumed["SessionToken"],
    }


def all_credentials(endpoint, found):
    return {service: credentials(endpoint, found[f"{service.title()}RoleArn"]) for service in SERVICES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--name", default="dunlin")
    parser.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--enforce", action="store_true")
    arguments = parser.parse_args()
    more = dict(pair.split("=", 1) for pair in arguments.parameter)
    found = deploy(arguments.endpoint, arguments.name, more)
    result = {"outputs": found, "credentials": all_credentials(arguments.endpoint, found)}
    if arguments.enforce:
        enforce(arguments.endpoint, True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
