"""What becomes an image, and how: files, arrays, pictures, addresses."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import picture

import dunlin
from dunlin import _reading, images

LIMITS = dunlin.Limits(image_bytes_max=100_000, fetch_seconds_max=1.0)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/cat.png":
            self.answer(200, picture())
        elif self.path == "/late":
            time.sleep(0.5)
            self.answer(200, picture())
        elif self.path == "/moved":
            self.answer(302, b"", ("location", "/cat.png"))
        elif self.path == "/file":
            self.answer(302, b"", ("location", "file:///etc/passwd"))
        elif self.path == "/ftp":
            self.answer(302, b"", ("location", "ftp://127.0.0.1/cat.png"))
        elif self.path == "/round":
            self.answer(302, b"", ("location", "/round"))
        elif self.path == "/large":
            self.answer(200, b"x" * 200_000)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b"x" * 1000)
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(30):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        else:
            self.answer(404, b"nothing")

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/cat.png", "/moved"])
def test_address_is_fetched(site: str, path: str) -> None:
    loaded = images.load(site + path, LIMITS)
    assert loaded.content == picture()
    assert loaded.custom_id == path[1:]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/nothing", "HTTP status 404"),
        ("/file", "HTTP status 302"),
        ("/ftp", "redirected to ftp:"),
        ("/round", "HTTP status 302"),
        ("/large", "more than 100000 bytes"),
        ("/endless", "more than 100000 bytes"),
        ("/slow", "not complete after 1 s"),
        ("/short", "broke off after 10 of 100 bytes"),
    ],
)
def test_address_without_an_image_is_unreadable(site: str, path: str, told: str) -> None:
    with pytest.raises(dunlin.ImageError, match=told) as caught:
        images.load(site + path, LIMITS)
    assert caught.value.reason == "IMAGE_UNREADABLE"


def test_address_that_is_fetched_is_classified(site: str, client: dunlin.Client) -> None:
    assert client.classify(f"{site}/cat.png?size=large").custom_id == "cat.png"
    batch = client.classify_batch([f"{site}/cat.png", f"{site}/nothing"])
    assert [result.ok for result in batch] == [True, False]


def test_many_addresses_are_fetched_at_once_and_come_in_order(site: str) -> None:
    many: list[dunlin.AnyImage] = [f"{site}/late"] * 8
    many[5] = picture(5)
    since = time.monotonic()
    read = list(_reading.read(iter([picture(9), *many, f"{site}/nothing"]), LIMITS))
    # Half a second each.
    assert time.monotonic() - since < 1.5
    assert [one.custom_id for one in read] == [str(index) for index in range(10)]
    assert isinstance(read[-1], dunlin.ImageResult)
    assert [one.content for one in read[:9] if not isinstance(one, dunlin.ImageResult)] == [
        *[picture(9)],
        *[picture()] * 5,
        picture(5),
        *[picture()] * 2,
    ]


def test_s3_address_is_passed_on() -> None:
    loaded = images.load("s3://bucket/folder/cat.jpg", LIMITS)
    assert (loaded.uri, loaded.content, loaded.custom_id) == ("s3://bucket/folder/cat.jpg", b"", "cat.jpg")


def test_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(dunlin.ImageError, match="IMAGE_TOO_LARGE"):
        images.load(path, LIMITS)


def test_name_is_the_callers_or_the_position_or_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    assert images.load(path, LIMITS).custom_id == "a.png"
    assert images.load(path, LIMITS, custom_id="7").custom_id == "7"
    assert images.load(dunlin.Image(path, "mine"), LIMITS, custom_id="7").custom_id == "mine"
    assert images.load(picture(), LIMITS).custom_id == ""


def test_arrays_keep_their_pixels() -> None:
    numpy = pytest.importorskip("numpy")
    pil = pytest.importorskip("PIL.Image")
    for shape in ((4, 6), (4, 6, 1), (4, 6, 2), (4, 6, 3), (4, 6, 4)):
        array = numpy.arange(numpy.prod(shape), dtype="uint8").reshape(shape)
        # One that is not contiguous, too.
        for pixels in (array, array[:, ::-1]):
            loaded = images.load(pixels, LIMITS)
            with pil.open(io.BytesIO(loaded.content)) as back:
                assert (numpy.asarray(back).reshape(shape) == pixels).all()


@pytest.mark.parametrize(("shape", "kind"), [((4, 6, 3), "float32"), ((4,), "uint8"), ((4, 6, 5), "uint8")])
def test_array_without_one_meaning_is_refused(shape: tuple[int, ...], kind: str) -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises((TypeError, ValueError)):
        images.load(numpy.zeros(shape, dtype=kind), LIMITS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "HSV"])
def test_pil_picture_of_every_mode_becomes_a_png(mode: str) -> None:
    pil = pytest.importorskip("PIL.Image")
    loaded = images.load(pil.new("RGB", (5, 3), "red").convert(mode), LIMITS)
    with pil.open(io.BytesIO(loaded.content)) as back:
        assert (back.format, back.size) == ("PNG", (5, 3))


@pytest.mark.parametrize("source", [7, None, io.StringIO("text"), [b"x"]])
def test_what_is_no_image_is_a_type_error(source: object) -> None:
    with pytest.raises(TypeError):
        images.load(source, LIMITS)  # type: ignore[arg-type]
