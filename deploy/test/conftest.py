"""A moto server of our own for each module that asks, on a free port, stopped at its end."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(endpoint, server):
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        assert server.poll() is None, "moto ended by itself"
        try:
            urllib.request.urlopen(endpoint + "/moto-api/", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"moto did not answer within {START_SECONDS_MAX} s")


@pytest.fixture(scope="module")
def moto():
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    server = subprocess.Popen(
        [sys.executable, DEPLOY / "test" / "moto_server.py", "-H", "127.0.0.1", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        wait_for(endpoint, server)
        yield endpoint
    finally:
        server.terminate()
        server.wait(timeout=10)


def load_yaml(text):
    """CloudFormation's tags in their long form."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def tag(loader, suffix, node):
        name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
            return {name: value.split(".", 1) if suffix == "GetAtt" else value}
        if isinstance(node, yaml.SequenceNode):
            return {name: loader.construct_sequence(node, deep=True)}
        return {name: loader.construct_mapping(node, deep=True)}

    Loader.add_multi_constructor("!", tag)
    return yaml.load(text, Loader)


@pytest.fixture(scope="session")
def template():
    return load_yaml((DEPLOY / "aws" / "dunlin.yaml").read_text())
