"""The prepared cohort on disk: memory-mapped patches, a manifest, a quarantine table and the key of its pseudonyms."""

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.cohort.quarantine import Quarantined, Row, Unusable, quarantined
from fedmammo.errors import InputError
from fedmammo.folders import new_folder

_TYPES = {
    "patient": "str",
    "image": "str",
    "lesion": "str",
    "abnormality": "Int64",
    "pathology": "str",
    "malignant": "bool",
    "side": "str",
    "view": "str",
    "density": "Int64",
    "assessment": "Int64",
    "subtlety": "Int64",
    "shape": "string",
    "margins": "string",
    "split": "str",
    "source": "str",
}
MANIFEST_COLUMNS = tuple(_TYPES)
"""Row i of the manifest describes patch i. `abnormality` to `subtlety`, `shape` and `margins` may be empty."""
SPLITS = ("train", "val", "test")
_PATCHES, _MANIFEST, _QUARANTINE, _FACTS, _KEY = (
    "patches.npy",
    "manifest.parquet",
    "quarantine.csv",
    "cohort.json",
    "key",
)


@dataclass(frozen=True, eq=False)
class Cohort:
    """A prepared cohort. Identities and images stay in its folder; whatever leaves it carries pseudonyms.

    Attributes:
        folder: where it lies.
        manifest: one row per image (`MANIFEST_COLUMNS`), index 0..n-1.
        patches: (images, size, size), uint16, 0-65535, memory-mapped read-only; row i belongs to manifest row i.
        key: 32 random bytes that make pseudonyms and digests; never leaves the folder.
    """

    folder: Path
    manifest: pd.DataFrame
    patches: np.memmap
    key: bytes

    @classmethod
    def open(cls, folder: Path) -> "Cohort":
        """Open the prepared cohort at `folder`.

        Raises:
            InputError: it is not a prepared cohort, or its parts disagree.
        """
        try:
            facts = json.loads((folder / _FACTS).read_text())
            manifest = pd.read_parquet(folder / _MANIFEST)[list(MANIFEST_COLUMNS)].astype(_TYPES)
            patches = np.load(folder / _PATCHES, mmap_mode="r", allow_pickle=False)
            key = bytes.fromhex((folder / _KEY).read_text())
            _read_quarantine(folder)
            expected = (int(facts["images"]), int(facts["size"]), int(facts["size"]))
            complete = len(bytes.fromhex(facts["digest"])) == len(key) == 32
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{folder}: not a prepared cohort ({reason}); make one with `fedmammo data prepare`"
            ) from error
        agree = (
            patches.shape == expected
            and patches.dtype == np.uint16
            and len(manifest) == expected[0]
            and manifest["image"].is_unique
            and complete
        )
        if not agree or _crossing(manifest).any():
            raise InputError(
                f"{folder}: the parts of this cohort disagree; prepare it anew with `fedmammo data prepare`"
            )
        return cls(folder, manifest, patches, key)

    def pseudonym(self, kind: str, identity: str) -> str:
        """16 hexadecimal characters that stand for a `kind` ('patient', 'image') of this name outside the cohort.

        HMAC-SHA256 under the cohort's key: without the key nobody can try names, and each preparation gives others.
        """
        return hmac.new(self.key, f"{kind}\0{identity}".encode(), "sha256").hexdigest()[:16]

    @cached_property
    def patients(self) -> pd.DataFrame:
        """One row per patient, sorted by `patient`: malignant (any lesion is), density, images (count), split."""
        return self.manifest.groupby("patient", sort=True).agg(
            malignant=("malignant", "any"),
            density=("density", "first"),
            images=("image", "size"),
            split=("split", "first"),
        )

    @cached_property
    def digest(self) -> str:
        """HMAC-SHA256 of patches and manifest under the cohort's key, in hex: an unkeyed one would be a release.

        Raises:
            InputError: patches or manifest are not those that were prepared.
        """
        digest = _digest(self.folder, self.key)
        if digest != self.facts["digest"]:
            raise InputError(f"{self.folder}: patches or manifest were altered; prepare the cohort anew")
        return digest

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `cohort.json` says: source (its kind), size, images, patients, quarantined, notes, digest."""
        facts: dict[str, Any] = json.loads((self.folder / _FACTS).read_text())
        return facts

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """What could not be prepared: source, row (empty for a file), reason."""
        return _read_quarantine(self.folder)


def write_cohort(
    out: Path,
    plan: pd.DataFrame,
    quarantine: list[Quarantined],
    read: Callable[[Row], NDArray[np.uint16]],
    size: int,
    facts: Callable[[], dict[str, Any]],
) -> None:
    """Write a cohort to `out`, one patch in memory at a time; it appears there whole or not at all.

    Args:
        out: an empty or missing folder.
        plan: one row per image to read: `MANIFEST_COLUMNS`, `listed_in` and `listed_row` (for the quarantine), and
            whatever `read` needs.
        quarantine: what was found unusable before.
        read: gives the (size, size) patch of a row of the plan, or raises Unusable, which quarantines the row.
        size: side of a patch in pixels.
        facts: called at the end; what `cohort.json` says beside the counts.

    Raises:
        InputError: not one image could be prepared, or `out` is occupied or cannot be written.
    """
    with new_folder(out) as folder:
        quarantine, kept = list(quarantine), []
        with (folder / _PATCHES).open("wb") as file:
            start = _write_header(file, 0, size)
            for position, row in enumerate(plan.to_dict("records")):
                try:
                    patch = read(row)
                except Unusable as reason:
                    quarantine.append(quarantined(row, str(reason)))
                else:
                    file.write(patch.astype("<u2").tobytes())
                    kept.append(position)
            file.seek(0)
            if _write_header(file, len(kept), size) != start:
                raise RuntimeError("numpy's header grew with the count of images")
        if not kept:
            raise InputError(f"nothing could be prepared: {_first(quarantine)}")
        manifest = plan.iloc[kept][list(MANIFEST_COLUMNS)].reset_index(drop=True).astype(_TYPES)
        manifest.to_parquet(folder / _MANIFEST, index=False)
        table = pd.DataFrame(quarantine, columns=Quarantined._fields).astype({"row": "Int64"})
        table.to_csv(folder / _QUARANTINE, index=False)
        key = secrets.token_bytes(32)
        (folder / _KEY).touch(mode=0o600)
        (folder / _KEY).write_text(key.hex())
        counts = {"images": len(kept), "patients": manifest["patient"].nunique(), "quarantined": len(table)}
        record = {"size": size, **counts, **facts(), "digest": _digest(folder, key)}
        (folder / _FACTS).write_text(json.dumps(record, indent=2) + "\n")


def hold_back_crossing(plan: pd.DataFrame) -> tuple[pd.DataFrame, list[Quarantined]]:
    """Keep every patient in one split: rows of a patient that another split holds too are quarantined.

    The test set wins over validation and validation over training, so that published test sets stay what they are.
    31 patients of CBIS-DDSM are in the training set for one type of lesion and in the test set for the other.
    """
    crossing = _crossing(plan)
    held = [
        quarantined(row, f"patient is in a later split too: {row['patient']}")
        for row in plan[crossing].to_dict("records")
    ]
    return plan[~crossing].reset_index(drop=True), held


def _crossing(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Rows in another split than the last one that holds their patient."""
    rank = rows["split"].map({split: rank for rank, split in enumerate(SPLITS)})
    return rank != rank.groupby(rows["patient"]).transform("max")


def _read_quarantine(folder: Path) -> pd.DataFrame:
    types = {"source": "str", "row": "Int64", "reason": "str"}
    return pd.read_csv(folder / _QUARANTINE, dtype=types)[list(types)]


def _write_header(file: BinaryIO, images: int, size: int) -> int:
    """Write the .npy header for so many patches; numpy leaves room in it for the first axis to grow."""
    header = {"descr": "<u2", "fortran_order": False, "shape": (images, size, size)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _first(quarantine: list[Quarantined]) -> str:
    if not quarantine:
        return "the source lists no image"
    source, row, reason = quarantine[0]
    return f"{source}{'' if row is None else f' row {row}'}: {reason} ({len(quarantine)} in all)"


def _digest(folder: Path, key: bytes) -> str:
    digest = hmac.new(key, digestmod="sha256")
    for name in (_PATCHES, _MANIFEST):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
