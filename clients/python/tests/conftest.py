"""The systems under test: a real Dunlin with a model that only waits, one with the real model, and a scripted server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripted import Scripted

import dunlin

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "clients" / "cli" / "samples"
PROGRAM = Path(os.environ.get("DUNLIN_TEST_PROGRAM", ROOT / "target" / "debug" / "dunlin"))
#: Kept between runs: the inference library that the bundled model needs is got once.
DATA = ROOT / "target" / "python-tests"


@dataclass(frozen=True)
class System:
    """Where a running Dunlin listens."""

    public: str
    autoscaler: str
    process: subprocess.Popen[bytes]


def start(folder: Path, data: Path, *flags: str, listen: str = "127.0.0.1:0") -> Iterator[System]:
    """Runs `dunlin up` until the generator is closed."""
    if not PROGRAM.is_file():
        pytest.fail(f"no program at {PROGRAM}: build it, or name one with DUNLIN_TEST_PROGRAM")
    addresses = folder / "addresses.json"
    log = folder / "log"
    addresses.unlink(missing_ok=True)
    bind = [f"--listen={listen}", "--internal-listen=127.0.0.1:0", "--autoscaler-listen=127.0.0.1:0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DUNLIN_")}
    command = [PROGRAM, "up", *bind, f"--data={data}", f"--addresses-file={addresses}", "--no-samples", *flags]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            until = time.monotonic() + 120
            while not (addresses.exists() and addresses.read_text()):
                if process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"dunlin did not start: {log.read_text()}")
                time.sleep(0.05)
            bound = json.loads(addresses.read_text())
            yield System(bound["public"], bound["autoscaler"], process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A model that waits 20 ms and says the image's name."""
    folder = tmp_path_factory.mktemp("stub")
    yield from start(folder, folder / "data", "--model=stub:20ms", "--min-instances=1", "--keep=5m")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The model that comes with Dunlin."""
    yield from start(tmp_path_factory.mktemp("real"), DATA, "--model=bundled", "--min-instances=1", "--keep=5m")


@pytest.fixture
def client(stub: System) -> Iterator[dunlin.Client]:
    with dunlin.Client(stub.public, autoscaler_address=stub.autoscaler, timeout=60, actor="tests") as client:
        yield client


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that answers what the test tells it to."""
    server = Scripted()
    yield server
    server.stop()


@pytest.fixture
def photographs() -> list[Path]:
    return sorted(path for path in SAMPLES.iterdir() if path.suffix in (".png", ".jpg"))
