"""The images: built from nothing but the program, and running. The gateway's is static; the worker's can load ONNX Runtime."""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

from conftest import DEPLOY, free_port

# Programs built beforehand: a gateway linked statically, and a worker as cargo builds it.
GATEWAY = os.environ.get("DUNLIN_TEST_STATIC_GATEWAY")
WORKER = os.environ.get("DUNLIN_TEST_WORKER")
START_SECONDS_MAX = 60

buildable = pytest.mark.skipif(
    not (shutil.which("buildah") and os.geteuid() == 0), reason="needs buildah and root: apt-get install buildah"
)


def test_hadolint_finds_nothing():
    linter = pathlib.Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, DEPLOY / "container" / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def interpreter(program):
    """The dynamic loader that an ELF program asks for."""
    content = pathlib.Path(program).read_bytes()
    (headers_at,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for i in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", content, headers_at + i * size)
        if kind == 3:
            return content[offset : offset + length].rstrip(b"\0").decode()
    return None


class Images:
    def __init__(self, folder):
        self.command = ["buildah", "--storage-driver", "vfs", "--root", f"{folder}/root", "--runroot", f"{folder}/run"]

    def buildah(self, *arguments):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, service, program, **more):
        tool = " ".join([*self.command, "bud", "--isolation", "chroot"])
        command = [DEPLOY / "container" / "build", service, program]
        done = subprocess.run(command, env={**os.environ, "TOOL": tool, **more}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.buildah("from", f"localhost/dunlin-{service}")

    def start(self, container, *arguments):
        command = [*self.command, "run", "--isolation", "chroot", container, "--", "/bin/service", *arguments]
        return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return Images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def gateway(images):
    if not GATEWAY:
        pytest.skip("DUNLIN_TEST_STATIC_GATEWAY names no program")
    return images.build("gateway", GATEWAY)


@pytest.fixture(scope="module")
def worker(images, tmp_path_factory):
    if not WORKER:
        pytest.skip("DUNLIN_TEST_WORKER names no program")
    library = os.environ.get("DUNLIN_TEST_ONNXRUNTIME")
    return images.build("worker", WORKER, **({"ONNXRUNTIME": library} if library else {}))


def stop(process):
    """The session is ours alone: the tool and the program in it."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=20)[0].decode()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0].decode()


def fetch(url, body=None, content_type="application/octet-stream"):
    request = urllib.request.Request(url, data=body, headers={"content-type": content_type})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def wait_for(url, process):
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[0].decode()
        try:
            return fetch(url)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}: {stop(process)}")


def contents(images, container):
    """Every file in the image."""
    mount = images.buildah("mount", container)
    files = [str(path.relative_to(mount)) for path in pathlib.Path(mount).rglob("*") if path.is_file()]
    images.buildah("umount", container)
    return files


@buildable
def test_gateway_is_static_and_alone_in_its_image(images, gateway):
    assert interpreter(GATEWAY) is None
    assert sorted(contents(images, gateway)) == ["bin/service", "etc/ssl/certs/ca-certificates.crt"]


@buildable
@pytest.mark.parametrize("service", ["gateway", "worker"])
def test_images_run_as_nobody_who_may_do_nothing(images, request, service):
    container = request.getfixturevalue(service)
    config = json.loads(images.buildah("inspect", container))["OCIv1"]["config"]
    assert (config["User"], config["Entrypoint"]) == ("65532:65532", ["/bin/service"])
    assert not [path for path in contents(images, container) if path.endswith(("/sh", "/bash", "/busybox"))]


@buildable
def test_gateway_runs_in_its_image_and_ends_at_sigterm(images, gateway):
    port = free_port()
    process = images.start(gateway, "--listen", f"127.0.0.1:{port}", "--internal-listen", f"127.0.0.1:{free_port()}")
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
    finally:
        stop(process)
    assert process.returncode is not None


@buildable
def test_worker_in_its_image_loads_onnx_runtime_and_classifies_for_the_gateway(images, gateway, worker):
    port, internal = free_port(), free_port()
    listen = ["--listen", f"127.0.0.1:{port}", "--internal-listen", f"127.0.0.1:{internal}"]
    server = images.start(gateway, *listen)
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz", server)
        helper = images.start(worker, "--queue", f"broker://127.0.0.1:{internal}")
        try:
            image = (DEPLOY / "test" / "pixel.png").read_bytes()
            answer = json.loads(fetch(f"http://127.0.0.1:{port}/v1/classify", image, "image/png"))
        except OSError as error:
            answer = str(error)
        finally:
            said = stop(helper)
    finally:
        stop(server)
    assert "classifications" in answer, f"{answer}\n{said}"
