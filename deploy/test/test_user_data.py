"""The instances' first boot: cloud-init takes it, and its script does what it says."""

import base64
import functools
import hashlib
import os
import pathlib
import stat
import subprocess
import sys

import pytest
import yaml

import stack
from conftest import DEPLOY

SERVICES = ("gateway", "autoscaler", "worker")
# EC2's limit, before base64.
USER_DATA_BYTES_MAX = 16_384

CLOUD_INIT = os.environ.get("DUNLIN_TEST_CLOUD_INIT")


def user_data(endpoint, name):
    ec2 = stack.client("ec2", endpoint)
    versions = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return base64.b64decode(data["UserData"]).decode()


@pytest.fixture(scope="module")
def published(moto, tmp_path_factory):
    """Archives of stand-in programs, put into the artefact bucket by ../aws/publish: what it printed."""
    folder = tmp_path_factory.mktemp("programs")
    for program in ("gateway", "autoscaler", "classifier-worker", "libonnxruntime.so"):
        (folder / program).write_text(f"#!/bin/sh\necho {program}\n")
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "owner",
        "AWS_DEFAULT_REGION": stack.REGION,
    }
    command = [DEPLOY / "aws" / "publish", "dunlin-artefacts", "--programs", folder]
    command += ["--onnxruntime", folder / "libonnxruntime.so"]
    run = functools.partial(subprocess.run, command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    printed = [run().stdout, run().stdout]
    assert printed[0] == printed[1], "publishing the same twice names two archives"
    return dict(line.split("=", 1) for line in printed[0].splitlines())


@pytest.fixture(scope="module")
def deployed(moto, published):
    more = {**published, "UriBuckets": "one,two", "ResultsQueue": "true", "ModelSha256": "d" * 64}
    found = stack.deploy(moto, more=more)
    return found, {service: user_data(moto, f"dunlin-{service}") for service in SERVICES}


def environment(text, service):
    files = yaml.safe_load(text)["write_files"]
    (content,) = [file["content"] for file in files if file["path"] == f"/etc/dunlin/{service}.env"]
    return dict(line.split("=", 1) for line in content.splitlines())


@pytest.mark.parametrize("service", SERVICES)
def test_user_data_is_a_cloud_config_within_the_limit_and_wholly_filled_in(deployed, service):
    text = deployed[1][service]
    assert text.startswith("#cloud-config\n")
    assert len(text.encode()) <= USER_DATA_BYTES_MAX
    assert "${" not in text


@pytest.mark.skipif(not CLOUD_INIT, reason="DUNLIN_TEST_CLOUD_INIT names no cloud-init")
@pytest.mark.parametrize("service", SERVICES)
def test_cloud_init_finds_user_data_valid(deployed, service, tmp_path):
    config = tmp_path / "user-data"
    config.write_text(deployed[1][service])
    assert schema(config).returncode == 0, schema(config).stdout
    known = {"users", "write_files", "runcmd"}
    assert yaml.safe_load(config.read_text()).keys() == known


@pytest.mark.skipif(not CLOUD_INIT, reason="DUNLIN_TEST_CLOUD_INIT names no cloud-init")
def test_cloud_init_would_find_a_mistake(tmp_path):
    config = tmp_path / "user-data"
    config.write_text("#cloud-config\nwrite_files:\n  - path: /x\n    permissions: 644\n")
    assert schema(config).returncode == 1


def schema(config):
    command = [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", config]
    path = str(pathlib.Path(CLOUD_INIT, "usr/lib/python3/dist-packages"))
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_services_are_told_what_the_stack_made(deployed):
    found, texts = deployed
    gateway = environment(texts["gateway"], "gateway")
    worker = environment(texts["worker"], "worker")
    autoscaler = environment(texts["autoscaler"], "autoscaler")
    assert gateway["DUNLIN_QUEUE"] == worker["DUNLIN_QUEUE"] == autoscaler["DUNLIN_QUEUE"] == found["QueueUrl"]
    assert gateway["DUNLIN_STORE"] == worker["DUNLIN_STORE"] == found["StoreUrl"]
    assert worker["DUNLIN_RESULTS"] == found["ResultsUrl"]
    assert worker["DUNLIN_MODEL"] == "onnx:/opt/dunlin/model"
    assert "DUNLIN_URI_BUCKETS=one,two" in texts["gateway"]
    assert gateway["DUNLIN_AUTOSCALER"] == worker["DUNLIN_AUTOSCALER"] == "http://autoscaler.dunlin.internal:8002"
    assert autoscaler["DUNLIN_FLEET"] == found["FleetUrl"]
    assert autoscaler["DUNLIN_STORE"] == found["StateUrl"]
    assert autoscaler["DUNLIN_SUBNETS"] == found["Subnets"]
    assert autoscaler["DUNLIN_MAX_INSTANCES"] == "20"
    assert found["ResultsQueueUrl"] in texts["worker"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_option_is_set_to_nothing(moto, deployed, service):
    """An empty variable is a value to a program, and mostly a wrong one."""
    stack.deploy(moto, f"plain-{service}")
    settings = environment(user_data(moto, f"plain-{service}-{service}"), service)
    assert "DUNLIN_PROFILE" in settings and all(settings.values())


def run_install(folder, archive_uri, digest, **more):
    """The script with its places moved below `folder`, and systemctl a stub that notes what it was told."""
    script = (DEPLOY / "aws" / "cloud-init" / "install.sh").read_text()
    script = script.replace("/opt/dunlin", f"{folder}/opt").replace("/etc/systemd/system/", f"{folder}/units/")
    script = script.replace("sleep 3", "sleep 0").replace("-lt 20", "-lt 2")
    for name in ("opt", "units", "bin"):
        (folder / name).mkdir(exist_ok=True)
    stub = folder / "bin" / "systemctl"
    stub.write_text(f'#!/bin/sh\necho "$*" >>{folder}/systemctl\n')
    stub.chmod(0o755)
    (folder / "install").write_text(script)
    path = f"{folder}/bin:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", folder / "install", "worker", archive_uri, digest],
        env={"PATH": path, "HOME": str(folder), "AWS_MAX_ATTEMPTS": "1", **more},
        capture_output=True,
        text=True,
    )


def test_instance_gets_its_program_checked_and_started_by_its_own_role(moto, published, deployed, tmp_path):
    parameters, credentials = published, stack.all_credentials(moto, deployed[0])
    digest = parameters["WorkerSha256"]
    uri = f"s3://dunlin-artefacts/worker-{digest}.tar.gz"
    role = {"AWS_ENDPOINT_URL": moto, "AWS_DEFAULT_REGION": stack.REGION, **credentials["worker"]}
    stack.enforce(moto, True)
    try:
        done = run_install(tmp_path, uri, digest, **role)
        other = tmp_path / "other"
        other.mkdir()
        uri_of_another = f"s3://dunlin-artefacts/gateway-{parameters['GatewaySha256']}.tar.gz"
        refused = run_install(other, uri_of_another, digest, **role)
    finally:
        stack.enforce(moto, False)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "opt" / "bin" / "classifier-worker"
    assert program.stat().st_mode & stat.S_IXOTH
    unit = tmp_path / "units" / "dunlin-worker.service"
    assert unit.read_bytes() == (DEPLOY / "systemd" / "dunlin-worker.service").read_bytes()
    told = (tmp_path / "systemctl").read_text().splitlines()
    assert told == ["daemon-reload", "enable --now dunlin-worker.service"]
    assert refused.returncode == 1 and "can't fetch" in refused.stderr


def test_archive_that_is_not_what_was_published_is_not_started(moto, published, tmp_path):
    uri = f"s3://dunlin-artefacts/worker-{published['WorkerSha256']}.tar.gz"
    owner = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    wrong = hashlib.sha256(b"another").hexdigest()
    done = run_install(tmp_path, uri, wrong, AWS_ENDPOINT_URL=moto, AWS_DEFAULT_REGION=stack.REGION, **owner)
    assert done.returncode == 1 and "is not what was published" in done.stderr
    assert not (tmp_path / "systemctl").exists()
    assert not (tmp_path / "opt" / "bin").exists()


@pytest.mark.parametrize("service", SERVICES)
def test_commands_at_first_boot_are_shell(deployed, service):
    for command in yaml.safe_load(deployed[1][service])["runcmd"]:
        if isinstance(command, str):
            subprocess.run(["sh", "-n"], input=command, text=True, check=True)
        else:
            assert command[0] == "/opt/dunlin/install" and all(isinstance(word, str) for word in command)
