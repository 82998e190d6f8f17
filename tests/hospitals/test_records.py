"""What hospitals have on record: whose labels are exchanged, and whose digitiser shows an image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.hospitals.records import Records, records_of, true_records


@pytest.fixture
def study(phantom_study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    """Hospital A exchanges the labels of a quarter of its patients and has a digitiser, B is without fault."""
    (tmp_path / "a.yaml").write_text("{name: A, label_noise: 0.25, digitiser: howtek_960}")
    (tmp_path / "b.yaml").write_text("{name: B}")
    profiles = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    phantom_study["hospitals"] = {"assignment": {"by": "profiles", "profiles": profiles}, "seed": [0, 1]}
    return parse(phantom_study, "study")


def records(cohort: Cohort, study: StudyConfig, draw: int = 0) -> Records:
    """Records of everybody."""
    dealt = deal(cohort, study)
    return records_of(cohort, dealt.draws[draw], dealt.digitisers)


def test_a_quarter_of_the_training_patients_of_a_is_exchanged(phantom_cohort: Cohort, study: StudyConfig) -> None:
    """All images of a patient or none; tested patients and those of B keep the truth."""
    images = phantom_cohort.manifest
    wrong = records(phantom_cohort, study).malignant != images["malignant"].to_numpy()
    hospital_of = deal(phantom_cohort, study).draws[0]["hospital"]
    at_a = hospital_of.index[(hospital_of == "A") & (phantom_cohort.patients["split"] == "train")]
    exchanged = set(images["patient"][wrong])
    assert exchanged <= set(at_a) and len(exchanged) == round(0.25 * len(at_a)) > 0
    assert wrong[images["patient"].isin(exchanged)].all()


def test_another_draw_exchanges_others(phantom_cohort: Cohort, study: StudyConfig) -> None:
    first, again, other = (records(phantom_cohort, study, draw).malignant.tolist() for draw in (0, 0, 1))
    assert first == again != other


def test_an_image_is_shown_by_the_digitiser_of_its_hospital(phantom_cohort: Cohort, study: StudyConfig) -> None:
    hospital_of = deal(phantom_cohort, study).draws[0]["hospital"]
    expected = [
        load_digitiser("howtek_960") if hospital_of[patient] == "A" else None
        for patient in phantom_cohort.manifest["patient"]
    ]
    assert list(records(phantom_cohort, study).digitisers) == expected
    assert len(set(map(str, expected))) == 2


def test_a_hospital_has_on_record_what_all_have_of_its_patients(phantom_cohort: Cohort, study: StudyConfig) -> None:
    """Of the patients of others it has no record: there stands what the cohort holds."""
    dealt, everybody = deal(phantom_cohort, study), records(phantom_cohort, study)
    own = dealt.draws[0][dealt.draws[0]["hospital"] == "A"]
    found, plain = records_of(phantom_cohort, own, dealt.digitisers), true_records(phantom_cohort)
    mine = phantom_cohort.manifest["patient"].isin(own.index).to_numpy()
    assert mine.any() and not mine.all()
    for is_mine, expected in ((True, everybody), (False, plain)):
        rows = np.flatnonzero(mine == is_mine)
        assert np.array_equal(found.malignant[rows], expected.malignant[rows])
        assert [found.digitisers[row] for row in rows] == [expected.digitisers[row] for row in rows]


def test_records_without_error(phantom_cohort: Cohort) -> None:
    found = true_records(phantom_cohort)
    assert np.array_equal(found.malignant, phantom_cohort.manifest["malignant"])
    assert found.digitisers == (None,) * 46
