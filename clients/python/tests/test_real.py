"""Against the real system: classifying, streams, batches, in both clients."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from conftest import System
from pictures import picture

import dunlin
from dunlin import ImageState


def test_photographs_get_the_labels_of_the_real_model(real: System, photographs: list[Path]) -> None:
    with dunlin.Client(real.public, timeout=120) as client:
        labels = {path.name: client.classify(path).label for path in photographs}
        assert labels == {
            "chelsea.png": "tiger cat",
            "china.jpg": "palace",
            "coffee.png": "espresso",
            "flower.jpg": "daisy",
            "rocket.jpg": "missile",
        }
        result = client.classify(photographs[0], top_k=3)
        assert len(result.classifications) == 3
        assert result.score == pytest.approx(0.385, abs=0.05)
        assert result.execution is not None
        assert result.execution.inference_seconds > 0
        assert "tiger cat 3" in str(result)


def test_array_and_pil_picture_get_the_label_of_their_file(real: System, photographs: list[Path]) -> None:
    pil = pytest.importorskip("PIL.Image")
    numpy = pytest.importorskip("numpy")
    with dunlin.Client(real.public, timeout=120) as client, pil.open(photographs[2]) as opened:
        assert client.classify(opened).label == "espresso"
        assert client.classify(numpy.asarray(opened.convert("RGB"))).label == "espresso"
        assert client.classify(opened.convert("CMYK")).label == "espresso"


def test_one_image_is_classified_from_every_kind_of_source(client: dunlin.Client, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(picture())
    with path.open("rb") as file:
        for source in (str(path), path, path.read_bytes(), bytearray(path.read_bytes()), file):
            result = client.classify(source, no_cache=True)
            assert result.ok
            assert result.state is ImageState.SUCCEEDED
            assert result.index == 0
    assert client.classify(path).label == "cat"
    assert client.classify(dunlin.Image(path, custom_id="mine")).custom_id == "mine"


def test_bad_image_is_a_typed_error(client: dunlin.Client) -> None:
    with pytest.raises(dunlin.ImageError) as caught:
        client.classify(b"not an image")
    assert caught.value.reason == "IMAGE_UNSUPPORTED_FORMAT"
    with pytest.raises(dunlin.ImageError, match="IMAGE_UNREADABLE"):
        client.classify("/nowhere/cat.jpg")
    with pytest.raises(dunlin.UriError):
        client.classify("s3://bucket/cat.jpg")
    with pytest.raises(dunlin.NotFoundError):
        client.classify(picture(), model="nobody")
    with pytest.raises(dunlin.InvalidRequestError) as refused:
        client.classify(picture(), top_k=5000)
    assert refused.value.violations[0].field == "options.top_k"


def test_batch_comes_back_in_order_with_failures_inside(client: dunlin.Client) -> None:
    batch = client.classify_batch([picture(1), b"broken", "/nowhere.png", picture(2)])
    assert [result.ok for result in batch] == [True, False, False, True]
    assert [result.index for result in batch] == [0, 1, 2, 3]
    assert batch.counts == dunlin.Counts(total=4, succeeded=2, failed=2)
    with pytest.raises(dunlin.ImageError):
        _ = batch[1].label


def test_stream_gives_one_result_for_each_of_many_images(client: dunlin.Client) -> None:
    many = [picture(shade) for shade in range(150)]
    many[70] = b"broken"
    results = list(client.classify_stream(many))
    assert sorted(result.index for result in results) == list(range(150))
    assert [result.index for result in results if not result.ok] == [70]
    assert all(result.custom_id == str(result.index) for result in results)


def test_stream_with_progress_tells_the_life_of_an_image(client: dunlin.Client) -> None:
    seen = list(client.classify_stream([picture(3)], progress=True, no_cache=True))
    states = [event.state for event in seen]
    assert states[-1] is ImageState.SUCCEEDED
    assert ImageState.QUEUED in states
    assert all(isinstance(event, dunlin.Progress) for event in seen[:-1])


def test_closing_a_stream_withdraws_what_is_left(client: dunlin.Client) -> None:
    stream = client.classify_stream([picture(1000 + shade) for shade in range(400)], no_cache=True)
    assert next(stream).ok
    stream.close()
    until = time.monotonic() + 10
    while (status := client.autoscaler.status()).observation.waiting > 20:
        assert time.monotonic() < until, status
        time.sleep(0.2)


def test_call_that_takes_too_long_ends_at_its_deadline(client: dunlin.Client) -> None:
    since = time.monotonic()
    with pytest.raises(dunlin.DeadlineError):
        list(client.classify_stream([picture(2000 + shade) for shade in range(200)], no_cache=True, timeout=0.5))
    assert time.monotonic() - since < 5


def test_same_call_under_the_same_id_gets_the_first_answer(client: dunlin.Client) -> None:
    first = client.classify(picture(1), request_id="first-answer", no_cache=True)
    again = client.classify(picture(1), request_id="first-answer", no_cache=True)
    # Also when it was queued and done: it is the same answer.
    assert first.execution == again.execution
    with pytest.raises(dunlin.ConflictError) as caught:
        client.classify(picture(2), request_id="first-answer")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_client_is_used_by_many_threads(client: dunlin.Client) -> None:
    results: list[dunlin.ImageResult] = []
    threads = [threading.Thread(target=lambda: results.append(client.classify(picture(9)))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    assert all(result.ok for result in results)


def test_service_is_healthy_and_an_unknown_one_is_not_there(client: dunlin.Client) -> None:
    assert client.health()
    with pytest.raises(dunlin.NotFoundError):
        client.health("nobody")


async def test_async_client_does_the_same(stub: System) -> None:
    async with dunlin.AsyncClient(stub.public, timeout=60) as client:
        assert (await client.classify(picture())).ok
        assert await client.health()
        answers = await asyncio.gather(*(client.classify(picture(shade)) for shade in range(20)))
        assert all(answer.ok for answer in answers)
        batch = await client.classify_batch([picture(1), b"broken"])
        assert [result.ok for result in batch] == [True, False]
        many = [picture(shade) for shade in range(150)]
        results = [result async for result in client.classify_stream([*many, "/nowhere"])]
        assert sorted(result.index for result in results) == list(range(151))
        events = [event async for event in client.classify_stream(many[:1], progress=True, no_cache=True)]
        assert isinstance(events[0], dunlin.Progress)
        with pytest.raises(dunlin.ImageError):
            await client.classify(b"broken")


async def test_async_task_that_is_cancelled_cancels_its_call(stub: System) -> None:
    async with dunlin.AsyncClient(stub.public, timeout=60) as client:
        task = asyncio.create_task(client.classify_batch([picture(3000 + shade) for shade in range(300)]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stream = client.classify_stream([picture(4000 + shade) for shade in range(300)], no_cache=True)
        async for _ in stream:
            break
        await stream.aclose()
        assert (await client.classify(picture(5000))).ok
