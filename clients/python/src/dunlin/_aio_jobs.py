"""`client.jobs` for asyncio; `_jobs.py` is its twin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import TYPE_CHECKING

from dunlin import _classify, _job_calls, images, results
from dunlin._aio_connection import AsyncConnection
from dunlin.jobs import Job, JobEvent

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncJobs:
    """Images to be classified later: submit, leave, come back for the results.

    >>> job = await client.jobs.create(["a.jpg", "b.jpg"])
    >>> (await client.jobs.wait(job)).state
    JobState.SUCCEEDED
    >>> [result.label async for result in client.jobs.results(job)]
    ['daisy', 'palace']
    """

    def __init__(self, connection: AsyncConnection, limits: images.Limits) -> None:
        self._connection = connection
        self._limits = limits

    async def create(
        self,
        source: Iterable[images.AnyImage] | str,
        *,
        output_prefix: str = "",
        webhook_url: str = "",
        webhook_secret: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> Job:
        """Queues images and returns at once. They survive a restart of the service.

        source: images, at most 31 MiB together; or all under `s3://bucket/folder/`; or `s3://bucket/manifest.jsonl`, one
        `{"custom_id": ..., "uri": ...}` a line.
        webhook_secret: the name of a secret that the operator configured, never the secret itself.
        request_id: the same call under the same id makes no second job.
        """
        extras = _job_calls.Extras(output_prefix, webhook_url, webhook_secret, labels, request_id)
        call = _job_calls.create(source, self._limits, extras, _classify.options(**options))
        return await self._connection.call(call, timeout)

    async def get(self, job: Job | str, *, timeout: float | None = None) -> Job:
        """The job as it is now."""
        return await self._connection.call(_job_calls.get(_job_calls.name_of(job)), timeout)

    async def list(
        self,
        *,
        filter: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Jobs, newest first, page by page. `timeout`: of each page.

        >>> [job.name async for job in client.jobs.list(filter="state=RUNNING AND labels.team=x")]
        ['jobs/01JD...']
        """
        token = ""
        while True:
            found, token = await self._connection.call(_job_calls.page(filter, page_size, token), timeout)
            for one in found:
                yield one
            if not token:
                return

    async def results(
        self, job: Job | str, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[results.ImageResult, None]:
        """Results so far, in the order in which they were ready, page by page. `timeout`: of each page."""
        name, token = _job_calls.name_of(job), ""
        while True:
            found, token = await self._connection.call(_job_calls.results_page(name, page_size, token), timeout)
            for one in found:
                yield one
            if not token:
                return

    def watch(
        self,
        job: Job | str,
        *,
        after_sequence: int = 0,
        progress: bool = False,
        timeout: float = float("inf"),
    ) -> AsyncGenerator[JobEvent, None]:
        """What happened to the job and what happens, until it ends. A stream that breaks is taken up again behind the last
        event; closing the iterator ends the watch and not the job.

        >>> async for event in client.jobs.watch(job):
        ...     if event.result:
        ...         print(event.result)
        """
        plan = _job_calls.Watch(_job_calls.name_of(job), after_sequence, progress)
        return self._connection.follow(plan, timeout)

    async def wait(self, job: Job | str, *, timeout: float = float("inf")) -> Job:
        """Waits until the job ended, and returns it. `DeadlineError` after `timeout`."""
        last: Job | None = None
        async for event in self.watch(job, timeout=timeout):
            last = event.job or last
        return last if last is not None else await self.get(job)

    async def cancel(self, job: Job | str, *, timeout: float | None = None) -> Job:
        """Stops what has not started; images already running finish. A job that ended is returned as it is."""
        return await self._connection.call(_job_calls.cancel(_job_calls.name_of(job)), timeout)
