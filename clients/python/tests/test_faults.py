"""Against a scripted server: refusals, broken streams, what is sent again and what is not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import grpc
import pytest
from pictures import picture
from scripted import Hang, Refusal, Scripted

import dunlin
from dunlin import _methods, _retry
from dunlin._pb import autoscaler_service_pb2, error_details_pb2, job_service_pb2, types_pb2
from dunlin._pb import classifier_service_pb2 as pb

QUICK = dunlin.Retry(delay_first=0.01)
EXHAUSTED, UNAVAILABLE = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE
SUCCEEDED = types_pb2.IMAGE_STATE_SUCCEEDED


@pytest.fixture
def client(scripted: Scripted) -> Iterator[dunlin.Client]:
    with dunlin.Client(scripted.address, key="secret-key", retry=QUICK, timeout=10) as client:
        yield client


def answer(index: int = 0) -> types_pb2.ImageResult:
    classes = [types_pb2.Classification(class_id=1, label=f"label {index}", score=0.5)]
    return types_pb2.ImageResult(index=index, custom_id=str(index), state=SUCCEEDED, classifications=classes)


def event(sequence: int, index: int) -> pb.ClassifyStreamResponse:
    return pb.ClassifyStreamResponse(sequence=sequence, result=answer(index))


def test_refusal_with_a_time_is_obeyed_and_the_repetition_has_the_same_id(scripted: Scripted, client: dunlin.Client) -> None:
    refused = Refusal(EXHAUSTED, "QUEUE_FULL", retry_after=0.3)
    scripted.script(_methods.CLASSIFY, refused, pb.ClassifyResponse(result=answer()))
    since = time.monotonic()
    assert client.classify(picture()).label == "label 0"
    assert 0.3 <= time.monotonic() - since < 2
    first, second = scripted.requests(_methods.CLASSIFY)
    assert first.request_id
    assert first == second


def test_id_is_the_callers_or_none_where_it_is_empty(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.CLASSIFY, pb.ClassifyResponse(result=answer()))
    scripted.script(_methods.BATCH_CLASSIFY, pb.BatchClassifyResponse())
    for given in ("mine", ""):
        client.classify(picture(), request_id=given)
        client.classify_batch([b"x" * 10_000_000] * 2, request_id=given)
    assert [request.request_id for request in scripted.requests(_methods.CLASSIFY)] == ["mine", ""]
    assert [request.request_id for request in scripted.requests(_methods.BATCH_CLASSIFY)] == ["mine", "mine-1", "", ""]


def test_pushback_is_obeyed_like_retry_info(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(
        _methods.CLASSIFY, Refusal(EXHAUSTED, "QUEUE_FULL", pushback="250"), pb.ClassifyResponse(result=answer())
    )
    since = time.monotonic()
    assert client.classify(picture()).ok
    assert time.monotonic() - since >= 0.25


@pytest.mark.parametrize(
    ("refusal", "attempts"),
    [
        (Refusal(EXHAUSTED, "QUEUE_FULL"), 1),
        (Refusal(EXHAUSTED, "QUEUE_FULL", retry_after=60), 1),
        (Refusal(EXHAUSTED, "QUEUE_FULL", retry_after=0.01, pushback="-1"), 1),
        (Refusal(grpc.StatusCode.INTERNAL, "INTERNAL"), 1),
        (Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE"), 1),
        (Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", retry_after=0.01), 1),
        (Refusal(grpc.StatusCode.ABORTED, "VERSION_MISMATCH"), 1),
        (Refusal(UNAVAILABLE, "DRAINING"), 5),
        (Refusal(UNAVAILABLE), 5),
        (Refusal(UNAVAILABLE, "DRAINING", pushback="-1"), 1),
        (Refusal(EXHAUSTED, "QUOTA_EXCEEDED", retry_after=0.01), 5),
    ],
)
def test_only_what_is_safe_and_can_help_is_repeated(
    scripted: Scripted, client: dunlin.Client, refusal: Refusal, attempts: int
) -> None:
    scripted.script(_methods.CLASSIFY, refusal)
    with pytest.raises(dunlin.DunlinError):
        client.classify(picture())
    requests = scripted.requests(_methods.CLASSIFY)
    assert len(requests) == attempts
    assert len({request.request_id for request in requests}) == 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", dunlin.InvalidRequestError),
        (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE", dunlin.ImageError),
        (grpc.StatusCode.PERMISSION_DENIED, "URI_NOT_ALLOWED", dunlin.UriError),
        (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", dunlin.NotFoundError),
        (grpc.StatusCode.UNAUTHENTICATED, "API_KEY_INVALID", dunlin.AuthError),
        (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", dunlin.AuthError),
        (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", dunlin.ConflictError),
        (EXHAUSTED, "QUOTA_EXCEEDED", dunlin.OverloadedError),
        (UNAVAILABLE, "", dunlin.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", dunlin.DeadlineError),
        (grpc.StatusCode.CANCELLED, "", dunlin.CallCancelledError),
        (grpc.StatusCode.INTERNAL, "MAX_ATTEMPTS", dunlin.ServerError),
        (grpc.StatusCode.UNKNOWN, "", dunlin.ServerError),
        (grpc.StatusCode.NOT_FOUND, "A_REASON_OF_TOMORROW", dunlin.NotFoundError),
    ],
)
def test_each_reason_has_its_class(
    scripted: Scripted, code: grpc.StatusCode, reason: str, kind: type[dunlin.DunlinError]
) -> None:
    scripted.script(_methods.CLASSIFY, Refusal(code, reason))
    once = dunlin.Retry(attempts_max=1)
    with dunlin.Client(scripted.address, retry=once) as client, pytest.raises(dunlin.DunlinError) as caught:
        client.classify(picture())
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert caught.value.code is code


def test_error_carries_all_that_the_service_said(scripted: Scripted, client: dunlin.Client) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="options.top_k", description="over 1000")
    details = [
        error_details_pb2.BadRequest(field_violations=[violation]),
        error_details_pb2.RequestInfo(request_id="01ABC"),
        error_details_pb2.ResourceInfo(resource_type="dunlin.v1.Model", resource_name="m"),
    ]
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "top_k: over 1000", 1.5, details=details)
    scripted.script(_methods.CLASSIFY, refusal)
    with pytest.raises(dunlin.InvalidRequestError) as caught:
        client.classify(picture())
    error = caught.value
    assert error.violations == (dunlin.Violation("options.top_k", "over 1000"),)
    assert error.metadata == {"limit": "7"}
    assert error.request_id == "01ABC"
    assert error.resource is not None
    assert error.resource.name == "m"
    assert error.retry_after == 1.5
    assert isinstance(error, ValueError)
    assert str(error) == "top_k: over 1000 [INVALID_REQUEST] (retry after 1.5 s) (request 01ABC)"


def test_key_and_actor_go_with_every_call_and_the_key_is_not_shown(scripted: Scripted) -> None:
    scripted.script(_methods.CLASSIFY, pb.ClassifyResponse(result=answer()))
    with dunlin.Client(scripted.address, key="secret-key", actor="jane") as client:
        client.classify(picture())
        assert "secret-key" not in repr(client) + repr(vars(client))
    metadata = scripted.asked[0].metadata
    assert metadata["authorization"] == "Bearer secret-key"
    assert metadata["x-actor"] == "jane"
    with pytest.raises(ValueError, match="key"):
        dunlin.Client(scripted.address, key="two\nlines")


def test_deadline_covers_the_repetitions(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.CLASSIFY, Refusal(EXHAUSTED, "QUEUE_FULL", retry_after=0.4))
    since = time.monotonic()
    with pytest.raises(dunlin.OverloadedError):
        client.classify(picture(), timeout=1)
    assert time.monotonic() - since < 1.1
    assert 2 <= len(scripted.requests(_methods.CLASSIFY)) <= 3


def test_broken_stream_is_taken_up_and_no_image_answered_twice(scripted: Scripted, client: dunlin.Client) -> None:
    broken = [event(1, 0), event(2, 2), Refusal(UNAVAILABLE)]
    # The second stream ends well, and too early.
    scripted.script(_methods.CLASSIFY_STREAM, broken, [event(1, 2), event(2, 1)], [event(1, n) for n in range(4)])
    results = list(client.classify_stream([picture(shade) for shade in range(4)]))
    assert [result.index for result in results] == [0, 2, 1, 3]
    requests = scripted.requests(_methods.CLASSIFY_STREAM)
    assert len(requests) == 3
    assert all(request == requests[0] for request in requests)


async def test_break_behind_the_last_result_does_no_harm(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.CLASSIFY_STREAM, [event(1, 0), Refusal(UNAVAILABLE)])
    assert [result.index for result in client.classify_stream([picture()])] == [0]
    async with dunlin.AsyncClient(scripted.address, retry=QUICK) as asynchronous:
        assert [result.index async for result in asynchronous.classify_stream([picture()])] == [0]
    assert len(scripted.requests(_methods.CLASSIFY_STREAM)) == 2


def test_simulation_that_broke_in_the_middle_is_not_begun_again(scripted: Scripted, client: dunlin.Client) -> None:
    decision = autoscaler_service_pb2.SimulateResponse(decision=autoscaler_service_pb2.Decision(want=1))
    scripted.script(_methods.SIMULATE, [Refusal(UNAVAILABLE)], [decision, Refusal(UNAVAILABLE)])
    simulation = client.autoscaler.simulate()
    assert next(simulation).want == 1
    with pytest.raises(dunlin.UnavailableError):
        next(simulation)
    assert len(scripted.requests(_methods.SIMULATE)) == 2


def test_watched_decisions_go_on_behind_the_last(scripted: Scripted, client: dunlin.Client) -> None:
    def decided(sequence: int) -> autoscaler_service_pb2.WatchDecisionsResponse:
        return autoscaler_service_pb2.WatchDecisionsResponse(decision=autoscaler_service_pb2.Decision(sequence=sequence))

    heartbeat = autoscaler_service_pb2.WatchDecisionsResponse()
    scripted.script(_methods.WATCH_DECISIONS, [decided(7), heartbeat, Refusal(UNAVAILABLE)], [decided(7), decided(8)])
    watch = client.autoscaler.watch_decisions(changed_only=True)
    assert [next(watch).sequence, next(watch).sequence] == [7, 8]
    assert [request.after_sequence for request in scripted.requests(_methods.WATCH_DECISIONS)] == [0, 7]
    watch.close()


def test_command_that_is_repeated_has_the_same_id(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.PAUSE, Refusal(UNAVAILABLE), autoscaler_service_pb2.PauseResponse())
    client.autoscaler.pause(reason="deploy")
    first, second = scripted.requests(_methods.PAUSE)
    assert first == second
    assert first.request_id
    assert not first.HasField("until")


def test_stream_that_brings_nothing_is_given_up(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.CLASSIFY_STREAM, [event(1, 0), Refusal(UNAVAILABLE)], [Refusal(UNAVAILABLE)])
    stream = client.classify_stream([picture(0), picture(1)])
    assert next(stream).index == 0
    with pytest.raises(dunlin.UnavailableError):
        next(stream)
    assert len(scripted.requests(_methods.CLASSIFY_STREAM)) == 5


def test_closing_the_iterator_cancels_the_streams(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.CLASSIFY_STREAM, [event(1, 0), Hang()])
    # Two groups: one is being read, the next is open already.
    stream = client.classify_stream([picture(shade) for shade in range(100)])
    next(stream)
    scripted.wait_for(2)
    stream.close()
    assert all(asked.cancelled.wait(5) for asked in scripted.asked)


async def test_async_iterator_that_is_closed_cancels_the_streams(scripted: Scripted) -> None:
    scripted.script(_methods.CLASSIFY_STREAM, [event(1, 0), Hang()])
    async with dunlin.AsyncClient(scripted.address, retry=QUICK) as client:
        stream = client.classify_stream([picture(shade) for shade in range(100)])
        async for _ in stream:
            break
        await asyncio.to_thread(scripted.wait_for, 2)
        await stream.aclose()
        for asked in scripted.asked:
            assert await asyncio.to_thread(asked.cancelled.wait, 5)


async def test_async_client_repeats_and_resumes_too(scripted: Scripted) -> None:
    refused = Refusal(EXHAUSTED, "QUEUE_FULL", retry_after=0.1)
    scripted.script(_methods.CLASSIFY, refused, pb.ClassifyResponse(result=answer()))
    scripted.script(_methods.CLASSIFY_STREAM, [event(1, 1), Refusal(UNAVAILABLE)], [event(1, 1), event(2, 0)])
    async with dunlin.AsyncClient(scripted.address, retry=QUICK) as client:
        assert (await client.classify(picture())).ok
        results = [result async for result in client.classify_stream([picture(0), picture(1)])]
        assert [result.index for result in results] == [1, 0]
    assert len(scripted.requests(_methods.CLASSIFY)) == 2


def test_images_are_cut_into_messages_below_the_limit(scripted: Scripted, client: dunlin.Client) -> None:
    def all_of(request: pb.ClassifyStreamRequest) -> list[pb.ClassifyStreamResponse]:
        return [event(at + 1, at) for at in range(len(request.images))]

    scripted.script(_methods.CLASSIFY_STREAM, all_of)
    large = b"x" * (6 * 1024 * 1024)
    too_large = b"x" * (10 * 1024 * 1024 + 1)
    results = list(client.classify_stream([*[large] * 5, too_large, *[large] * 2]))
    assert sorted(result.index for result in results) == list(range(8))
    failed = [result for result in results if not result.ok]
    assert [result.index for result in failed] == [5]
    assert failed[0].error is not None
    assert failed[0].error.reason == "IMAGE_TOO_LARGE"
    # Two are on their way at once.
    requests = sorted(scripted.requests(_methods.CLASSIFY_STREAM), key=lambda request: int(request.images[0].custom_id))
    assert [len(request.images) for request in requests] == [2, 2, 2, 1]
    assert all(request.ByteSize() < 32 * 1024 * 1024 for request in requests)
    assert [image.custom_id for request in requests for image in request.images] == [*"01234", *"67"]
    assert len({request.request_id for request in requests}) == 4


def test_images_are_read_as_they_are_needed(scripted: Scripted, client: dunlin.Client) -> None:
    def all_of(request: pb.ClassifyStreamRequest) -> list[pb.ClassifyStreamResponse]:
        return [event(at + 1, at) for at in range(len(request.images))]

    scripted.script(_methods.CLASSIFY_STREAM, all_of)
    taken = itertools.count()
    endless = (picture(next(taken)) for _ in itertools.repeat(None))
    stream = client.classify_stream(endless)
    assert [next(stream).index for _ in range(100)] == list(range(100))
    stream.close()
    assert next(taken) <= 4 * 64


def test_connection_that_is_refused_is_unavailable() -> None:
    with dunlin.Client("127.0.0.1:9", retry=QUICK) as client, pytest.raises(dunlin.UnavailableError) as caught:
        client.classify(picture())
    assert isinstance(caught.value, ConnectionError)


def test_watched_job_goes_on_behind_the_last_event(scripted: Scripted, client: dunlin.Client) -> None:
    def watched(sequence: int, index: int) -> job_service_pb2.WatchJobResponse:
        return job_service_pb2.WatchJobResponse(sequence=sequence, result=answer(index))

    ended = job_service_pb2.Job(name="jobs/1", state=job_service_pb2.JOB_STATE_SUCCEEDED)
    heartbeat = job_service_pb2.WatchJobResponse()
    heartbeat.heartbeat.SetInParent()
    scripted.script(
        _methods.WATCH_JOB,
        [watched(1, 0), heartbeat, watched(2, 1), Refusal(UNAVAILABLE)],
        [watched(2, 1), watched(3, 2)],
        [job_service_pb2.WatchJobResponse(sequence=4, job=ended)],
    )
    events = list(client.jobs.watch("1"))
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert events[-1].job is not None
    assert events[-1].job.state == "SUCCEEDED"
    assert [request.after_sequence for request in scripted.requests(_methods.WATCH_JOB)] == [0, 2, 3]


def test_watching_behind_the_end_of_a_job_ends_at_once(scripted: Scripted, client: dunlin.Client) -> None:
    scripted.script(_methods.WATCH_JOB, [])
    assert list(client.jobs.watch("1", after_sequence=9)) == []
    assert len(scripted.requests(_methods.WATCH_JOB)) == 1


def test_delay_never_ends_before_what_was_asked_nor_after_the_deadline() -> None:
    retry = _retry.Retry(attempts_max=10)
    refused = dunlin.OverloadedError("", code=EXHAUSTED, retry_after=2.0)
    delays = [retry.delay(refused, 1, None) for _ in range(200)]
    assert all(delay is not None and 2.0 <= delay <= 2.4 for delay in delays)
    assert retry.delay(refused, 1, 1.9) is None
    assert retry.delay(refused, 10, None) is None
    gone = dunlin.UnavailableError("", code=UNAVAILABLE)
    assert all(0.05 <= (retry.delay(gone, 1, None) or 0) <= 0.1 for _ in range(50))
    assert all(2.5 <= (retry.delay(gone, 9, None) or 0) <= 5 for _ in range(50))
    with pytest.raises(ValueError, match="attempts_max"):
        dunlin.Retry(attempts_max=0)
