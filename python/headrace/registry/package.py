"""A model package: named files, and a manifest with the SHA-256 of each."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, RegistryError
from headrace.registry.names import MANIFEST, file_name
from headrace.store.objects import Blob
from headrace.store.parts import canonical_json
from headrace.types import JSON, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.compute.inference import Predictor
    from headrace.store import Store
    from headrace.store.versions import Version
    from headrace.types import TransformSource

FORMAT = 1
_VOLATILE = ("created", "run")


class ModelPackage:
    """A registered package. Opening one checks its manifest and every file; reading a file checks its bytes again."""

    def __init__(self, store: Store, row: Version, transforms: TransformSource) -> None:
        place = f"{row.model}@{row.number}"
        if package_digest(row.manifest) != row.package:
            raise RegistryError(
                "the manifest of this version does not match its digest: the database was tampered with or is damaged",
                place=place,
                hint="Restore the database from a copy, and promote another version meanwhile.",
            )
        if not store.versions.is_whole(row):
            raise RegistryError(
                "a file of this version is missing from the store or damaged",
                place=place,
                hint="`headrace store fsck` names it. Restore it from a copy, or promote another version.",
            )
        self._store = store
        self._row = row
        self._transforms = transforms

    @property
    def version(self) -> ModelVersion:
        """Name, number and digest."""
        return ModelVersion(self._row.model, self._row.number, self._row.package)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the package is: its files, what the register stage said of it, the run that made it."""
        return self._row.manifest

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(sorted(self._row.manifest["files"]))

    def read(self, name: str) -> bytes:
        """The bytes of a file, checked. `manifest.json` is the manifest. Raises `NotFoundError` for another name."""
        if name == MANIFEST:
            return canonical_json(self._row.manifest)
        entry = self._row.manifest["files"].get(name)
        if entry is None:
            raise NotFoundError(
                f"the package has no file {name!r:.120}",
                place=f"{self._row.model}@{self._row.number}",
                hint=f"It has: {', '.join(self.files)}.",
            )
        return self._store.objects.read(entry["sha256"])

    def predictor(self) -> Predictor:
        """What predicts with this package: the feature plan and the model, in the process that asks."""
        from headrace.compute.inference import Predictor

        return Predictor.from_package(self, transforms=self._transforms)

    def __repr__(self) -> str:
        return f"ModelPackage({self._row.model}@{self._row.number})"


def make_manifest(
    model: str,
    files: Mapping[str, bytes],
    *,
    about: Mapping[str, JSON],
    model_digest: str,
    run_id: str | None,
) -> tuple[dict[str, Any], dict[str, Blob]]:
    """The manifest of a package, and what its files are called in the store."""
    blobs = {file_name(name): Blob(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    manifest = {
        "format": FORMAT,
        "name": model,
        "created": time.time(),
        "files": {name: {"sha256": blob.sha256, "size": blob.size} for name, blob in sorted(blobs.items())},
        "about": about,
        "run": run_id,
        "model_digest": model_digest,
    }
    return manifest, blobs


def package_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest without what differs from one registration to the next.

    Raises `RegistryError` if the manifest is not JSON.
    """
    lasting = {key: value for key, value in manifest.items() if key not in _VOLATILE}
    try:
        return hashlib.sha256(canonical_json(lasting)).hexdigest()
    except (TypeError, ValueError) as error:
        raise RegistryError(
            f"what is said about the package is not JSON: {error}",
            place="about",
            hint="Strings, finite numbers, booleans, None, lists and mappings with string keys only.",
        ) from error
