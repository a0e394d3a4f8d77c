"""One ClassifierService/Classify over gRPC-web and HTTP/1.1, framed by hand: no generated code of ours is involved."""

import struct
import sys

import requests


def field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, size = b"", len(value)
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            break
    return bytes([number << 3 | 2]) + length + value


def main() -> None:
    url, picture = sys.argv[1:]
    with open(picture, "rb") as file:
        message = field(1, field(1, file.read()))
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    body = b"\0" + struct.pack(">I", len(message)) + message
    answer = requests.post(f"{url}/dunlin.v1.ClassifierService/Classify", data=body, headers=headers)
    print(answer.status_code, answer.headers.get("content-type"))
    print(answer.content.decode("utf-8", "replace"))


main()
