"""Packing a bundle directory into one file, and unpacking it again."""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.container import SUFFIX, is_container, open_container, write_container
from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import is_bundle, needed_files, open_bundle
from edgecap.core.atomic import atomic_dir, atomic_file
from edgecap.core.errors import BundleError, InputError


def pack(
    bundle: Path, output: Path | None = None, strip: bool = False, overwrite: bool = False
) -> Path:
    """Write a bundle directory as one `.edgecap` file; returns its path. Equal files, equal bytes.

    Args:
        bundle: a bundle directory; every file is hashed first.
        output: by default the directory's name with `.edgecap`, in the working directory.
        strip: leave out what only checks or describes; the result cannot be verified.

    Raises:
        BundleError for a bundle that does not match its manifest, InputError for an output that
        exists, cannot be written or would be too large.
    """
    if is_container(bundle):
        raise InputError("pack.packed", f"{bundle} is packed already.")
    opened = open_bundle(bundle, verify="full")
    names = needed_files(opened) if strip else list(opened.manifest.files)
    states = opened.states or {}
    hashes = {name: opened.manifest.files[name].sha256 for name in names if name in states}
    output = output or Path(f"{bundle.resolve().name}{SUFFIX}")
    with atomic_file(output, overwrite) as out:
        write_container(out, {name: bundle / name for name in [MANIFEST, *names]}, hashes)
    return output


def unpack(packed: Path, output: Path | None = None, overwrite: bool = False) -> Path:
    """Write a packed bundle as a directory again; returns its path.

    `output`: by default the file's name without its suffix, in the working directory. Raises
    BundleError for a file that is no packed bundle or not its manifest's, InputError for an
    output that exists or cannot be written.
    """
    if packed.is_dir():
        raise InputError("unpack.directory", f"{packed} is a directory, not a packed bundle.")
    if not is_container(packed):
        what = "is not a packed bundle" if packed.exists() else "does not exist"
        raise BundleError(
            "bundle.container", f"{packed} {what}.", "Make one with: edgecap pack BUNDLE"
        )
    opened = open_bundle(packed, verify="full")
    contents = open_container(packed).contents
    output = output or Path(packed.name.removesuffix(SUFFIX))
    with atomic_dir(output, overwrite, is_bundle) as directory:
        for name in [MANIFEST, *opened.manifest.files]:
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents[name])
    return output
