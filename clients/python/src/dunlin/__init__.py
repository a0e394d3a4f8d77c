"""Client of Dunlin, which classifies images on a fleet that comes and goes with the load.

>>> import dunlin
>>> with dunlin.Client("127.0.0.1:8000") as client:
...     print(client.classify("cat.jpg").label)
tiger cat

`Client` blocks, `AsyncClient` has the same methods for asyncio. What can go wrong is in `dunlin.errors`.
"""

from dunlin._channel import Tls
from dunlin._classify import Options
from dunlin._retry import Retry
from dunlin.aio import AsyncClient
from dunlin.autoscaler import (
    Action,
    Bound,
    CounterFactual,
    Decision,
    Explanation,
    Instance,
    Observation,
    Override,
    Pause,
    Status,
    Term,
)
from dunlin.client import Client
from dunlin.errors import (
    AuthError,
    CallCancelledError,
    ConflictError,
    DeadlineError,
    DunlinError,
    ImageError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ServerError,
    UnavailableError,
    UriError,
    Violation,
)
from dunlin.images import AnyImage, Image, Limits, Source
from dunlin.jobs import Job, JobEvent, JobState
from dunlin.policy import Load, Policy, SimulationReport
from dunlin.results import (
    BatchResult,
    Classification,
    Counts,
    Execution,
    ImageResult,
    ImageState,
    Priority,
    Progress,
    StreamEvent,
)

__all__ = [
    "Action",
    "AnyImage",
    "AsyncClient",
    "AuthError",
    "BatchResult",
    "Bound",
    "CallCancelledError",
    "Classification",
    "Client",
    "ConflictError",
    "CounterFactual",
    "Counts",
    "DeadlineError",
    "Decision",
    "DunlinError",
    "Execution",
    "Explanation",
    "Image",
    "ImageError",
    "ImageResult",
    "ImageState",
    "Instance",
    "InvalidRequestError",
    "Job",
    "JobEvent",
    "JobState",
    "Limits",
    "Load",
    "NotFoundError",
    "Observation",
    "Options",
    "OverloadedError",
    "Override",
    "Pause",
    "Policy",
    "Priority",
    "Progress",
    "Retry",
    "ServerError",
    "SimulationReport",
    "Source",
    "Status",
    "StreamEvent",
    "Term",
    "Tls",
    "UnavailableError",
    "UriError",
    "Violation",
]

__version__ = "0.1.0"
