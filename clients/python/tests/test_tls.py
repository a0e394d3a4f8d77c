"""TLS and client certificates, with certificates made for the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from pictures import picture
from scripted import Scripted

import dunlin
from dunlin import _methods
from dunlin._pb import classifier_service_pb2, types_pb2


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate for `gateway.test`, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "stranger"):
        openssl(folder, "req", "-x509", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("gateway.test", "caller"):
        request = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-out", f"{name}.csr")
        openssl(folder, "req", *curve[:-2], *request, "-keyout", f"{name}.key")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copy")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    return folder


@pytest.fixture(params=[False, True], ids=["server", "mutual"])
def server(request: pytest.FixtureRequest, certificates: Path) -> Iterator[Scripted]:
    pair = ((certificates / "gateway.test.key").read_bytes(), (certificates / "gateway.test.pem").read_bytes())
    authority = (certificates / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([pair], authority if request.param else None, request.param)
    server = Scripted(credentials)
    server.is_mutual = request.param
    result = types_pb2.ImageResult(state=types_pb2.IMAGE_STATE_SUCCEEDED)
    server.script(_methods.CLASSIFY, classifier_service_pb2.ClassifyResponse(result=result))
    yield server
    server.stop()


async def test_both_clients_know_the_server_and_are_known(server: Scripted, certificates: Path) -> None:
    tls = dunlin.Tls(
        ca_file=str(certificates / "ca.pem"),
        cert_file=str(certificates / "caller.pem"),
        key_file=str(certificates / "caller.key"),
        server_name="gateway.test",
    )
    with dunlin.Client(server.address, tls=tls, timeout=10) as client:
        assert client.classify(picture()).ok
    async with dunlin.AsyncClient(f"https://{server.address}", tls=tls, timeout=10) as asynchronous:
        assert (await asynchronous.classify(picture())).ok


@pytest.mark.parametrize(
    ("authority", "name", "works"),
    [("stranger", "gateway.test", False), ("ca", "other.test", False), ("ca", "gateway.test", True)],
)
def test_wrong_server_or_unknown_caller_is_refused(
    server: Scripted, certificates: Path, authority: str, name: str, works: bool
) -> None:
    tls = dunlin.Tls(ca_file=str(certificates / f"{authority}.pem"), server_name=name)
    once = dunlin.Retry(attempts_max=1)
    with dunlin.Client(server.address, tls=tls, timeout=10, retry=once, key="secret") as client:
        if works and not server.is_mutual:
            assert client.classify(picture()).ok
        else:
            with pytest.raises(dunlin.UnavailableError):
                client.classify(picture())
            assert not server.asked


def test_file_that_is_missing_is_told_where_the_client_is_made() -> None:
    for kind in (dunlin.Client, dunlin.AsyncClient):
        with pytest.raises(FileNotFoundError):
            kind("localhost", tls=dunlin.Tls(ca_file="/nowhere.pem"))
