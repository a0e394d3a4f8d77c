"""Jobs as plans for the clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from dunlin import _methods, jobs, results
from dunlin._pb import job_service_pb2, types_pb2
from dunlin._plan import Call, request_id
from dunlin.errors import ImageError, InvalidRequestError
from dunlin.images import AnyImage, Limits, load
from dunlin.jobs import Job, JobEvent

#: A job's images go in one message, and the gateway reads one of 32 MiB; the rest of it is for all that is beside them.
IMAGES_BYTES_MAX = 31 * 1024 * 1024


@dataclass(frozen=True)
class Extras:
    """What a job has beside its images and options."""

    #: s3:// folder for a file of results.
    output_prefix: str = ""
    #: Called when it ended.
    webhook_url: str = ""
    #: The name of the secret, which the operator configured, that signs the call.
    webhook_secret: str = ""
    labels: Mapping[str, str] | None = None
    request_id: str | None = None


def create(source: Iterable[AnyImage] | str, limits: Limits, extras: Extras, asked: Any) -> Call[Job]:
    """The call that submits a job of images, of all under `s3://bucket/prefix/`, or of a manifest `s3://... .jsonl`."""
    request = job_service_pb2.CreateJobRequest(
        options=asked,
        request_id=extras.request_id or request_id(),
        output_prefix=extras.output_prefix,
        labels=dict(extras.labels or {}),
    )
    if extras.webhook_url:
        request.webhook.url = extras.webhook_url
        request.webhook.secret_name = extras.webhook_secret
    if not isinstance(source, str):
        request.images.images.extend(_loaded(source, limits))
    elif not source.startswith("s3://"):
        raise TypeError(f"{source!r} is one string: give a list of images, or an s3:// folder or manifest")
    elif source.endswith(".jsonl"):
        request.manifest_uri = source
    else:
        request.input_prefix = source
    return Call(_methods.CREATE_JOB, request, lambda answer: jobs.job(answer.job))


def _loaded(images: Iterable[AnyImage], limits: Limits) -> list[types_pb2.Image]:
    loaded, total = [], 0
    for index, image in enumerate(images):
        try:
            loaded.append(load(image, limits, custom_id=str(index)))
        except ImageError as error:
            error.args = (f"image {index}: {error.message}",)
            error.message = str(error.args[0])
            raise
        total += loaded[-1].ByteSize()
        if total > IMAGES_BYTES_MAX:
            raise InvalidRequestError(
                f"the first {index + 1} images have more than {IMAGES_BYTES_MAX} bytes, which is the limit of one job:"
                " make several jobs, or put the images under an s3:// folder",
                reason="INVALID_REQUEST",
                code=grpc.StatusCode.INVALID_ARGUMENT,
            )
    return loaded


def get(name: str) -> Call[Job]:
    """The call for one job."""
    request = job_service_pb2.GetJobRequest(name=full_name(name))
    return Call(_methods.GET_JOB, request, lambda answer: jobs.job(answer.job))


def cancel(name: str) -> Call[Job]:
    """The call that stops what has not started; repeated, it changes nothing."""
    request = job_service_pb2.CancelJobRequest(name=full_name(name))
    return Call(_methods.CANCEL_JOB, request, lambda answer: jobs.job(answer.job))


def page(filter_by: str, page_size: int, token: str) -> Call[tuple[list[Job], str]]:
    """The call for one page of jobs and the token of the next."""
    request = job_service_pb2.ListJobsRequest(page_size=page_size, page_token=token, filter=filter_by)
    return Call(_methods.LIST_JOBS, request, lambda answer: ([jobs.job(one) for one in answer.jobs], answer.next_page_token))


def results_page(name: str, page_size: int, token: str) -> Call[tuple[list[results.ImageResult], str]]:
    """The call for one page of results and the token of the next."""
    request = job_service_pb2.ListJobResultsRequest(parent=full_name(name), page_size=page_size, page_token=token)
    return Call(
        _methods.LIST_JOB_RESULTS,
        request,
        lambda answer: ([results.image_result(one) for one in answer.results], answer.next_page_token),
    )


class Watch:
    """A job's events: where the stream breaks, the next one goes on behind the last event that came."""

    method = _methods.WATCH_JOB
    resumable = True

    def __init__(self, name: str, after_sequence: int, progress: bool) -> None:
        self._name = full_name(name)
        self._sequence = after_sequence
        self._progress = progress
        self.complete = False
        self._came = False

    @property
    def ended(self) -> bool:
        """Whether the job ended, or nothing comes behind the sequence that was asked for, because it was the last."""
        return self.complete or (self._sequence > 0 and not self._came)

    def request(self) -> job_service_pb2.WatchJobRequest:
        """What has not come yet."""
        self._came = False
        return job_service_pb2.WatchJobRequest(
            name=self._name, after_sequence=self._sequence, include_progress=self._progress
        )

    def take(self, message: Any) -> Iterator[JobEvent]:
        """The event, unless it came before or is a heartbeat."""
        kind = message.WhichOneof("event")
        if kind in (None, "heartbeat") or message.sequence <= self._sequence:
            return
        self._sequence = message.sequence
        self._came = True
        if kind == "job":
            changed = jobs.job(message.job)
            self.complete = changed.ended
            yield JobEvent(message.sequence, job=changed)
        elif kind == "result":
            yield JobEvent(message.sequence, result=results.image_result(message.result))
        else:
            yield JobEvent(message.sequence, progress=results.progress(message.progress))


def full_name(name: str) -> str:
    """`jobs/x` for `x` and for `jobs/x`."""
    if not name or name == "jobs/":
        raise ValueError("a job's name is jobs/...")
    return name if name.startswith("jobs/") else f"jobs/{name}"


def name_of(job: Job | str) -> str:
    """A job's name, of itself or of its name."""
    return job.name if isinstance(job, Job) else job
