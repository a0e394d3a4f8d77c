"""Reads an image over HTTP, within limits."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

# Browsers stop at 20; no picture needs more than a few.
_REDIRECTS_MAX = 5
_CHUNK = 64 * 1024


class FetchError(Exception):
    """The address gave no image; the message says why."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS_MAX

    def redirect_request(self, *arguments: Any) -> Any:
        address = arguments[-1]
        if not address.startswith(("http://", "https://")):
            raise FetchError(f"redirected to {address.split(':', 1)[0]}:, which is not read")
        return super().redirect_request(*arguments)


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: it also reads file: and ftp:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def fetch(url: str, bytes_max: int, seconds_max: float) -> bytes:
    """The body behind an http or https address, at most `bytes_max` bytes and within `seconds_max`."""
    until = time.monotonic() + seconds_max
    request = urllib.request.Request(url, headers={"user-agent": "dunlin-client", "accept": "image/*"})  # noqa: S310
    try:
        with _opener().open(request, timeout=seconds_max) as response:
            body = bytearray()
            while True:
                chunk = response.read1(_CHUNK)
                if not chunk:
                    break
                body += chunk
                if len(body) > bytes_max:
                    raise FetchError(f"more than {bytes_max} bytes")
                if time.monotonic() > until:
                    raise FetchError(f"not complete after {seconds_max:g} s")
            announced = response.headers.get("content-length")
            if announced and announced.isdigit() and int(announced) != len(body):
                raise FetchError(f"broke off after {len(body)} of {announced} bytes")
            return bytes(body)
    except urllib.error.HTTPError as error:
        raise FetchError(f"HTTP status {error.code}") from error
    except (OSError, ValueError) as error:
        raise FetchError(str(getattr(error, "reason", error))) from error
    except Exception as error:  # http.client.HTTPException and others of its kind
        if isinstance(error, FetchError):
            raise
        raise FetchError(f"{type(error).__name__}: {error}") from error
