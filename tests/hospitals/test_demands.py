"""Profiles that ask for what there is not are refused; small cohorts are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.demands import check_demands, ignored_demands

THREE = ["university_hospital", "screening_centre", "rural_clinic"]
SEVEN = [*THREE, "cancer_centre", "community_hospital", "mobile_unit", "private_practice"]


def cohort(benign: int, malignant: int, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"malignant": [False] * benign + [True] * malignant, "images": 1, "split": "train"})
    return frame.assign(**{"density": 2, "lesion": "mass"} | columns)


def config(folder: Path, *profiles: dict[str, Any]) -> HospitalsConfig:
    paths = []
    for profile in profiles:
        paths.append(str(folder / f"{profile['name']}.yaml"))
        Path(paths[-1]).write_text(yaml.safe_dump(profile))
    return HospitalsConfig.model_validate({"assignment": {"by": "profiles", "profiles": paths}})


def test_a_prevalence_out_of_reach_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """80 of 100 patients can hold the 45 malignant ones at most: .5625."""
    asked = config(tmp_path, {"name": "big", "share": 80, "prevalence": 0.9}, {"name": "small", "share": 20})
    with pytest.raises(InputError) as error:
        check_demands(cohort(55, 45), asked)
    assert str(error.value) == (
        "profile big: asks for a prevalence of 0.90; the nearest possible for 80 of these 100 training patients is "
        "0.56; ask for that, or change the shares"
    )


def test_what_is_possible_passes_and_so_does_the_nearest(tmp_path: Path) -> None:
    for prevalence in (0.5625, 0.2, 0.5625 + 0.15):
        asked = config(tmp_path, {"name": "big", "share": 80, "prevalence": prevalence}, {"name": "small", "share": 20})
        check_demands(cohort(55, 45), asked)


def test_densities_and_lesions_out_of_reach_are_refused(tmp_path: Path) -> None:
    """Class 4 and calcifications are a tenth of the patients, a hospital that holds them all asks for nine tenths."""
    rare = [True] * 10 + [False] * 90
    patients = cohort(50, 50, density=np.where(rare, 4, 2), lesion=np.where(rare, "calcification", "mass"))
    with pytest.raises(InputError, match=r"profile a: asks for a fraction of density 2 of 0\.10; the nearest .* 0\.90"):
        check_demands(patients, config(tmp_path, {"name": "a", "density": [0, 0.1, 0, 0.9]}))
    with pytest.raises(InputError, match=r"profile a: asks for a fraction of masses of 0\.10; the nearest .* 0\.90"):
        check_demands(patients, config(tmp_path, {"name": "a", "masses": 0.1}))


def test_what_does_not_differ_is_not_demanded(tmp_path: Path) -> None:
    check_demands(cohort(50, 50), config(tmp_path, {"name": "a", "masses": 0.1, "density": [1, 0, 0, 0]}))
    check_demands(cohort(0, 50), config(tmp_path, {"name": "a", "prevalence": 0.1}))
    asked = config(tmp_path, {"name": "a", "masses": 0.1, "prevalence": 0.4}, {"name": "b"})
    assert ignored_demands(cohort(50, 50), asked) == [
        "masses: asked for, but ignored, because the training patients do not differ in it"
    ]
    assert not ignored_demands(cohort(2, 2, lesion=["mass", "calcification"] * 2), asked)
    assert not ignored_demands(
        cohort(2, 2), HospitalsConfig.model_validate({"assignment": {"by": "uniform", "count": 3}})
    )


@pytest.mark.parametrize("names", [THREE, SEVEN])
@pytest.mark.parametrize("seed", range(5))
def test_small_cohorts_go_with_the_profiles_that_come_along(names: list[str], seed: int) -> None:
    """24 patients drawn from something like CBIS-DDSM: whatever rounding does, they are dealt."""
    generator = np.random.default_rng(seed)
    density = generator.choice([1, 2, 3, 4], size=24, p=[0.18, 0.44, 0.28, 0.10])
    lesion = generator.choice(["mass", "calcification"], size=24)
    config = HospitalsConfig.model_validate({"assignment": {"by": "profiles", "profiles": names}})
    check_demands(cohort(13, 11, density=density, lesion=lesion), config)


def test_only_training_patients_count_and_only_profiles_ask(tmp_path: Path) -> None:
    patients = cohort(55, 45)
    patients = pd.concat([patients, cohort(0, 200).assign(split="test")], ignore_index=True)
    asked = config(tmp_path, {"name": "a", "prevalence": 0.8})
    with pytest.raises(InputError, match="asks for a prevalence of"):
        check_demands(patients, asked)
    check_demands(patients, HospitalsConfig.model_validate({"assignment": {"by": "uniform", "count": 3}}))
