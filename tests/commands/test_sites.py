"""The page of hospitals, from drawn patients: it holds what it should, and is the same every time."""

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.commands.sites import look_at, write_sites
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.records import records_of
from fedmammo.report.sites import PRIVACY, check_suffix, save

PROFILES = {"by": "profiles", "profiles": ["university_hospital", "rural_clinic", "private_practice"]}


@pytest.fixture
def study(phantom_study: dict[str, Any]) -> StudyConfig:
    phantom_study["hospitals"] = {"assignment": PROFILES, "seed": 3}
    return parse(phantom_study, "small")


def quiet(text: str) -> None:
    """Take no notice of progress."""


@pytest.mark.parametrize("name", ["page.pdf", "page", "page.HTML.txt"])
def test_another_suffix_is_refused_before_anything_is_opened(name: str, small_study: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"page.*: expected a name that ends in \.html or \.png"):
        check_suffix(Path(name))
    with pytest.raises(InputError, match="ends in"):
        write_sites(Path(name), parse(small_study, "small"), quiet)


def test_what_is_seen_agrees_with_the_cohort(study: StudyConfig) -> None:
    cohort = Cohort.open(Path(study.cohort.path))
    seen = look_at(study, quiet)
    patients = cohort.patients
    assert seen.names == PROFILES["profiles"]
    assert seen.labels.to_numpy().sum() == seen.densities.to_numpy().sum() == len(patients)
    assert seen.labels["malignant"].sum() == patients["malignant"].sum()
    known = [int((patients["density"] == density).sum()) for density in range(1, 5)]
    assert seen.densities.sum().tolist() == [*known, 0]
    assert seen.columns == ["benign"] * 3 + ["malignant"] * 3
    assert list(seen.digitisers) == [
        "university_hospital\n(LUMISYS 200)",
        "rural_clinic\nprivate_practice\n(office flatbed)",
    ]
    assert list(seen.examples) == ["film", *seen.digitisers]
    for film in seen.examples["film"]:
        assert any((film == patch).all() for patch in cohort.patches)
    assert sum(values.size for values in seen.gray.values()) == cohort.patches.size
    assert len(np.unique(seen.gray["rural_clinic"])) <= 256
    assert seen.differing["hospital"].tolist() == seen.names
    assert seen.differing["p"].between(0.001, 1).all()


def test_an_example_is_shown_as_its_own_hospital_would(study: StudyConfig) -> None:
    """The noise of an image is that of the study's inputs."""
    cohort = Cohort.open(Path(study.cohort.path))
    dealt = deal(cohort, study)
    records = records_of(cohort, dealt.draws[3], dealt.digitisers)
    inputs = Inputs(cohort, study.diagnosis, torch.device("cpu"), records)
    seen = look_at(study, quiet)
    shown = {patch.tobytes() for patches in list(seen.examples.values())[1:] for patch in patches}
    own = [inputs.patch(row).tobytes() in shown for row in range(len(cohort.patches))]
    assert sum(own) >= len(seen.columns)


def test_a_page_is_the_same_every_time(study: StudyConfig, tmp_path: Path) -> None:
    """And so are the four pictures in it."""
    for name in ("one", "two"):
        write_sites(tmp_path / f"{name}.html", study, quiet)
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert PRIVACY in html.unescape(page)
    assert len(re.findall(r"<img ", page)) == 4
    for text in ("prevalence asked", "feature distance", "Draw 3", "university_hospital"):
        assert text in page


def test_of_many_hospitals_without_digitisers_the_first_are_drawn_and_the_film_only(
    study: StudyConfig, tmp_path: Path
) -> None:
    """20 training patients at 14 hospitals: 12 in pictures, all in the tables of the page."""
    config = study.model_dump()
    config["hospitals"]["assignment"] = {"by": "uniform", "count": 14}
    chosen = parse(config, "small")
    seen = look_at(chosen, quiet)
    assert seen.names == [f"hospital-{number}" for number in range(1, 13)]
    assert seen.note.endswith("The first 12 of 14 hospitals are drawn.")
    assert len(seen.differing) == 14
    save(tmp_path / "page.html", seen)
    page = (tmp_path / "page.html").read_text()
    assert "hospital-14" in page and "asked</td>" not in page
    assert len(re.findall(r"<img ", page)) == 3
    write_sites(tmp_path / "page.png", chosen, quiet)
    picture = (tmp_path / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 3_000_000
