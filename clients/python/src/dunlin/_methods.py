"""The service's methods: path, types on the wire, one answer or many. A test compares them with the .proto files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from dunlin._pb import autoscaler_service_pb2 as fleet
from dunlin._pb import classifier_service_pb2 as classifier
from dunlin._pb import health_pb2 as health
from dunlin._pb import job_service_pb2 as job

Asked = TypeVar("Asked", bound=Message)
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True)
class Unary(Generic[Asked, Answer]):
    """One message in, one out."""

    path: str
    request: type[Asked]
    response: type[Answer]


@dataclass(frozen=True)
class Streaming(Generic[Asked, Answer]):
    """One message in, many out."""

    path: str
    request: type[Asked]
    response: type[Answer]


_CLASSIFIER = "/dunlin.v1.ClassifierService/"
_JOBS = "/dunlin.v1.JobService/"
#: Calls of the autoscaler go to its own address, where one is given.
AUTOSCALER = "/dunlin.v1.AutoscalerService/"

CLASSIFY = Unary(_CLASSIFIER + "Classify", classifier.ClassifyRequest, classifier.ClassifyResponse)
BATCH_CLASSIFY = Unary(_CLASSIFIER + "BatchClassify", classifier.BatchClassifyRequest, classifier.BatchClassifyResponse)
CLASSIFY_STREAM = Streaming(
    _CLASSIFIER + "ClassifyStream", classifier.ClassifyStreamRequest, classifier.ClassifyStreamResponse
)

CREATE_JOB = Unary(_JOBS + "CreateJob", job.CreateJobRequest, job.CreateJobResponse)
GET_JOB = Unary(_JOBS + "GetJob", job.GetJobRequest, job.GetJobResponse)
LIST_JOBS = Unary(_JOBS + "ListJobs", job.ListJobsRequest, job.ListJobsResponse)
CANCEL_JOB = Unary(_JOBS + "CancelJob", job.CancelJobRequest, job.CancelJobResponse)
LIST_JOB_RESULTS = Unary(_JOBS + "ListJobResults", job.ListJobResultsRequest, job.ListJobResultsResponse)
WATCH_JOB = Streaming(_JOBS + "WatchJob", job.WatchJobRequest, job.WatchJobResponse)

GET_STATUS = Unary(AUTOSCALER + "GetStatus", fleet.GetStatusRequest, fleet.GetStatusResponse)
WATCH_STATUS = Streaming(AUTOSCALER + "WatchStatus", fleet.WatchStatusRequest, fleet.WatchStatusResponse)
LIST_DECISIONS = Unary(AUTOSCALER + "ListDecisions", fleet.ListDecisionsRequest, fleet.ListDecisionsResponse)
GET_DECISION = Unary(AUTOSCALER + "GetDecision", fleet.GetDecisionRequest, fleet.GetDecisionResponse)
WATCH_DECISIONS = Streaming(AUTOSCALER + "WatchDecisions", fleet.WatchDecisionsRequest, fleet.WatchDecisionsResponse)
EXPLAIN_DECISION = Unary(AUTOSCALER + "ExplainDecision", fleet.ExplainDecisionRequest, fleet.ExplainDecisionResponse)
SIMULATE = Streaming(AUTOSCALER + "Simulate", fleet.SimulateRequest, fleet.SimulateResponse)
PAUSE = Unary(AUTOSCALER + "Pause", fleet.PauseRequest, fleet.PauseResponse)
RESUME = Unary(AUTOSCALER + "Resume", fleet.ResumeRequest, fleet.ResumeResponse)
SET_POLICY = Unary(AUTOSCALER + "SetPolicy", fleet.SetPolicyRequest, fleet.SetPolicyResponse)
SET_OVERRIDE = Unary(AUTOSCALER + "SetOverride", fleet.SetOverrideRequest, fleet.SetOverrideResponse)
LIST_INSTANCES = Unary(AUTOSCALER + "ListInstances", fleet.ListInstancesRequest, fleet.ListInstancesResponse)
DRAIN_INSTANCE = Unary(AUTOSCALER + "DrainInstance", fleet.DrainInstanceRequest, fleet.DrainInstanceResponse)

CHECK_HEALTH = Unary("/grpc.health.v1.Health/Check", health.HealthCheckRequest, health.HealthCheckResponse)
