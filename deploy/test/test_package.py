"""The archives: what is in them, and what is refused."""

import subprocess
import tarfile

import pytest

from conftest import DEPLOY


@pytest.fixture
def programs(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("gateway", "autoscaler", "classifier-worker", "library.so"):
        (folder / name).write_bytes(b"\x7fELF GLIBC_2.17 GLIBC_2.34 " + name.encode())
    return folder


def package(folder, out, *more):
    command = [DEPLOY / "package", "--programs", folder, "--onnxruntime", folder / "library.so", "--out", out, *more]
    return subprocess.run(command, capture_output=True, text=True)


def test_each_archive_has_the_program_its_unit_and_what_it_loads(programs, tmp_path):
    done = package(programs, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for service, program in (("gateway", "gateway"), ("autoscaler", "autoscaler"), ("worker", "classifier-worker")):
        (archive,) = (tmp_path / "out").glob(f"{service}-*.tar.gz")
        assert f"{service.title()}Sha256={archive.name.split('-')[1].removesuffix('.tar.gz')}" in done.stdout
        with tarfile.open(archive) as tar:
            modes = {entry.name: entry.mode for entry in tar}
        expected = {f"bin/{program}": 0o755, f"systemd/dunlin-{service}.service": 0o644}
        expected |= {"README.md": 0o644, "LICENSE": 0o644}
        assert modes == (expected | {"lib/libonnxruntime.so": 0o755} if service == "worker" else expected)


def test_program_for_a_newer_system_is_refused_with_a_sentence(programs, tmp_path):
    (programs / "gateway").write_bytes(b"GLIBC_2.34 GLIBC_2.38")
    done = package(programs, tmp_path / "out")
    assert done.returncode == 1
    assert "gateway needs glibc 2.38 and Amazon Linux 2023 has 2.34" in done.stderr


def test_model_that_is_not_whole_is_refused_with_a_sentence(programs, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_text("x")
    done = package(programs, tmp_path / "out", "--model", model)
    assert done.returncode == 1 and "has no labels.txt and no model.toml" in done.stderr
    for name in ("labels.txt", "model.toml"):
        (model / name).write_text("x")
    done = package(programs, tmp_path / "out", "--model", model)
    assert done.returncode == 0 and "ModelSha256=" in done.stdout
