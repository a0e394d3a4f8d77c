"""The package itself: methods, reasons, both clients alike, and others' protos beside ours."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import dunlin
from dunlin import _methods, errors
from dunlin._pb import autoscaler_service_pb2, classifier_service_pb2, job_service_pb2

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_every_method_of_the_service_is_there_with_its_types() -> None:
    ours = {
        method.path: method for method in vars(_methods).values() if isinstance(method, (_methods.Unary, _methods.Streaming))
    }
    # Endless input is not offered: streams of groups do what it does, and resume.
    left_out = {"/dunlin.v1.ClassifierService/BidiClassify"}
    theirs = {}
    for file in (classifier_service_pb2, job_service_pb2, autoscaler_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                theirs[f"/{service.full_name}/{method.name}"] = method
    assert {path for path in ours if path.startswith("/dunlin.")} == theirs.keys() - left_out
    for path, method in theirs.items():
        if path not in left_out:
            assert ours[path].request.DESCRIPTOR is method.input_type
            assert ours[path].response.DESCRIPTOR is method.output_type
            assert isinstance(ours[path], _methods.Streaming) == method.server_streaming


def test_every_reason_of_the_service_has_a_class() -> None:
    source = (ROOT / "platform" / "src" / "error.rs").read_text()
    reasons = set(re.findall(r'\("([A-Z_]+)", Code::', source))
    assert len(reasons) > 30
    assert reasons <= errors._BY_REASON.keys()


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (dunlin.Client, dunlin.AsyncClient),
        (dunlin.client.Jobs, dunlin.aio.AsyncJobs),
        (dunlin.client.Autoscaler, dunlin.aio.AsyncAutoscaler),
    ],
)
def test_both_clients_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    def methods(of: type) -> dict[str, list[str]]:
        found = inspect.getmembers(of, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in found if not name.startswith("_")}

    assert methods(blocking) == methods(asynchronous)
    for name in methods(blocking):
        assert inspect.getdoc(getattr(blocking, name))


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_others_protos_of_the_same_names_do_not_clash(implementation: str, first: str) -> None:
    program = """
import sys
from google.protobuf import descriptor_pb2, descriptor_pool

def theirs():
    for name, package in (("google/rpc/status.proto", "google.rpc"), ("dunlin/v1/types.proto", "dunlin.v1")):
        file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
        file.message_type.add(name="Status").field.add(name="other", number=9, type=9, label=1)
        descriptor_pool.Default().AddSerializedFile(file.SerializeToString())

def ours():
    import dunlin
    from dunlin._pb import status_pb2, types_pb2
    image = types_pb2.Image(content=b"x")
    assert types_pb2.Image.FromString(image.SerializeToString()) == image
    assert status_pb2.Status(code=3).code == 3

for one in ((ours, theirs) if sys.argv[1] == "ours" else (theirs, ours)):
    one()
"""
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    subprocess.run([sys.executable, "-c", program, first], check=True, env=environment)


def test_addresses_are_read_or_refused() -> None:
    assert repr(dunlin.Client("http://localhost:8000/")) == "Client('http://localhost:8000/')"
    for wrong in ("ftp://localhost", "localhost:8000/path", ""):
        with pytest.raises(ValueError, match="write host:port"):
            dunlin.Client(wrong)
        with pytest.raises(ValueError, match="write host:port"):
            dunlin.AsyncClient(wrong)
    with pytest.raises(ValueError, match="https"):
        dunlin.Client("http://localhost:8000", tls=True)
    with pytest.raises(ValueError, match="go together"):
        dunlin.Tls(cert_file="cert.pem")


def test_unknown_option_is_named() -> None:
    with dunlin.Client() as client, pytest.raises(TypeError, match="unknown option topk; known: model, top_k"):
        client.classify_stream([], topk=1)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "example", sorted((Path(__file__).parents[1] / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_example_runs(example: Path, real: object, photographs: list[Path]) -> None:
    command = [sys.executable, str(example), real.public, *map(str, photographs)]  # type: ignore[attr-defined]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip(), done
