import numpy as np
import pytest

from fedmammo.phantom.masses import Mass
from fedmammo.phantom.patients import LESIONS, Patient, draw_patient

PATIENTS = 2000


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [draw_patient(number, 8, 0.5, LESIONS) for number in range(1, PATIENTS + 1)]


def test_a_patient_depends_on_number_and_seed_only(patients):
    assert draw_patient(77, 8, 0.5, LESIONS) == patients[76]
    assert draw_patient(77, 9, 0.5, LESIONS) != patients[76]


def test_density_and_malignancy_have_their_rates(patients):
    """The standard error of a rate of .42 among 2000 is .011; .045 is four of them."""
    for density, rate in ((1, 0.109), (2, 0.421), (3, 0.389), (4, 0.081)):
        assert np.mean([p.density == density for p in patients]) == pytest.approx(rate, abs=0.045)
    assert np.mean([p.malignant for p in patients]) == pytest.approx(0.5, abs=0.045)


def test_rows_per_patient(patients):
    """1.05 breasts, 1.75 views of each and 1.1 lesions in each: 2.02 rows a patient, most of them with two."""
    rows = [sum(len(b.views) * len(b.findings) for b in p.breasts) for p in patients]
    assert np.mean(rows) == pytest.approx(1.05 * 1.75 * 1.1, abs=0.1)
    assert min(rows) == 1 and max(rows) <= 8
    assert np.bincount(rows).argmax() == 2


def test_verdicts_agree_with_the_lesions(patients):
    allowed = {"BENIGN": {2, 3, 4, 5}, "BENIGN_WITHOUT_CALLBACK": {2}, "MALIGNANT": {3, 4, 5}}
    findings = [f for p in patients for b in p.breasts for f in b.findings]
    for finding in findings:
        assert finding.assessment in allowed[finding.pathology]
        assert finding.lesion.malignant == (finding.pathology == "MALIGNANT")
    assert {f.pathology for f in findings} == set(allowed)


def test_some_malignant_patients_hold_a_benign_lesion_too_but_few(patients):
    mixed = [p for p in patients if len({f.lesion.malignant for b in p.breasts for f in b.findings}) == 2]
    assert 0 < len(mixed) < 0.1 * PATIENTS


def test_sides_and_views_are_in_order_and_not_repeated(patients):
    for patient in patients:
        assert [b.side for b in patient.breasts] in (["LEFT"], ["RIGHT"], ["LEFT", "RIGHT"])
        assert all(b.views in (("CC",), ("MLO",), ("CC", "MLO")) for b in patient.breasts)


def test_kinds_are_drawn_as_asked(patients):
    """Of some 2300 lesions half are masses: the standard error is .01."""
    masses = [isinstance(f.lesion, Mass) for p in patients for b in p.breasts for f in b.findings]
    assert np.mean(masses) == pytest.approx(0.5, abs=0.05)
    for kind in LESIONS:
        only = [draw_patient(n, 8, 0.5, (kind,)) for n in range(1, 50)]
        assert {isinstance(f.lesion, Mass) for p in only for b in p.breasts for f in b.findings} == {kind == "mass"}


def test_assessments_have_their_rates(patients):
    """Of 392 malignant records of category 3 to 5 285 are 5, of 423 benign ones of 2 to 5 365 are 4; no lesion that
    was not followed up is among these.
    """
    findings = [f for p in patients for b in p.breasts for f in b.findings]
    for pathology, category, rate in (("MALIGNANT", 5, 285 / 392), ("BENIGN", 4, 365 / 423)):
        given = [f.assessment for f in findings if f.pathology == pathology]
        assert np.mean(np.array(given) == category) == pytest.approx(rate, abs=0.05)
