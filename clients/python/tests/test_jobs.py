"""Jobs against the real system."""

from __future__ import annotations

import pytest
from conftest import System
from pictures import picture

import dunlin
from dunlin import JobState


def test_job_is_submitted_watched_and_fetched(client: dunlin.Client) -> None:
    many = [dunlin.Image(picture(shade), custom_id=f"image-{shade}") for shade in range(12)]
    job = client.jobs.create([*many, dunlin.Image(b"broken", custom_id="broken")], labels={"team": "tests"})
    assert job.name.startswith("jobs/")
    events = list(client.jobs.watch(job, timeout=60))
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    assert sorted(event.result.custom_id for event in events if event.result) == sorted(
        ["broken", *(image.custom_id for image in many)]
    )
    last = events[-1].job
    assert last is not None
    assert last.state is JobState.PARTIALLY_FAILED
    assert last.counts == dunlin.Counts(total=13, succeeded=12, failed=1)
    assert last == client.jobs.wait(job) == client.jobs.get(job.name)

    # They come in the order in which they were ready.
    results = sorted(client.jobs.results(job, page_size=5), key=lambda result: result.index)
    assert [result.index for result in results] == list(range(13))
    assert results[3].label == "image-3"
    assert results[12].error is not None
    assert results[12].error.reason == "IMAGE_UNSUPPORTED_FORMAT"

    # Gone on with another day: only what came after, and nothing at the end.
    middle = events[4].sequence
    assert list(client.jobs.watch(job, after_sequence=middle, timeout=60)) == events[5:]
    assert list(client.jobs.watch(job, after_sequence=events[-1].sequence, timeout=60)) == []
    assert job.name in [found.name for found in client.jobs.list(filter="labels.team=tests")]


def test_same_request_id_makes_one_job(client: dunlin.Client) -> None:
    first = client.jobs.create([picture(7)], request_id="once-and-for-all")
    assert client.jobs.create([picture(7)], request_id="once-and-for-all").name == first.name


def test_job_that_is_cancelled_does_not_start_the_rest(client: dunlin.Client) -> None:
    job = client.jobs.create([picture(6000 + shade) for shade in range(300)], no_cache=True)
    client.jobs.cancel(job)
    ended = client.jobs.wait(job, timeout=60)
    assert ended.state is JobState.CANCELLED
    assert ended.counts.cancelled > 100
    assert client.jobs.cancel(job) == ended


def test_unknown_job_is_not_found(client: dunlin.Client) -> None:
    with pytest.raises(dunlin.NotFoundError) as caught:
        client.jobs.get("jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert caught.value.reason == "JOB_NOT_FOUND"


async def test_async_jobs_do_the_same(stub: System) -> None:
    async with dunlin.AsyncClient(stub.public, timeout=60) as client:
        job = await client.jobs.create([picture(1), picture(2)])
        assert (await client.jobs.wait(job)).state is JobState.SUCCEEDED
        assert [result.ok async for result in client.jobs.results(job)] == [True, True]
        assert (await client.jobs.get(job)).ended
        assert job.name in [found.name async for found in client.jobs.list(page_size=2)]
        assert (await client.jobs.cancel(job)).state is JobState.SUCCEEDED
