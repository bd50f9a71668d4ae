"""Manifests of either schema: bundles that are read may have the older one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from edgecap.bundle import manifest as schema2
from edgecap.bundle.files import MANIFEST
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

if TYPE_CHECKING:
    from edgecap.bundle import schema1

AnyManifest: TypeAlias = "schema1.Manifest | schema2.Manifest"


def manifest_from_json(value: Any) -> AnyManifest:
    """A checked manifest of schema 1 or 2 from plain JSON values; raises BundleError."""
    found = value.get("schema") if isinstance(value, dict) else None
    if found == schema2.SCHEMA:
        return schema2.manifest_from_json(value)
    from edgecap.bundle import schema1  # seldom needed, and a start is short

    if found != schema1.SCHEMA:
        raise BundleError(
            "bundle.schema",
            f"{MANIFEST} has schema {found!r}; this edgecap reads schemas {schema1.SCHEMA} and "
            f"{schema2.SCHEMA}.",
            "Export the bundle again, or use the edgecap that wrote it.",
        )
    manifest = decode(schema1.Manifest, value, "manifest")
    schema1.check_manifest(manifest)
    return manifest
