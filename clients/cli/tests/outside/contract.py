"""What the gateway promises, as Python's grpc and requests see it. Messages are made from what reflection says: no
generated code of ours is involved. Prints a line for each promise that was kept."""

import sys
import time

import grpc
import requests
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

PICTURE = b"\xff\xd8\xff\xe0 not really"
HUGE = b"\xff\xd8\xff\xe0" + bytes(40_000_000)


class Service:
    """One gRPC service by reflection: `service.Method(request, ...)`."""

    def __init__(self, channel: grpc.Channel, pool: descriptor_pool.DescriptorPool, name: str) -> None:
        self.channel, self.descriptor = channel, pool.FindServiceByName(name)
        self.name = name

    def method(self, name: str):
        found = self.descriptor.methods_by_name[name]
        answer = message_factory.GetMessageClass(found.output_type)
        make = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        return make(
            f"/{self.name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def request(self, name: str, **fields):
        return message_factory.GetMessageClass(self.descriptor.methods_by_name[name].input_type)(**fields)


def details(error: grpc.RpcError) -> dict:
    """The details of an error by the name of their type."""
    found = {}
    for any_detail in rpc_status.from_call(error).details:
        name = any_detail.TypeName().removeprefix("google.rpc.")
        message = getattr(error_details_pb2, name)()
        any_detail.Unpack(message)
        found[name] = message
    return found


def failure(call) -> grpc.RpcError:
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


def image(name: str, content: bytes = PICTURE) -> dict:
    return {"content": content, "custom_id": name}


def unary(classifier: Service) -> None:
    call = classifier.method("Classify")
    request = classifier.request("Classify", image=image("cat.jpg"))
    answer, about = call.with_call(request, metadata=[("x-request-id", "python-1")], timeout=30)
    assert answer.result.classifications[0].label == "cat", answer
    assert ("x-request-id", "python-1") in about.initial_metadata(), about.initial_metadata()
    print("unary")


def errors(classifier: Service) -> None:
    call = classifier.method("Classify")
    request = classifier.request("Classify", image=image("x"), options={"top_k": 5000})
    error = failure(lambda: call(request, metadata=[("x-request-id", "python-2")], timeout=30))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    found = details(error)
    assert found["ErrorInfo"].reason == "INVALID_REQUEST", found
    assert found["BadRequest"].field_violations[0].field == "options.top_k", found
    assert found["RequestInfo"].request_id == "python-2", found
    print("error details")
    error = failure(lambda: call(classifier.request("Classify", image=image("x", HUGE)), timeout=30))
    found = details(error)
    assert found["ErrorInfo"].reason == "IMAGE_TOO_LARGE", (error, found)
    assert int(found["ErrorInfo"].metadata["limit"]) < len(HUGE), found
    print("message over the limit")


def deadline(classifier: Service) -> None:
    call = classifier.method("Classify")
    error = failure(lambda: call(classifier.request("Classify", image=image("late.jpg", PICTURE + b"late")), timeout=0.05))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    print("deadline")


def stream(classifier: Service) -> None:
    images = [image(f"{i}.jpg", PICTURE + bytes([i])) for i in range(10)] + [image("text", b"a text")]
    events = list(classifier.method("ClassifyStream")(classifier.request("ClassifyStream", images=images), timeout=60))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted" and kinds[-1] == "summary", kinds
    results = [event.result for event in events if event.WhichOneof("event") == "result"]
    assert sorted(result.index for result in results) == list(range(11)), results
    assert events[-1].summary.counts.succeeded == 10 and events[-1].summary.counts.failed == 1, events[-1]
    print("stream")


def cancel(classifier: Service) -> None:
    """500 images take the one worker 50 s: whoever comes after they were withdrawn is answered at once."""
    images = [image(f"{i}.jpg", PICTURE + i.to_bytes(2, "big")) for i in range(500)]
    events = classifier.method("ClassifyStream")(classifier.request("ClassifyStream", images=images), timeout=60)
    assert next(events).WhichOneof("event") == "accepted"
    events.cancel()
    since = time.monotonic()
    request = classifier.request("Classify", image=image("after.jpg", PICTURE + b"after"))
    classifier.method("Classify")(request, timeout=300)
    assert time.monotonic() - since < 10, "its images still wait"
    print("cancelled stream")


def health(channel: grpc.Channel, pool: descriptor_pool.DescriptorPool) -> None:
    service = Service(channel, pool, "grpc.health.v1.Health")
    for name in ["", "dunlin.v1.ClassifierService"]:
        watch = service.method("Watch")(service.request("Watch", service=name), timeout=30)
        assert next(watch).status == 1, name
        watch.cancel()
    error = failure(lambda: service.method("Check")(service.request("Check", service="nobody"), timeout=30))
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    print("health")


def uploads(url: str) -> None:
    """A reset while sending would be a ConnectionError here, and a retry for ever in old clients."""
    answer = requests.post(f"{url}/upload", files={"myfile": ("huge.jpg", HUGE)}, timeout=60)
    assert answer.status_code == 413 and "limit" in answer.text, answer.text
    answer = requests.post(f"{url}/v1/classify", data=HUGE, headers={"x-request-id": "python-3"}, timeout=60)
    body = answer.json()
    assert (answer.status_code, body["reason"], body["request_id"]) == (413, "IMAGE_TOO_LARGE", "python-3"), body
    headers = {"content-type": "application/grpc-web+proto"}
    message = b"\0" + len(HUGE).to_bytes(4, "big") + HUGE
    answer = requests.post(f"{url}/dunlin.v1.ClassifierService/Classify", data=message, headers=headers, timeout=60)
    assert answer.headers["grpc-status"] == "3", answer.headers
    print("bodies over the limit")


def main() -> None:
    address = sys.argv[1]
    url = f"http://{address}"
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        classifier = Service(channel, pool, "dunlin.v1.ClassifierService")
        unary(classifier)
        errors(classifier)
        deadline(classifier)
        stream(classifier)
        cancel(classifier)
        health(channel, pool)
    uploads(url)


main()
