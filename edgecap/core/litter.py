"""What systems, file managers and network storage leave in folders: nothing a user put there.

embed/c/bundle_files.c knows the same names.
"""

from __future__ import annotations

# Thumbnails and settings; bins; snapshots, in which everything stands again.
LITTER = frozenset(
    ("Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "__MACOSX", "@eaDir")
    + ("System Volume Information", "lost+found", "Temporary Items")
    + ("#recycle", "@Recycle", "$RECYCLE.BIN", "Network Trash Folder")
    + ("#snapshot", "~snapshot", "@Recently-Snapshot")
)
_STREAM = ":Zone.Identifier"  # what WSL makes of Windows' note that a file came from the internet


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is passed over; hidden ones are, too."""
    return name.startswith(".") or name in LITTER or name.endswith(_STREAM)
