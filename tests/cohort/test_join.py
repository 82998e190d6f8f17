"""Several cohorts, one per hospital, become one; nobody is taken for somebody else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmammo.cohort.join import join
from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError


def hospital(folder: Path, name: str, gray: int, column: str = "ward", size: int = 8) -> Path:
    """A cohort of one image of patient 1, and a row in quarantine."""
    (folder / name).mkdir()
    pixels = np.full((8, 8), gray, np.uint8)
    pixels[-1, -1] = 255
    Image.fromarray(pixels).save(folder / name / "a.png")
    table = folder / name / "table.csv"
    table.write_text(f"image,patient,label,split,{column}\na.png,1,1,test,x\nb.png,2,0,train,y\n")
    return prepare(table, folder / f"{name}-cohort", Options(size=size)).folder


def test_patients_of_two_hospitals_stay_apart(tmp_path: Path) -> None:
    folders = {"north": hospital(tmp_path, "n", 1), "south": hospital(tmp_path, "s", 2, column="age")}
    cohort = join(tmp_path / "out", folders)
    assert cohort.patches[:, 0, 0].tolist() == [257, 514]
    columns = ["patient", "image", "source", "hospital", "ward", "age", "split"]
    rows = cohort.manifest[columns].astype(object).where(cohort.manifest[columns].notna(), None).values.tolist()
    assert rows == [
        ["north/1", "north/a.png", "north/a.png", "north", "x", None, "test"],
        ["south/1", "south/a.png", "south/a.png", "south", None, "x", "test"],
    ]
    assert cohort.patients["hospital"].to_dict() == {"north/1": "north", "south/1": "south"}
    assert cohort.quarantine[["source", "row"]].values.tolist() == [["north/table.csv", 3], ["south/table.csv", 3]]
    counts = {"rows": 2, "prepared": 1, "quarantined": 1}
    assert cohort.facts["counts"] == {"north/table.csv": counts, "south/table.csv": counts}
    assert cohort.facts["parts"]["south"]["digest"] == Cohort.open(folders["south"]).digest
    assert cohort.key not in [Cohort.open(folder).key for folder in folders.values()]
    assert cohort.digest and "north/table.csv | 2 | 1 | 1" in (cohort.folder / "cohort.md").read_text()


def test_a_column_of_any_name_is_kept(tmp_path: Path) -> None:
    folders = {name: hospital(tmp_path, name, 1, column="position") for name in ("n", "s")}
    assert join(tmp_path / "out", folders).manifest["position"].tolist() == ["x", "x"]


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    north, large = hospital(tmp_path, "n", 1), hospital(tmp_path, "large", 1, size=16)
    south = hospital(tmp_path, "s", 2)
    both = join(tmp_path / "both", {"a": north, "b": south}).folder
    for folders, expected in (
        ({"a": north}, "one cohort is nothing to join"),
        ({"a": north, "b/c": north}, "hospital 'b/c': expected letters"),
        ({"a": north, "": north}, "hospital '': expected letters"),
        ({"a": north, "b": large}, r"patches differ in size \(a 8, b 16 pixels\)"),
        ({"a": north, "b": south, "c": north}, "a and c are one cohort"),
        ({"a": north, "b": both}, "both: has hospitals already"),
        ({"a": north, "b": tmp_path}, "not a prepared cohort"),
    ):
        with pytest.raises(InputError, match=expected):
            join(tmp_path / "out", folders)
    with pytest.raises(InputError, match="is not an empty folder"):
        join(both, {"a": north, "b": south})
    assert not (tmp_path / "out").exists()
