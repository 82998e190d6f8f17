from pathlib import Path

import numpy as np

from fedmammo.cohort.prepare import prepare


def expected(source) -> np.ndarray:
    """The mask's box has its centre at row 110, column 95, so the 128 pixels begin at (46, 31)."""
    return source.mammogram()[46:174, 31:159]


def test_one_lesion(source, tmp_path: Path) -> None:
    source.lesion(source.mammogram(), source.mask())
    cohort = prepare(source.folder, tmp_path / "out")
    np.testing.assert_array_equal(cohort.patches[0], expected(source))
    row = cohort.manifest.iloc[0]
    assert row["image"] == "Mass-Training_P_00001_LEFT_CC_1"
    assert row["source"] == "Mass-Training_P_00001_LEFT_CC/1.2.3/1.2.1000/000000.dcm"
    described = ["P_00001", "mass", 1, "MALIGNANT", True, "LEFT", "CC", 2, 4, 5, "OVAL", "SPICULATED", "train"]
    empty = ["calcification_type", "calcification_distribution"]
    assert row.drop(["image", "source", *empty]).tolist() == described and row[empty].isna().all()
    assert cohort.quarantine.empty and cohort.facts["notes"] == {}


def test_a_black_crop_is_no_mask(source, tmp_path: Path) -> None:
    source.lesion(source.mammogram(), source.mask(), crop=np.zeros((30, 20), np.uint16))
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected(source))


def test_monochrome1_is_inverted(source, dicom, tmp_path: Path) -> None:
    row = source.lesion(source.mammogram(), source.mask())
    path = (source.folder / row["image file path"]).with_name("1-1.dcm")
    dicom(path, 65535 - source.mammogram(), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(prepare(source.folder, tmp_path / "out").patches[0], expected(source))


def test_every_fault_is_quarantined_and_the_rest_prepared(source, tmp_path: Path) -> None:
    def full(row: dict[str, str]) -> Path:
        return (source.folder / row["image file path"]).with_name("1-1.dcm")

    def pair(row: dict[str, str], number: int) -> Path:
        return (source.folder / row["ROI mask file path"].strip()).with_name(f"1-{number}.dcm")

    def truncate(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1000])

    lesions = [source.lesion(source.mammogram(), source.mask(), patient=f"P_0000{number}") for number in range(1, 9)]
    truncate(full(lesions[1]))
    full(lesions[2]).unlink()
    truncate(pair(lesions[3], 2))
    pair(lesions[4], 2).unlink()  # the crop alone is left
    pair(lesions[5], 1).unlink()
    pair(lesions[5], 2).unlink()
    truncate(pair(lesions[6], 1))  # the crop, which nobody needs
    source.lesion(source.mammogram(), 0 * source.mask(), patient="P_00009")

    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.manifest["patient"].tolist() == ["P_00001", "P_00007", "P_00008"]
    for patch in cohort.patches:
        np.testing.assert_array_equal(patch, expected(source))
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


def test_a_test_set_that_was_not_downloaded_holds_nobody_back(source, tmp_path: Path) -> None:
    source.lesion(source.mammogram(), source.mask(), patient="P_00001")
    source.row(patient="P_00001", table="calc_test")
    cohort = prepare(source.folder, tmp_path / "out")
    assert cohort.patients["split"].to_dict() == {"P_00001": "train"}


def test_a_lesion_listed_twice_is_prepared_once(source, tmp_path: Path) -> None:
    source.lesion(source.mammogram(), source.mask())
    source.row()
    cohort = prepare(source.folder, tmp_path / "out")
    assert len(cohort.manifest) == 1
    assert cohort.quarantine["reason"].tolist() == ["image is listed twice: Mass-Training_P_00001_LEFT_CC_1"]


def test_two_lesions_of_one_mammogram(source, tmp_path: Path) -> None:
    """The second lesion lies 20 rows lower, so its patch begins at row 66."""
    source.lesion(source.mammogram(), source.mask())
    source.lesion(source.mammogram(), np.roll(source.mask(), 20, axis=0), **{"abnormality id": "2"})
    cohort = prepare(source.folder, tmp_path / "out")
    np.testing.assert_array_equal(cohort.patches[1], source.mammogram()[66:194, 31:159])
    assert cohort.manifest["source"].nunique() == 1
