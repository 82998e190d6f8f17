"""What hospitals hold and how far they differ: tables computed by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest

from fedmammo.config.sections import HospitalsConfig
from fedmammo.hospitals.summary import distances, holdings, side_by_side

PATIENTS = pd.DataFrame(
    {
        "malignant": [True, False, True, False, False, True, False, True],
        "density": pd.array([1, 1, 2, None, 0, 4, None, 0], dtype="Int64"),
        "split": ["train"] * 6 + ["val"] * 2,
        "images": [1, 2, 3, 4, 5, 6, 7, 8],
    },
    index=[f"P_{number}" for number in range(8)],
)
HOSPITAL_OF = pd.Series(["a", "a", "a", "a", "b", "b", "a", "a"], index=PATIENTS.index)


@pytest.fixture
def config(tmp_path: Path) -> HospitalsConfig:
    (tmp_path / "a.yaml").write_text("{name: a, share: 3, prevalence: .4, density: [.1, .2, .3, .4]}")
    (tmp_path / "b.yaml").write_text("{name: b}")
    profiles = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    return HospitalsConfig.model_validate({"assignment": {"by": "profiles", "profiles": profiles}})


def test_holdings_by_hand(config: HospitalsConfig) -> None:
    """In `train`, a holds P_0 to P_3 (10 images; 2 of 4 malignant; known densities 1, 1, 2), b holds P_4 and P_5."""
    table = holdings(PATIENTS, HOSPITAL_OF.sample(frac=1, random_state=0), config)
    assert table[["hospital", "split"]].to_numpy().tolist() == [
        ["a", "train"],
        ["a", "val"],
        ["b", "train"],
        ["b", "val"],
    ]
    assert table["patients"].tolist() == [4, 2, 2, 0]
    assert table["share"].tolist() == [4 / 6, 1, 2 / 6, 0]
    assert table["images"].tolist() == [10, 15, 11, 0]
    assert table["malignant"].tolist() == [2, 1, 1, 0]
    assert table["prevalence"].tolist()[:3] == [0.5, 0.5, 0.5]
    assert table["unknown density"].tolist() == [1, 2, 1, 0]
    assert table.loc[0, [f"density {i}" for i in range(1, 5)]].tolist() == [2 / 3, 1 / 3, 0, 0]
    assert table.loc[2, [f"density {i}" for i in range(1, 5)]].tolist() == [0, 0, 0, 1]
    assert table.loc[[1, 3], "density 1"].isna().all()
    assert math.isnan(table.loc[3, "prevalence"])


def test_asked_stands_beside_achieved(config: HospitalsConfig) -> None:
    """Shares 3 and 1 (the default) are .75 and .25; b names no targets."""
    table = holdings(PATIENTS, HOSPITAL_OF, config)
    assert table["share asked"].tolist() == [0.75, 0.75, 0.25, 0.25]
    assert table["prevalence asked"].tolist()[:2] == [0.4, 0.4]
    assert table.loc[0, [f"density {i} asked" for i in range(1, 5)]].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert table.loc[2, [f"{what} asked" for what in ("prevalence", "density 1", "density 4")]].isna().all()
    assert "masses" not in table, "no lesion of these patients is a calcification"
    assert list(table.columns[6:10]) == ["share", "share asked", "prevalence", "prevalence asked"]


def test_masses_are_counted_among_the_lesions_of_known_type() -> None:
    """In `train`, a has a mass, a calcification and two unknown ones; b a mass."""
    lesions = ["mass", "calcification", None, None, None, "mass", "mass", "mass"]
    config = HospitalsConfig.model_validate({"assignment": {"by": "uniform", "count": 2}})
    hospital_of = HOSPITAL_OF.map({"a": "hospital-1", "b": "hospital-2"})
    table = holdings(PATIENTS.assign(lesion=lesions), hospital_of, config)
    assert table["masses"].tolist()[:3] == [0.5, 1, 1]
    assert math.isnan(table["masses"].tolist()[3])


def test_hospitals_side_by_side_leave_out_what_is_unknown_of_all(config: HospitalsConfig) -> None:
    table = holdings(PATIENTS, HOSPITAL_OF, config)
    shown = side_by_side(table[table["split"] == "train"]).set_index("")
    assert list(shown.columns) == ["a", "b"]
    assert shown.loc["patients"].tolist() == [4, 2]
    assert "masses" not in shown.index
    assert "prevalence asked" in shown.index


def test_other_rules_ask_for_nothing() -> None:
    config = HospitalsConfig.model_validate({"assignment": {"by": "uniform", "count": 2}})
    hospital_of = HOSPITAL_OF.map({"a": "hospital-1", "b": "hospital-2"})
    table = holdings(PATIENTS, hospital_of, config)
    assert table["patients"].sum() == 8
    assert not [column for column in table.columns if "asked" in column]


def test_distances_by_hand() -> None:
    """One hospital has benign patients only, the other malignant ones only, equally many.

    (1, 0) against (1/2, 1/2) has the middle (3/4, 1/4) and the divergence
    [log2(4/3) + log2(2/3)/2 + log2(2)/2] / 2 = 0.311278; the distance is its root, 0.557923. All densities are alike.
    """
    patients = PATIENTS.iloc[:4].assign(
        malignant=[True, True, False, False], density=pd.array([1, 2] * 2, dtype="Int64")
    )
    table = distances(patients, pd.Series(["b", "b", "a", "a"], index=patients.index))
    assert table["hospital"].tolist() == ["a", "b"]
    assert table["patients"].tolist() == [2, 2]
    assert table["label distance"].tolist() == pytest.approx([0.557923] * 2, abs=1e-6)
    assert table["density distance"].tolist() == [0, 0]


def test_a_distance_is_missing_where_no_density_is_known() -> None:
    patients = PATIENTS.assign(density=pd.array([1, 1, 1, 1, 0, None, 1, 1], dtype="Int64"))
    assert distances(patients, HOSPITAL_OF)["density distance"].isna().tolist() == [False, True]
