"""Models and bundles of a Hugging Face hub, by their id: `org/name` or `org/name@revision`.

Only the local cache is looked at unless a download is requested. The token comes from the
environment (HF_TOKEN), and no code of a repository is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecap.core.errors import InputError, MissingPackageError, one_line
from edgecap.core.lazy import require

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
BUNDLE, CHECKPOINT = "manifest.json", "config.json"
# Files of an older bundle, which a new one would be refused with. Documents stay.
_STALE = ("*.json", "*.onnx", "*.tflite", "*.bin", "*.mlpackage/*", "golden/*")


def is_id(name: str) -> bool:
    """Whether a name has the form `org/name`."""
    return _ID.fullmatch(name) is not None and ".." not in name


def resolve(source: str | os.PathLike[str]) -> Path:
    """The directory of a bundle or checkpoint: as given, or the cached snapshot of a hub id.

    Raises InputError (hub.missing) for a hub id that is not in the local cache. What has not the
    form of an id is returned as it is.
    """
    given = Path(source)
    name, _, revision = str(source).partition("@")
    if given.exists() or given.parent.is_dir() or not is_id(name):
        return given
    return snapshot(name, revision or None)


def snapshot(
    name: str, revision: str | None = None, fetch: bool = False, files: Sequence[str] | None = None
) -> Path:
    """The directory of a repository's files, which are links into the cache.

    Args:
        name: `org/name`.
        revision: branch, tag or commit; None: main.
        fetch: download what is missing; otherwise it must lie in the local cache.
        files: patterns of the files to download; None: all.

    Raises:
        InputError: not in the cache, or the download failed.
        MissingPackageError: huggingface_hub is not installed.
    """
    at = name if revision is None else f"{name}@{revision}"
    try:
        library = require("huggingface_hub", "hub")
    except MissingPackageError as error:
        raise MissingPackageError(
            error.code, f"{at} is not a directory; {error.message}", error.hint
        ) from None
    patterns = None if files is None else list(files)
    try:
        return Path(
            library.snapshot_download(
                name, revision=revision, local_files_only=not fetch, allow_patterns=patterns
            )
        )
    except Exception as error:  # the hub's errors share no class with those of its transports
        if fetch:
            raise InputError(
                "hub.failed",
                f"{at} could not be downloaded: {one_line(error)}",
                "Check the name and the network; private ones need HF_TOKEN.",
            ) from None
        raise InputError(
            "hub.missing",
            f"{at} is not a directory here, and the local cache of the hub has no such model.",
            f"Give a directory, or download it: edgecap pull {at}",
        ) from None


def pull(name: str, revision: str | None, checkpoint_files: Sequence[str]) -> Path:
    """Download a bundle whole, or of a checkpoint `checkpoint_files`; returns its directory.

    Raises InputError: the download failed, or it is neither.
    """
    found = snapshot(name, revision, True, (BUNDLE, CHECKPOINT))
    if (found / BUNDLE).is_file():
        return snapshot(name, revision, True)
    if (found / CHECKPOINT).is_file():
        return snapshot(name, revision, True, checkpoint_files)
    raise InputError(
        "hub.foreign", f"{name} holds neither a bundle ({BUNDLE}) nor a checkpoint ({CHECKPOINT})."
    )


def push(
    directory: Path,
    name: str,
    files: Sequence[str],
    revision: str | None = None,
    private: bool = False,
    message: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Upload files of a directory as one commit, and create the repository if there is none.

    Args:
        directory: of a bundle.
        name: `org/name`.
        files: their names, relative to `directory`.
        revision: a branch, which is created if need be; None: main.
        private: whether a repository that is created is private.
        message: of the commit.
        say: receives a line before the upload begins.

    Returns:
        The address of the commit.

    Raises:
        InputError: the hub refused, or it cannot be reached.
        MissingPackageError: huggingface_hub is not installed.
    """
    import glob

    library = require("huggingface_hub", "hub")
    if not is_id(name):
        raise InputError("hub.name", f"{name!r} is not a hub id.", "Write it as: org/name")
    if library.get_token() is None:
        raise InputError(
            "hub.token", "uploading needs a token, and there is none.", "Set HF_TOKEN."
        )
    size = sum((directory / file).stat().st_size for file in files)
    say(f"uploading {len(files)} files, {size / 1e6:.1f} MB, to {name}")
    api = library.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=name,
            folder_path=directory,
            allow_patterns=[glob.escape(file) for file in files],
            delete_patterns=list(_STALE),
            revision=revision,
            commit_message=message or f"Upload {directory.name} with edgecap",
        )
    except Exception as error:
        raise InputError(
            "hub.failed",
            f"{name} could not be uploaded: {one_line(error)}",
            "Check the name, the token's rights and the network.",
        ) from None
    return str(done.commit_url)
