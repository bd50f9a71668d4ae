"""Fetching an image by its URL, with a limit to everything."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Any

from edgecap.core.errors import InputError, one_line
from edgecap.runtime.urls import check_url

MAX_BYTES = 256 << 20
TIMEOUT = 20.0  # s without a byte
_PATIENCE = 120.0  # s for all of it
_PIECE = 1 << 20


def fetch(
    url: str, limit: int = MAX_BYTES, timeout: float = TIMEOUT, patience: float = _PATIENCE
) -> bytes:
    """The bytes at an http or https URL; redirects lead to such URLs only.

    Args:
        limit: bytes at most.
        timeout: seconds to wait for a connection, and for each piece.
        patience: seconds for all of it.

    Raises InputError: image.url for other schemes, image.fetch where it fails, image.too_large.
    """
    check_url(url, allowed=True)
    headers = {"User-Agent": "edgecap", "Accept": "image/*"}
    until = time.monotonic() + patience
    data = bytearray()
    try:
        request = urllib.request.Request(url, headers=headers)
        with _opener().open(request, timeout=timeout) as answer:
            while piece := answer.read(_PIECE):
                data += piece
                if len(data) > limit:
                    raise InputError(
                        "image.too_large",
                        f"{url} gives more than the {limit:,} bytes that are read.",
                    )
                if time.monotonic() > until:
                    raise TimeoutError(f"not complete after {patience:g} seconds")
            declared = answer.headers.get("Content-Length", "")
            if declared.isdecimal() and len(data) < int(declared):
                raise OSError(f"it ended after {len(data)} of {declared} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(
            url, f"the server answers {error.code} {' '.join(str(error.reason).split())}."
        ) from None
    except urllib.error.URLError as error:
        reason = error.reason
        message = one_line(reason) if isinstance(reason, Exception) else f"{reason}."
        raise _failed(url, message) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(url, one_line(error)) from None
    return bytes(data)


def _opener() -> Any:
    """urllib's opener without the schemes (file, ftp, data) to which a server could redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _failed(url: str, reason: str) -> InputError:
    return InputError(
        "image.fetch",
        f"{url} cannot be fetched: {reason}",
        "Check the address and the network, or download it first.",
    )
