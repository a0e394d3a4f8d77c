"""Whether and when a call is made again.

A call is made again only when that is safe and can help: nobody answered (UNAVAILABLE), or the service said when to come
back (RESOURCE_EXHAUSTED with RetryInfo or a pushback). All calls can be repeated: those that only read, and the others
because they carry a request id, under which the service does its work once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc

from dunlin.errors import DunlinError


@dataclass(frozen=True)
class Retry:
    """How often, and how patiently, a call is made again. Times are in seconds.

    >>> patient = dunlin.Client("127.0.0.1:8000", retry=dunlin.Retry(attempts_max=10))
    >>> never = dunlin.Client("127.0.0.1:8000", retry=dunlin.Retry(attempts_max=1))
    """

    #: The first attempt is one of them. gRPC's own retry policy allows at most five (gRPC A6).
    attempts_max: int = 5
    #: Before the second attempt, when the service names no time; doubled for each further one.
    delay_first: float = 0.1
    #: The doubling ends here.
    delay_max: float = 5.0
    #: Added to the time the service names, as a share of it, so that those it sent away do not come back all at once.
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts_max < 1 or self.delay_first < 0 or self.delay_max < 0 or not 0 <= self.jitter <= 1:
            raise ValueError("attempts_max is at least 1, delays are not negative, jitter is 0 to 1")

    def delay(self, error: DunlinError, attempt: int, left: float | None) -> float | None:
        """Seconds to wait after `attempt` (1, 2 ...) ended with `error`; None: give it up.

        `left`: seconds until the caller's deadline. A wait that would end after it is not begun.
        """
        if attempt >= self.attempts_max:
            return None
        if error.code is grpc.StatusCode.UNAVAILABLE:
            pass
        elif error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_after is None:
            return None
        if error.retry_after is not None:
            # Never sooner than asked.
            delay = error.retry_after * (1 + self.jitter * random.random())  # noqa: S311
        else:
            delay = min(self.delay_max, self.delay_first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1)  # noqa: S311
        if delay == float("inf") or (left is not None and delay >= left):
            return None
        return delay
