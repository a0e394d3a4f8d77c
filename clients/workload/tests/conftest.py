"""A misbehaving server, a real Dunlin, and a way to run the program against them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from misbehaving import Server

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "clients" / "cli" / "samples"
PROGRAM = Path(os.environ.get("DUNLIN_TEST_PROGRAM", ROOT / "target" / "debug" / "dunlin"))
#: Kept between runs, and shared with the tests of the Python client: the inference library is got once.
DATA = ROOT / "target" / "python-tests"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dunlin with the model that comes with it."""
    if not PROGRAM.is_file():
        pytest.fail(f"no program at {PROGRAM}: build it, or name one with DUNLIN_TEST_PROGRAM")
    folder = tmp_path_factory.mktemp("real")
    addresses = folder / "addresses.json"
    listen = [f"--{which}=127.0.0.1:0" for which in ("listen", "internal-listen", "autoscaler-listen")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DUNLIN_")}
    command = [PROGRAM, "up", *listen, f"--data={DATA}", f"--addresses-file={addresses}", "--no-samples"]
    with (folder / "log").open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            until = time.monotonic() + 120
            while not (addresses.exists() and addresses.read_text()):
                if process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"dunlin did not start: {(folder / 'log').read_text()}")
                time.sleep(0.05)
            yield f"http://{json.loads(addresses.read_text())['public']}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass
class Done:
    """A run of the program that ended."""

    code: int
    out: str
    errors: str
    numbers: dict[str, Any]

    def image(self, name: str) -> dict[str, Any]:
        """The outcome of one image, which there is exactly once."""
        (found,) = [image for image in self.numbers["images"] if image["name"] == name]
        return dict(found)


class Workload:
    """The program, with a folder for its images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir()

    def put(self, *names: str) -> None:
        """Images of these names; what is in them nobody looks at."""
        for name in names:
            (self.images / name).write_bytes(b"\xff\xd8\xff" + name.encode())

    def run(self, *flags: str, interrupt_after: float | None = None) -> Done:
        """Runs it to its end."""
        told = self.folder / "told.json"
        command = [sys.executable, "-m", "dunlin_workload", "--image_folder", str(self.images), "--json", str(told), *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        if interrupt_after is not None:
            time.sleep(interrupt_after)
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        return Done(process.returncode, out, errors, json.loads(told.read_text()) if told.exists() else {})


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return Workload(tmp_path)
