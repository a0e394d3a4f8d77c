"""A gRPC server that answers each call with the next line of a script, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from dunlin import _methods
from dunlin._pb import error_details_pb2, status_pb2

METHODS: dict[str, Any] = {
    method.path: method for method in vars(_methods).values() if isinstance(method, (_methods.Unary, _methods.Streaming))
}


@dataclass
class Refusal:
    """An answer that is an error."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "refused"
    #: RetryInfo, in seconds.
    retry_after: float | None = None
    #: grpc-retry-pushback-ms, as it is sent.
    pushback: str | None = None
    details: Sequence[Any] = ()

    def abort(self, context: grpc.ServicerContext) -> None:
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        if self.reason:
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain="dunlin.dev", metadata={"limit": "7"})
            status.details.add().Pack(info)
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.seconds = int(self.retry_after)
            retry.retry_delay.nanos = round(self.retry_after % 1 * 1e9)
            status.details.add().Pack(retry)
        for detail in self.details:
            status.details.add().Pack(detail)
        trailing = [("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", "in-the-trailers")]
        if self.pushback is not None:
            trailing.append(("grpc-retry-pushback-ms", self.pushback))
        context.set_trailing_metadata(tuple(trailing))
        context.abort(self.code, self.message)


@dataclass
class Hang:
    """A stream that says nothing more until the client cancels it."""


@dataclass
class Asked:
    """One call that arrived."""

    path: str
    request: Any
    metadata: dict[str, str | bytes]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Scripted:
    """`script(method, answers...)`: an answer is a message, a `Refusal`, for a stream a list of them, or a function of the
    request that gives one. The last is repeated.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, list[Any]] = defaultdict(list)
        self._lock = threading.Lock()
        #: Whether it asks callers for a certificate.
        self.is_mutual = False
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=32), options=[("grpc.max_receive_message_length", 32 * 1024 * 1024)]
        )
        self._server.add_generic_rpc_handlers((_Handler(self),))
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def script(self, method: Any, *answers: Any) -> None:
        self._answers[method.path] = list(answers)

    def requests(self, method: Any) -> list[Any]:
        return [asked.request for asked in self.asked if asked.path == method.path]

    def wait_for(self, calls: int) -> None:
        """Until so many calls arrived."""
        until = time.monotonic() + 5
        while len(self.asked) < calls:
            assert time.monotonic() < until, f"{len(self.asked)} calls came"
            time.sleep(0.01)

    def next(self, path: str, request: Any, context: grpc.ServicerContext) -> tuple[Any, Asked]:
        asked = Asked(path, request, dict(context.invocation_metadata()))
        context.add_callback(asked.cancelled.set)
        with self._lock:
            self.asked.append(asked)
            answers = self._answers[path]
            if not answers:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "nothing in the script")
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return (answer(request) if isinstance(answer, Callable) else answer), asked  # type: ignore[arg-type]

    def stop(self) -> None:
        self._server.stop(0).wait()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = METHODS.get(call.method)
        if method is None:
            return None

        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            answer, _ = self._scripted.next(call.method, request, context)
            if isinstance(answer, Refusal):
                answer.abort(context)
            return answer

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            answers, asked = self._scripted.next(call.method, request, context)
            for answer in answers if isinstance(answers, list) else [answers]:
                if isinstance(answer, Refusal):
                    answer.abort(context)
                elif isinstance(answer, Hang):
                    asked.cancelled.wait(20)
                    return
                else:
                    yield answer

        kind = (
            grpc.unary_unary_rpc_method_handler
            if isinstance(method, _methods.Unary)
            else grpc.unary_stream_rpc_method_handler
        )
        behaviour = unary if isinstance(method, _methods.Unary) else stream
        return kind(
            behaviour,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )
