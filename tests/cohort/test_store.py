import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.cohort.quarantine import Quarantined, Unusable
from fedmammo.cohort.store import MANIFEST_COLUMNS, Cohort, write_cohort
from fedmammo.errors import InputError


def plan(patients: str = "BAAC", malignant: str = "0011", split: str = "test train train val") -> pd.DataFrame:
    """One lesion per letter of `patients`."""
    rows = [
        {"patient": patient, "image": f"{patient}{number}", "lesion": "mass", "malignant": label == "1"}
        | {"pathology": "MALIGNANT" if label == "1" else "BENIGN", "side": "LEFT", "view": "CC", "density": None}
        | {"abnormality": number, "split": fold, "source": f"{number}.png", "listed_in": "list.csv"}
        | {"listed_row": number + 2}
        for number, (patient, label, fold) in enumerate(zip(patients, malignant, split.split(), strict=True))
    ]
    return pd.DataFrame(rows, columns=[*MANIFEST_COLUMNS, "listed_in", "listed_row"])


def read(row: dict[Any, Any]) -> np.ndarray:
    return np.full((4, 4), 1000 * row["abnormality"], np.uint16)


def write(out: Path, rows: pd.DataFrame | None = None, reader=read) -> Cohort:
    write_cohort(out, plan() if rows is None else rows, [], reader, 4, lambda: {"source": "test", "notes": {}})
    return Cohort.open(out)


def test_a_cohort_comes_back_as_written(tmp_path: Path) -> None:
    cohort = write(tmp_path / "out")
    assert cohort.patches[:, 0, 0].tolist() == [0, 1000, 2000, 3000]
    assert isinstance(cohort.patches, np.memmap) and not cohort.patches.flags.writeable
    assert tuple(cohort.manifest.columns) == MANIFEST_COLUMNS and cohort.manifest.index.tolist() == [0, 1, 2, 3]
    assert cohort.manifest["density"].isna().all() and str(cohort.manifest["density"].dtype) == "Int64"
    assert (tmp_path / "out" / "key").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_unusable_images_leave_no_gap(tmp_path: Path) -> None:
    """Rows 0 and 2 fail: patches and manifest hold 1 and 3, the quarantine says which rows of the list failed."""

    def sometimes(row: dict[Any, Any]) -> np.ndarray:
        if row["abnormality"] % 2 == 0:
            raise Unusable('torn: in the middle, "quoted"')
        return read(row)

    cohort = write(tmp_path / "out", reader=sometimes)
    assert cohort.manifest["abnormality"].tolist() == [1, 3]
    assert cohort.patches[:, 3, 3].tolist() == [1000, 3000]
    entries = cohort.quarantine.values.tolist()
    assert entries == [["list.csv", row, 'torn: in the middle, "quoted"'] for row in (2, 4)]


def test_the_header_holds_any_count(tmp_path: Path) -> None:
    """The header is rewritten at the end: 1200 images read back where numpy first wrote a count of 0."""
    many = pd.concat([plan("A", "1", "train")] * 1200, ignore_index=True)
    many["image"] = [f"image {number}" for number in range(1200)]
    assert np.load(write(tmp_path / "out", many).folder / "patches.npy").shape == (1200, 4, 4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_preparation_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(row: dict[Any, Any]) -> np.ndarray:
        if row["abnormality"] == 2:
            raise error
        return read(row)

    with pytest.raises(error):
        write(tmp_path / "out", reader=stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_prepare_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    def never(row: dict[Any, Any]) -> np.ndarray:
        raise Unusable("torn")

    with pytest.raises(InputError, match=r"nothing could be prepared: list.csv row 2: torn \(4 in all\)"):
        write(tmp_path / "out", reader=never)
    with pytest.raises(InputError, match="the source lists no image"):
        write(tmp_path / "out", plan("", "", ""))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        write(tmp_path / "file" / "out")


def test_patients(tmp_path: Path) -> None:
    """A holds a benign and a malignant lesion, and any malignant lesion makes a malignant patient."""
    patients = write(tmp_path / "out").patients
    assert patients.index.tolist() == ["A", "B", "C"]
    assert patients["malignant"].tolist() == [True, False, True]
    assert patients["images"].tolist() == [2, 1, 1]
    assert patients["split"].tolist() == ["train", "test", "val"]


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104: H(key xor opad, H(key xor ipad, message)), the key padded with zeros to 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).hexdigest()


def test_pseudonyms_and_digest_are_keyed(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert one.pseudonym("patient", "A") == hmac_sha256(one.key, b"patient\0A")[:16]
    assert one.pseudonym("patient", "A") == Cohort.open(one.folder).pseudonym("patient", "A")
    assert len({one.pseudonym("patient", "A"), one.pseudonym("image", "A"), two.pseudonym("patient", "A")}) == 3
    content = (one.folder / "patches.npy").read_bytes() + (one.folder / "manifest.parquet").read_bytes()
    assert one.digest == one.facts["digest"] == hmac_sha256(one.key, content)
    assert one.digest != two.digest


def test_altered_patches_are_noticed(tmp_path: Path) -> None:
    cohort = write(tmp_path / "out")
    altered = np.load(cohort.folder / "patches.npy")
    altered[0, 0, 0] += 1
    np.save(cohort.folder / "patches.npy", altered)
    with pytest.raises(InputError, match="altered"):
        _ = Cohort.open(cohort.folder).digest


@pytest.mark.parametrize("part", ["patches.npy", "manifest.parquet", "quarantine.csv", "cohort.json", "key"])
def test_a_part_missing_or_torn_is_refused(tmp_path: Path, part: str) -> None:
    path = write(tmp_path / "out").folder / part
    if part != "quarantine.csv":
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(InputError, match=r"out: not a prepared cohort|parts of this cohort disagree"):
            Cohort.open(tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match=r"out: not a prepared cohort \(.*`fedmammo data prepare`$"):
        Cohort.open(tmp_path / "out")


def test_parts_that_disagree_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "out").folder
    manifest = pd.read_parquet(folder / "manifest.parquet")
    facts = (folder / "cohort.json").read_text()
    crossing = manifest.assign(split=["test", "train", "val", "val"])
    for changed in (manifest.iloc[:3], manifest.assign(image="same"), crossing):
        changed.to_parquet(folder / "manifest.parquet", index=False)
        with pytest.raises(InputError, match="disagree"):
            Cohort.open(folder)
    manifest.to_parquet(folder / "manifest.parquet", index=False)
    (folder / "cohort.json").write_text(json.dumps(json.loads(facts) | {"size": 5}))
    with pytest.raises(InputError, match="disagree"):
        Cohort.open(folder)
    (folder / "cohort.json").write_text(facts)
    Cohort.open(folder)


def test_what_is_no_cohort_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="not a prepared cohort") as caught:
            Cohort.open(path)
        assert "\n" not in str(caught.value)


def test_a_quarantine_found_before_comes_first(tmp_path: Path) -> None:
    before = [Quarantined("a.png", None, "name does not parse")]
    write_cohort(tmp_path / "out", plan(), before, read, 4, lambda: {"source": "test", "notes": {}})
    quarantine = Cohort.open(tmp_path / "out").quarantine
    assert quarantine["source"].tolist() == ["a.png"] and quarantine["row"].isna().all()
