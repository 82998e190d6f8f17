"""The prepared cohort on disk: memory-mapped patches, a manifest, a quarantine table and the key of its pseudonyms."""

import hmac
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.cohort.card import CARD, page
from fedmammo.cohort.quarantine import Quarantined, Row, Unusable, quarantined
from fedmammo.config.splits import SPLITS
from fedmammo.disk.folders import new_folder
from fedmammo.disk.parquet import read_parquet
from fedmammo.errors import InputError

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
    "calcification_type": "string",
    "calcification_distribution": "string",
    "split": "str",
    "source": "str",
}
MANIFEST_COLUMNS = tuple(_TYPES)
"""Row i of the manifest describes patch i. All but `patient`, `image`, `pathology`, `malignant`, `split` and `source`
may be empty. Behind them come the user's own columns, if any: attributes, as text."""
PATIENT_COLUMNS = ("malignant", "images", "split")
FEATURES = "features"
PATCHES, _MANIFEST, _QUARANTINE, FACTS, KEY = (
    "patches.npy",
    "manifest.parquet",
    "quarantine.csv",
    "cohort.json",
    "key",
)
FILES = (PATCHES, _MANIFEST, FACTS, KEY)
"""What the patients of a cohort are read from."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """A prepared cohort. Identities and images stay in its folder; whatever leaves it carries pseudonyms.

    Attributes:
        folder: where it lies.
        manifest: one row per image (`MANIFEST_COLUMNS`, then attributes), index 0..n-1.
        patches: (images, size, size), uint16, 0-65535, memory-mapped read-only; row i belongs to manifest row i.
        key: 32 random bytes that make pseudonyms and digests; never leaves the folder.
        features: folder in which what networks make of the patches is kept.
    """

    folder: Path
    manifest: pd.DataFrame
    patches: np.memmap
    key: bytes
    features: Path

    @classmethod
    def open(cls, folder: Path, features: Path | None = None) -> "Cohort":
        """Open the prepared cohort at `folder`; its features are in its own folder, if not told.

        Raises:
            InputError: it is not a prepared cohort, or its parts disagree.
        """
        try:
            facts = json.loads((folder / FACTS).read_text())
            manifest = _typed(read_parquet(folder / _MANIFEST))
            patches = np.load(folder / PATCHES, mmap_mode="r", allow_pickle=False)
            key = bytes.fromhex((folder / KEY).read_text())
            _read_quarantine(folder)
            expected = (int(facts["images"]), int(facts["size"]), int(facts["size"]))
            agree = (
                patches.shape == expected
                and patches.dtype == np.uint16
                and len(manifest) == expected[0]
                and manifest["image"].is_unique
                and len(bytes.fromhex(facts["digest"])) == len(key) == 32
                and {"source", "notes", "quarantined", "patients"} <= facts.keys()
                and (last_split(manifest) == manifest["split"]).all()
            )
        except Exception as error:  # damaged files make numpy, pandas and pyarrow raise almost anything
            reason = " ".join(str(error).split())
            raise InputError(
                f"{folder}: not a prepared cohort ({reason}); make one with `fedmammo data prepare`"
            ) from error
        if not agree:
            raise InputError(
                f"{folder}: the parts of this cohort disagree; prepare it anew with `fedmammo data prepare`"
            )
        return cls(folder, manifest, patches, key, features or folder / FEATURES)

    def pseudonym(self, kind: str, identity: str) -> str:
        """16 hexadecimal characters that stand for a `kind` ('patient', 'image') of this name outside the cohort.

        HMAC-SHA256 under the cohort's key: without the key nobody can try names, and each preparation gives others.
        """
        return hmac.new(self.key, f"{kind}\0{identity}".encode(), "sha256").hexdigest()[:16]

    @cached_property
    def patients(self) -> pd.DataFrame:
        """One row per patient, sorted by `patient`: malignant (any lesion is), images (count), split; then every other
        column of the manifest, as the patient's first image has it that has it.
        """
        grouped = self.manifest.groupby("patient", sort=True)
        counted = grouped.agg(malignant=("malignant", "any"), images=("image", "size"), split=("split", "first"))
        others = [column for column in self.manifest if column not in ("patient", *PATIENT_COLUMNS)]
        return counted.join(grouped[others].first())

    @cached_property
    def pseudonyms(self) -> pd.Series:
        """The patients' pseudonyms, indexed by patient in sorted order."""
        names = self.patients.index
        return pd.Series([self.pseudonym("patient", name) for name in names], index=names, name="pseudonym")

    @cached_property
    def rows_of_patients(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the manifest by patient."""
        return {str(name): rows.to_numpy() for name, rows in self.manifest.groupby("patient").groups.items()}

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
    def digests_of_patches(self) -> list[bytes]:
        """HMAC-SHA256 of each patch under the cohort's key."""
        return [hmac.digest(self.key, patch.tobytes(), "sha256") for patch in self.patches]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `cohort.json` says: size, images, patients, quarantined, source (its kind), notes, digest, and what
        fedmammo.cohort.card makes a page of.
        """
        facts: dict[str, Any] = json.loads((self.folder / FACTS).read_text())
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
    attributes: Sequence[str] = (),
) -> None:
    """Write a cohort to `out`, one patch in memory at a time; it appears there whole or not at all.

    Args:
        out: an empty or missing folder.
        plan: one row per image to read: `MANIFEST_COLUMNS`, `attributes`, `listed_in` and `listed_row` (for the
            quarantine), and whatever `read` needs.
        quarantine: what was found unusable before.
        read: gives the (size, size) patch of a row of the plan, or raises Unusable, which quarantines the row.
        size: side of a patch in pixels.
        facts: called at the end; what `cohort.json` says beside the counts.
        attributes: columns of the plan that the manifest keeps beside its own.

    Raises:
        InputError: not one image could be prepared, or `out` is occupied or cannot be written.
    """
    with new_folder(out) as folder:
        quarantine, kept = list(quarantine), []
        with (folder / PATCHES).open("wb") as file:
            write_header(file, 0, size)
            for position, row in enumerate(plan.to_dict("records")):
                try:
                    patch = read(row)
                except Unusable as reason:
                    quarantine.append(quarantined(row, str(reason)))
                else:
                    file.write(patch.astype("<u2").tobytes())
                    kept.append(position)
        write_key(folder)
        finish_cohort(folder, plan.iloc[kept], attributes, quarantine, size, facts())


def finish_cohort(
    folder: Path,
    plan: pd.DataFrame,
    attributes: Sequence[str],
    quarantine: list[Quarantined],
    size: int,
    facts: dict[str, Any],
) -> None:
    """Make a cohort of a folder that holds a key and patches, whose header is still without their number.

    Args:
        folder: `PATCHES` and `KEY` are there.
        plan: one row per patch.
        attributes: columns of the plan that the manifest keeps beside `MANIFEST_COLUMNS`.
        quarantine: what could not be prepared.
        size: side of a patch in pixels.
        facts: what `cohort.json` says beside the counts.

    Raises:
        InputError: there is no patch.
    """
    if plan.empty:
        raise InputError(f"nothing could be prepared: {_first(quarantine)}")
    with (folder / PATCHES).open("r+b") as file:
        start = write_header(file, len(plan), size)
        if file.seek(0, os.SEEK_END) != start + 2 * size * size * len(plan):
            raise RuntimeError("patches and manifest differ in number, or numpy's header grew with it")
    manifest = _typed(plan[[*MANIFEST_COLUMNS, *attributes]].reset_index(drop=True))
    manifest.to_parquet(folder / _MANIFEST, index=False)
    table = pd.DataFrame(quarantine, columns=Quarantined._fields).astype({"row": "Int64"})
    table.to_csv(folder / _QUARANTINE, index=False)
    key = bytes.fromhex((folder / KEY).read_text())
    counts = {"images": len(manifest), "patients": manifest["patient"].nunique(), "quarantined": len(table)}
    record = {"size": size, **counts, **facts, "digest": _digest(folder, key)}
    (folder / FACTS).write_text(json.dumps(record, indent=2) + "\n")
    (folder / CARD).write_text(page(record))


def folder_of_features(cohort: Path, wanted: str | None, run: Path) -> Path:
    """Say where features of a cohort are kept: where the user wants them, else with the cohort.

    Where the cohort cannot be written, as on a read-only disk, they are kept with the run.
    """
    if wanted is not None:
        return Path(wanted).resolve()
    own = cohort / FEATURES
    return own if os.access(own if own.exists() else cohort, os.W_OK) else run / FEATURES


def write_key(folder: Path) -> None:
    """Draw the key of a cohort's pseudonyms and write it to `folder`, readable by its owner only."""
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_text(secrets.token_bytes(32).hex())


def last_split(rows: pd.DataFrame) -> "pd.Series[str]":
    """The last split (of `SPLITS`) that holds each row's patient."""
    last = rows["split"].map(SPLITS.index).groupby(rows["patient"]).transform("max")
    return last.map(dict(enumerate(SPLITS)))


def _typed(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest's columns in their types and order, then all others: attributes."""
    attributes = [column for column in manifest if column not in _TYPES]
    return manifest[[*_TYPES, *attributes]].astype({**_TYPES, **dict.fromkeys(attributes, "string")})


def _read_quarantine(folder: Path) -> pd.DataFrame:
    types = {"source": "str", "row": "Int64", "reason": "str"}
    return pd.read_csv(folder / _QUARANTINE, dtype=types)[list(types)]


def write_header(file: BinaryIO, images: int, size: int) -> int:
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
    for name in (PATCHES, _MANIFEST):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
