"""Names that are URLs: which are fetched, if that was asked for, and what to do with the others."""

from __future__ import annotations

import re

from edgecap.core.errors import InputError

_SHOWN = 100  # characters of a URL in a message


def is_url(name: str) -> bool:
    """Whether a name begins with a scheme (a drive's letter is none)."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", name) is not None


def check_url(url: str, allowed: bool) -> None:
    """Raise InputError (image.url) for a URL that is not http or https, and unless `allowed`."""
    scheme = url.partition(":")[0].lower()
    if scheme in ("http", "https"):
        if allowed:
            return
        message = f"{url} is a URL, and nothing is fetched unless asked."
        hint = "Say --urls (in Python: urls=True of runtime.sources.Sources), or download it first."
        raise InputError("image.url", message, hint)
    hints = {
        "file": f"Give the path: {url.partition('://')[2]}",
        "data": "Decode it, and pipe it in: base64 -d | edgecap caption -",
    }
    shown = url if len(url) <= _SHOWN else f"{url[:_SHOWN]}…"
    message = f"{shown} is not an http or https URL, and no other is fetched."
    raise InputError("image.url", message, hints.get(scheme, "Download it first."))
