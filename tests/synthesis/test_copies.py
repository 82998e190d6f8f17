"""Nearest patients: by hand; a copy is found, also of a patient with several images."""

import numpy as np
import pytest

from fedmammo.synthesis.copies import nearest_patients


def test_by_hand() -> None:
    """2 is 1 from p's second image and 8 from q's; 9 is 1 from q's and 8 from p's second."""
    found = nearest_patients([[2.0], [9.0]], [[0.0], [1.0], [10.0]], ["p", "p", "q"])
    assert found.own.tolist() == [1, 2]
    assert found.other.tolist() == [2, 1]
    assert found.ratio.tolist() == pytest.approx([1 / 8, 1 / 8])


def test_a_copy_is_found_though_its_patient_has_a_second_image_like_it() -> None:
    generator = np.random.default_rng(0)
    training = np.repeat(generator.normal(size=(30, 8)), 2, axis=0) + 0.01 * generator.normal(size=(60, 8))
    patient = np.repeat(np.arange(30), 2)
    copies, others = training[::7], generator.normal(size=(40, 8))
    assert nearest_patients(copies, training, patient).ratio.tolist() == [0] * len(copies)
    assert nearest_patients(copies + 0.001, training, patient).ratio.max() < 0.02
    assert np.median(nearest_patients(others, training, patient).ratio) > 0.8


def test_without_another_patient_there_is_no_ratio() -> None:
    assert np.isnan(nearest_patients([[1.0]], [[0.0], [2.0]], ["p", "p"]).ratio).all()


def test_an_image_that_two_patients_share_tells_of_neither() -> None:
    found = nearest_patients([[1.0], [1.5]], [[1.0], [1.0], [4.0]], ["p", "q", "r"])
    assert np.isnan(found.ratio[0])
    assert found.ratio[1] == 1
