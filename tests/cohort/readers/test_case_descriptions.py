from pathlib import Path

import pandas as pd
import pytest

from fedmammo.cohort.quarantine import Quarantined
from fedmammo.cohort.readers.case_descriptions import read_case_descriptions
from fedmammo.errors import InputError


def read(folder: Path) -> tuple[pd.DataFrame, list[Quarantined]]:
    found = read_case_descriptions(folder)
    assert sum(table.count for table in found.tables) == len(found.rows) + len(found.quarantine)
    return pd.DataFrame(found.rows), found.quarantine


def test_real_tables(shared: Path) -> None:
    """Row and pathology counts are those of facts/cbis-ddsm.md: 1318 and 1546 rows, 637 and 544 malignant."""
    table, quarantine = read(shared / "data" / "tcia-csv")
    assert quarantine == []
    assert table["lesion"].value_counts().to_dict() == {"calcification": 1546, "mass": 1318}
    assert table.groupby("lesion")["malignant"].sum().to_dict() == {"calcification": 544, "mass": 637}
    assert table.groupby("lesion")["patient"].nunique().to_dict() == {"calcification": 602, "mass": 691}
    assert table["density"].between(1, 4).all()
    for column in ("image_path", "crop_path", "mask_path"):
        assert table[column].str.fullmatch(r"\S+/00000[01]\.dcm").all()
    calcifications = table["lesion"] == "calcification"
    assert table.loc[calcifications, ["shape", "margins"]].isna().all(axis=None)
    assert table.loc[~calcifications, ["calcification_type", "calcification_distribution"]].isna().all(axis=None)
    assert (table.loc[calcifications, "calcification_type"] == "PLEOMORPHIC").sum() > 100


def test_columns_are_found_by_name(source) -> None:
    row = source.row(density="2")
    source.tables["mass_train"] = [dict(reversed(row.items()))]
    source.write_table("mass_train")
    source.row("P_00002", "calc_test", **{"breast density": " 3 ", "pathology": "benign_without_callback"})
    table, quarantine = read(source.folder)
    assert quarantine == []
    columns = ["patient", "lesion", "split", "density", "pathology", "malignant", "shape", "listed_row"]
    first, second = (list(values) for values in table[columns].itertuples(index=False))
    assert first == ["P_00001", "mass", "train", 2, "MALIGNANT", True, "OVAL", 2]
    assert second[:-2] == ["P_00002", "calcification", "test", 3, "BENIGN_WITHOUT_CALLBACK", False]
    assert table["shape"].isna().tolist() == [False, True]
    assert table["calcification_type"].isna().tolist() == [True, False]


def test_empty_cells_and_density_0_stay_empty(source) -> None:
    changes = {"breast_density": "0", "subtlety": "", "assessment": "0", "mass shape": "", "mass margins": " "}
    source.row(**changes)
    table, _ = read(source.folder)
    assert table.loc[0, ["density", "subtlety", "shape", "margins"]].isna().all()
    assert table.loc[0, "assessment"] == 0  # BI-RADS 0 is a finding


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("breast_density", "dense", "unreadable breast_density: 'dense' is no whole number from 0 to 4"),
        ("breast_density", "5", "unreadable breast_density: '5' is no whole number from 0 to 4"),
        ("abnormality id", "", "unreadable abnormality id: '' is no whole number from 1 to 99"),
        ("left or right breast", "MIDDLE", "unreadable left or right breast: 'MIDDLE' is none of LEFT, RIGHT"),
        ("pathology", "UNKNOWN", "unreadable pathology"),
        ("patient_id", "", "unreadable patient_id"),
    ],
)
def test_an_unreadable_row_is_quarantined_and_the_rest_read(source, column: str, value: str, reason: str) -> None:
    source.row("P_00001")
    source.row("P_00002")[column] = value
    source.row("P_00003")
    table, quarantine = read(source.folder)
    assert table["patient"].tolist() == ["P_00001", "P_00003"]
    assert [(entry.source, entry.row) for entry in quarantine] == [("mass_case_description_train_set.csv", 3)]
    assert quarantine[0].reason.startswith(reason)


def test_short_and_blank_rows_are_quarantined(source) -> None:
    source.row()
    with source.write_table("mass_train").open("a") as file:
        file.write("P_00009,2,LEFT\r\n\r\n")
    table, quarantine = read(source.folder)
    assert len(table) == 1
    assert [entry[1:] for entry in quarantine] == [
        (3, "row does not fit the header: 3 cells under 14 headings"),
        (4, "row is blank"),
    ]


@pytest.mark.parametrize("column", ["pathology", "breast_density", "mass margins"])
def test_a_missing_column_names_file_and_column(source, column: str) -> None:
    del source.row()[column]
    source.write_table("mass_train")
    with pytest.raises(InputError, match=rf"mass_case_description_train_set.csv: column '{column}' is missing"):
        read_case_descriptions(source.folder)


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected case descriptions"):
        read_case_descriptions(tmp_path)
    for content in (b"", b"\x89PNG\xff\x00\x00"):
        (tmp_path / "mass_case_description_test_set.csv").write_bytes(content)
        with pytest.raises(InputError, match="expected a CSV"):
            read_case_descriptions(tmp_path)
