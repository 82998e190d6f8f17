from pathlib import Path

import numpy as np
import pytest

from fedmammo.cohort.case_descriptions import read_case_descriptions
from fedmammo.cohort.prepare import prepare
from fedmammo.phantom.tree import write_tree

HEIGHT, WIDTH = 260, 240


def mammogram() -> np.ndarray:
    rows, columns = np.indices((HEIGHT, WIDTH))
    return (200 * rows + columns).astype(np.uint16)


def mask(kind: str = "u1") -> np.ndarray:
    """Rows 100-119, columns 90-99: centre (110, 95), so the 128 pixels begin at (46, 31)."""
    pixels = np.zeros((HEIGHT, WIDTH), kind)
    pixels[100:120, 90:100] = np.iinfo(kind).max
    return pixels


def expected() -> np.ndarray:
    return mammogram()[46:174, 31:159]


def test_one_lesion(source, tmp_path: Path) -> None:
    source.lesion(mammogram(), mask())
    cohort = prepare(source.folder, tmp_path / "out")
    np.testing.assert_array_equal(cohort.patches[0], expected())
    row = cohort.manifest.iloc[0]
    assert row["image"] == "Mass-Training_P_00001_LEFT_CC_1"
    assert row["source"] == "Mass-Training_P_00001_LEFT_CC/1.2.3/1.2.1000/1-1.dcm"
    described = ["P_00001", "mass", 1, "MALIGNANT", True, "LEFT", "CC", 2, 4, 5, "OVAL", "SPICULATED", "train"]
    assert row.drop(["image", "source"]).tolist() == described
    assert cohort.quarantine.empty and cohort.facts["notes"] == {}


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("swapped", [False, True])
def test_mask_is_told_from_crop_wherever_it_lies(source, tmp_path: Path, kind: str, swapped: bool) -> None:
    source.lesion(mammogram(), mask(kind), swapped=swapped)
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected())


def test_mask_in_a_series_of_its_own(source, dicom, tmp_path: Path) -> None:
    row = source.lesion(mammogram(), mask())
    (source.folder / row["ROI mask file path"].strip()).with_name("1-2.dcm").unlink()
    row["ROI mask file path"] = "Mass-Training_P_00001_LEFT_CC_1/1.2.5/1.4.7/000000.dcm\n"
    source.write_table("mass_train")
    dicom(source.folder / "Mass-Training_P_00001_LEFT_CC_1/1.2.5/1.4.7/1-1.dcm", mask())
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected())


def test_a_recompressed_mask_is_known_by_its_shape(source, tmp_path: Path) -> None:
    """Lossy compression leaves more than two values: noise of 5 around 0 and 250, cut half-way at 127."""
    noisy = mask() // 255 * 245 + np.random.default_rng(0).integers(0, 6, (HEIGHT, WIDTH)).astype(np.uint8)
    source.lesion(mammogram(), noisy)
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected())


def test_a_black_crop_is_no_mask(source, tmp_path: Path) -> None:
    source.lesion(mammogram(), mask(), crop=np.zeros((30, 20), np.uint16))
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected())


def test_a_mask_of_another_size_is_stretched_and_noted(source, tmp_path: Path) -> None:
    """Half the size: rows 50-59 and columns 45-49 stand for the same rows and columns as the full mask's."""
    source.lesion(mammogram(), mask()[::2, ::2])
    cohort = prepare(source.folder, tmp_path / "out")
    np.testing.assert_array_equal(cohort.patches[0], expected())
    notes = {"Mass-Training_P_00001_LEFT_CC_1": "mask resized from 130x120 to 260x240"}
    assert cohort.facts["notes"] == notes


def test_monochrome1_is_inverted(source, dicom, tmp_path: Path) -> None:
    row = source.lesion(mammogram(), mask())
    path = (source.folder / row["image file path"]).with_name("1-1.dcm")
    dicom(path, 65535 - mammogram(), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected())


def test_every_fault_is_quarantined_and_the_rest_prepared(source, tmp_path: Path) -> None:
    def full(row: dict[str, str]) -> Path:
        return (source.folder / row["image file path"]).with_name("1-1.dcm")

    def pair(row: dict[str, str], number: int) -> Path:
        return (source.folder / row["ROI mask file path"].strip()).with_name(f"1-{number}.dcm")

    def truncate(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1000])

    lesions = [source.lesion(mammogram(), mask(), patient=f"P_0000{number}") for number in range(1, 9)]
    truncate(full(lesions[1]))
    full(lesions[2]).unlink()
    truncate(pair(lesions[3], 2))
    pair(lesions[4], 2).unlink()  # the crop alone is left
    pair(lesions[5], 1).unlink()
    pair(lesions[5], 2).unlink()
    truncate(pair(lesions[6], 1))  # the crop, which nobody needs
    source.lesion(mammogram(), 0 * mask(), patient="P_00009")

    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["P_00001", "P_00007", "P_00008"]
    for patch in cohort.patches:
        np.testing.assert_array_equal(patch, expected())
    found = dict(zip(cohort.quarantine["row"], cohort.quarantine["reason"].str.split(":").str[0], strict=True))
    assert set(cohort.quarantine["source"]) == {"mass_case_description_train_set.csv"}
    assert found == {
        3: "unreadable DICOM",
        4: "full image is missing",
        5: "unreadable DICOM",
        6: "no mask among the files of mask and crop",
        7: "mask is missing",
        10: "mask is empty",
    }


def test_masses_and_calcifications_keep_a_patient_in_one_split(source, tmp_path: Path) -> None:
    """P_00001 trains with a mass and is tested with a calcification: the test row stays, the training row goes."""
    source.lesion(mammogram(), mask(), patient="P_00001")
    source.lesion(mammogram(), mask(), patient="P_00002")
    source.lesion(mammogram(), mask(), patient="P_00001", table="calc_test")
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.patients["split"].to_dict() == {"P_00001": "test", "P_00002": "train"}
    assert cohort.manifest["lesion"].tolist() == ["mass", "calcification"]
    assert cohort.manifest["image"].tolist()[1] == "Calc-Test_P_00001_LEFT_CC_1"
    assert cohort.quarantine[["row", "reason"]].values.tolist() == [[2, "patient is in a later split too: P_00001"]]


def test_a_test_set_that_was_not_downloaded_holds_nobody_back(source, tmp_path: Path) -> None:
    source.lesion(mammogram(), mask(), patient="P_00001")
    source.row(patient="P_00001", table="calc_test")
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.patients["split"].to_dict() == {"P_00001": "train"}


def test_a_lesion_listed_twice_is_prepared_once(source, tmp_path: Path) -> None:
    source.lesion(mammogram(), mask())
    source.row()
    cohort = prepare(source.folder, tmp_path / "out")
    assert len(cohort.manifest) == 1
    assert cohort.quarantine["reason"].tolist() == ["image is listed twice: Mass-Training_P_00001_LEFT_CC_1"]


def test_two_lesions_of_one_mammogram(source, tmp_path: Path) -> None:
    """The second lesion lies 20 rows lower, so its patch begins at row 66."""
    source.lesion(mammogram(), mask())
    source.lesion(mammogram(), np.roll(mask(), 20, axis=0), **{"abnormality id": "2"})
    cohort = prepare(source.folder, tmp_path / "out")
    np.testing.assert_array_equal(cohort.patches[1], mammogram()[66:194, 31:159])
    assert cohort.manifest["source"].nunique() == 1


def test_phantoms_are_prepared_in_full(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", patients=5, seed=3)
    cohort = prepare(tmp_path / "tree", tmp_path / "out")
    assert cohort.quarantine.empty
    assert cohort.patients["split"].value_counts().to_dict() == {"train": 4, "test": 1}
    descriptions, unreadable = read_case_descriptions(tmp_path / "tree")
    assert unreadable == [] and len(cohort.patches) == len(descriptions) >= 5
    assert cohort.manifest["abnormality"].tolist() == descriptions["abnormality"].tolist()
    assert (np.ptp(cohort.patches.reshape(len(cohort.patches), -1), axis=1) > 1000).all()
