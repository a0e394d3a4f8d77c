"""Jobs: images submitted now and classified later."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from dunlin import _times, errors, results
from dunlin._pb import job_service_pb2


class JobState(results.Named):
    """Where a job is."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    #: Every image succeeded.
    SUCCEEDED = "SUCCEEDED"
    #: It ended, and some images failed.
    PARTIALLY_FAILED = "PARTIALLY_FAILED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @classmethod
    def of(cls, number: int) -> JobState:
        """The state of a number on the wire; a number of a newer service is UNSPECIFIED."""
        states = list(cls)
        return states[number] if 0 <= number < len(states) else cls.UNSPECIFIED

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (JobState.UNSPECIFIED, JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """A job as it was when the service was asked."""

    #: `jobs/...`
    name: str
    state: JobState
    counts: results.Counts
    create_time: datetime.datetime | None = None
    start_time: datetime.datetime | None = None
    end_time: datetime.datetime | None = None
    #: Results are kept until then.
    expire_time: datetime.datetime | None = None
    error: errors.DunlinError | None = field(default=None, compare=False)
    output_uri: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state.ended

    def __str__(self) -> str:
        done = self.counts
        ended = done.succeeded + done.failed + done.cancelled + done.expired
        return f"{self.name} {self.state}: {ended} of {done.total}, {done.failed} failed"


@dataclass(frozen=True)
class JobEvent:
    """What a watched job does: one of `job`, `result` and `progress` is set."""

    #: Give it as `after_sequence` to go on behind this event another day.
    sequence: int
    #: Its state changed.
    job: Job | None = None
    #: An image is done.
    result: results.ImageResult | None = None
    #: An image is on its way; with `progress=True` only.
    progress: results.Progress | None = None


def job(message: job_service_pb2.Job) -> Job:
    """From the wire."""
    return Job(
        name=message.name,
        state=JobState.of(message.state),
        counts=results.counts(message.counts),
        create_time=_times.time_or_none(message, "create_time"),
        start_time=_times.time_or_none(message, "start_time"),
        end_time=_times.time_or_none(message, "end_time"),
        expire_time=_times.time_or_none(message, "expire_time"),
        error=errors.from_status(message.error) if message.HasField("error") else None,
        output_uri=message.output_uri,
        labels=dict(message.labels),
    )
