"""Keys against the real system."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from conftest import PROGRAM, System, start
from pictures import picture

import dunlin


@dataclass(frozen=True)
class Keyed:
    """A Dunlin that wants keys, and three."""

    system: System
    classify: str
    read: str
    slow: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keys")
    file = folder / "keys"

    def create(name: str, scope: str, *flags: str) -> str:
        command = [PROGRAM, "key", "create", f"--keys={file}", f"--name={name}", f"--scope={scope}", *flags]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.split()[-1]

    keys = (create("ann", "classify"), create("bob", "read"), create("eve", "classify", "--rate=2"))
    for system in start(folder, folder / "data", "--model=stub:1ms", "--min-instances=1", f"--keys={file}"):
        yield Keyed(system, *keys)


def test_key_opens_what_it_is_for(keyed: Keyed) -> None:
    with dunlin.Client(keyed.system.public, key=keyed.classify) as client:
        assert client.classify(picture()).ok
    with dunlin.Client(keyed.system.public) as client, pytest.raises(dunlin.AuthError) as caught:
        client.classify(picture())
    assert caught.value.reason == "API_KEY_INVALID"
    with dunlin.Client(keyed.system.public, key=keyed.read) as client, pytest.raises(dunlin.AuthError) as caught:
        client.classify(picture())
    assert caught.value.reason == "SCOPE_MISSING"


def test_quota_is_waited_for(keyed: Keyed) -> None:
    with dunlin.Client(keyed.system.public, key=keyed.slow, timeout=30) as client:
        assert all(client.classify(picture(shade)).ok for shade in range(6))
    once = dunlin.Retry(attempts_max=1)
    slow = dunlin.Client(keyed.system.public, key=keyed.slow, retry=once)
    with slow as client, pytest.raises(dunlin.OverloadedError) as caught:
        list(map(client.classify, map(picture, range(10))))
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert caught.value.retry_after is not None
