from pathlib import Path

from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.show import summary


def test_summary(source, tmp_path: Path) -> None:
    """Train: P_00001 (density 2; three images, one malignant) and P_00002 (density 0, not recorded; one benign
    image): 2 patients, 4 images, median (3 + 1) / 2 = 2. Val: P_00003, one malignant image, MLO. Two unreadable.
    """
    for k, pathology in enumerate(("BENIGN", "MALIGNANT", "BENIGN"), start=1):
        row = source.row("P_00001", **{"abnormality id": str(k), "pathology": pathology})
        source.patch(row, k, benign=pathology == "BENIGN")
    source.patch(source.row("P_00002", breast_density="0", pathology="BENIGN"), 4, benign=True)
    source.patch(source.row("P_00003", **{"image view": "MLO", "breast_density": "4"}), 5, split="val")
    for k in (6, 7):
        source.patch(source.row(f"P_0000{k}"), k).write_text("torn")
    tables = summary(prepare(source.folder, tmp_path / "out"))
    counts = tables["splits"]
    assert counts.index.tolist() == ["train", "val", "all"]
    assert counts.loc["train"].tolist() == [2, 4, 1, 1, 2, 3, 0, 1, 0, 0, 1, 4, 0]
    assert counts.loc["val"].tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]
    assert counts.loc["all", ["patients", "images", "malignant patients", "CC", "MLO"]].tolist() == [3, 5, 2, 4, 1]
    assert tables["quarantine"].values.tolist() == [["neither DICOM, PNG, TIFF nor JPEG", 2]]
    assert tables["counts"].values.tolist() == [["files of patches", 7, 5, 2]]
