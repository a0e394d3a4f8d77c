"""Where a client connects and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

#: Of `dunlin up` and of a gateway.
ADDRESS = "127.0.0.1:8000"
#: The gateway's own default for callers without a deadline (--request-timeout).
TIMEOUT = 300.0
# A page of decisions with all they saw is the largest answer; the gateway itself writes pages below 4 MiB.
_ANSWER_BYTES_MAX = 64 * 1024 * 1024

#: For both kinds of channels.
CHANNEL_OPTIONS: list[tuple[str, int]] = [
    # We cut messages ourselves, and know the gateway's limit better.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", _ANSWER_BYTES_MAX),
    # A restarted gateway is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A gateway that vanished without a word is noticed within a minute and a bit.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Each client has connections of its own, so closing it closes them.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Tls:
    """Files in PEM. Without `ca_file` the system's certificates count; `cert_file` and `key_file` prove who the client is.

    >>> dunlin.Client("gateway.example:443", tls=dunlin.Tls(ca_file="ca.pem"))
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    #: The name in the server's certificate, where it is not the address's host.
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")


@dataclass(frozen=True)
class Target:
    """An address that was read."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: list[tuple[str, int | str]]


def target(address: str, tls: Tls | bool | None) -> Target:
    """Reads `host:port`, `http://host:port` or `https://host:port`; the last is TLS also when `tls` is not given."""
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "http", "https"):
        raise ValueError(f"{address!r}: write host:port, http://host:port or https://host:port")
    host = rest.rstrip("/")
    if not host or "/" in host:
        raise ValueError(f"{address!r}: write host:port, without a path")
    if scheme == "http" and tls:
        raise ValueError(f"{address!r} is without TLS, and tls is given: write https://")
    secure = tls if tls is not None else scheme == "https"
    channel_options: list[tuple[str, int | str]] = [*CHANNEL_OPTIONS]
    if not secure:
        return Target(host, None, channel_options)
    files = secure if isinstance(secure, Tls) else Tls()
    if files.server_name is not None:
        channel_options.append(("grpc.ssl_target_name_override", files.server_name))
    credentials = grpc.ssl_channel_credentials(_read(files.ca_file), _read(files.key_file), _read(files.cert_file))
    return Target(host, credentials, channel_options)


def metadata(key: str | None, actor: str | None) -> list[tuple[str, str]]:
    """What goes with every call."""
    pairs = []
    if key is not None:
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("the key is not one: it is empty or holds what no key holds")
        pairs.append(("authorization", f"Bearer {key}"))
    if actor is not None:
        pairs.append(("x-actor", actor))
    return pairs


def _read(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
