"""Whether the disks have room for what a command is about to write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from edgecap.core.errors import InputError


def check_room(needs: Iterable[tuple[Path, int]]) -> None:
    """InputError where a disk has plainly too little room.

    `needs`: a place, which need not exist, and the bytes that are to be written there. Places on
    one disk are added up. The bytes are estimates: what is short by little is noticed when it is
    written, and then nothing is saved either.
    """
    disks: dict[int, int] = {}
    for place, needed in needs:
        existing = existing_directory(place)
        disk = os.stat(existing).st_dev
        disks[disk] = disks.get(disk, 0) + needed
        free = shutil.disk_usage(existing).free
        if free < disks[disk]:
            raise InputError(
                "output.full",
                f"{existing} has {free / 1e6:,.0f} MB left, and the bundles need about "
                f"{disks[disk] / 1e6:,.0f} MB.",
                "Free some space or choose another output directory.",
            )


def existing_directory(place: Path) -> Path:
    """The nearest directory that is there."""
    place = place.resolve()
    return next(one for one in (place, *place.parents) if one.is_dir())
