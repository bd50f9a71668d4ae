"""What refused input is refused with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgecap.core.errors import BundleError, InputError


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that the call ends in."""
    with pytest.raises((InputError, BundleError)) as caught:
        call()
    return caught.value.code
