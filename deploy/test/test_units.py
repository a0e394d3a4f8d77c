"""The systemd units: no complaint of systemd's, a sandbox that it rates at most 2.0, and what the programs rely on."""

import configparser
import re
import shutil
import subprocess

import pytest

from conftest import DEPLOY

UNITS = {"gateway": "gateway", "autoscaler": "autoscaler", "worker": "classifier-worker"}
EXPOSURE_MAX = 2.0

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


def unit(service):
    return DEPLOY / "systemd" / f"dunlin-{service}.service"


def read(service):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read(unit(service))
    return parser


@pytest.fixture
def verified(tmp_path):
    """The unit with its program where there is one: verify looks for it."""

    def verify(service, text=None):
        program = tmp_path / "opt" / "dunlin" / "bin" / UNITS[service]
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        copy = tmp_path / f"dunlin-{service}.service"
        copy.write_text((text or unit(service).read_text()).replace("=/opt/dunlin", f"={tmp_path}/opt/dunlin"))
        return subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)

    return verify


@pytest.mark.parametrize("service", UNITS)
def test_systemd_complains_of_nothing(verified, service):
    done = verified(service)
    # It answers 0 to a wrong value, and only says so.
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_complain_of_a_mistake(verified):
    text = unit("worker").read_text().replace("TimeoutStopSec=45s", "TimeoutStopSec=soon")
    assert "Failed to parse time value" in verified("worker", text).stderr


@pytest.mark.parametrize("service", UNITS)
def test_sandbox_is_tight(service):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit(service)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert level <= EXPOSURE_MAX


@pytest.mark.parametrize("service", UNITS)
def test_unit_waits_for_ready_and_gives_the_program_longer_than_its_grace(service):
    settings = read(service)["Service"]
    assert settings["Type"] == "notify"
    assert settings["KillSignal"] == "SIGTERM"
    assert settings["Restart"] == "on-failure"
    assert settings["EnvironmentFile"] == f"/etc/dunlin/{service}.env"
    source = (DEPLOY.parent / UNITS[service] / "src" / "options.rs").read_text()
    grace = re.search(r'env = "DUNLIN_GRACE"[^\]]*default_value = "(\d+)s"', source) or re.search(
        r'default_value = "(\d+)s"[^\]]*env = "DUNLIN_GRACE"', source
    )
    assert int(settings["TimeoutStopSec"].removesuffix("s")) > int(grace[1])


@pytest.mark.parametrize(("status", "powered_off"), [("79", True), ("0", False), ("1", False), ("78", False)])
def test_orphaned_worker_turns_its_machine_off(tmp_path, status, powered_off):
    settings = read("worker")["Service"]
    assert settings["RestartPreventExitStatus"] == "79"
    command = re.fullmatch(r"\+/bin/sh -c '(.+)'", settings["ExecStopPost"])[1].replace("$$", "$")
    stub = tmp_path / "systemctl"
    stub.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/told\n')
    stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXIT_STATUS": status}
    subprocess.run(["/bin/sh", "-c", command], env=environment, check=True)
    assert (tmp_path / "told").exists() == powered_off
