"""What refused input is refused with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgecap.bundle.io import open_bundle
from edgecap.core.errors import BundleError, InputError


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that the call ends in."""
    with pytest.raises((InputError, BundleError)) as caught:
        call()
    return caught.value.code


def bundle_refusal(bundle: Path) -> BundleError:
    """The error, of one line, that opening a bundle ends in."""
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)
    return caught.value
