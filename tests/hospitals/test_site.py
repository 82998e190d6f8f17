"""A site knows what its own file says; what it works out is what the dealer of the simulation would."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.hospitals.dealing import deal, write_sites
from fedmammo.hospitals.holder import Holder
from fedmammo.hospitals.records import records_of, true_records
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SiteFile, write_site_file
from fedmammo.privacy.reasons import RefusalError


def plain(holder: Holder) -> dict[str, Any]:
    """A holder whose arrays can be compared."""
    arrays = {"training": [own.tolist() for own in holder.training]}
    arrays |= {part: getattr(holder, part).tolist() for part in ("validation", "test")}
    return arrays | {"name": holder.name, "trained": holder.trained, "shown": holder.shown}


@pytest.fixture
def study(phantom_study: dict[str, Any], tmp_path: Path) -> StudyConfig:
    """Two hospitals, one with wrong labels and a digitiser, in two draws."""
    (tmp_path / "a.yaml").write_text("{name: A, label_noise: 0.25, digitiser: howtek_960}")
    (tmp_path / "b.yaml").write_text("{name: B, share: 2}")
    profiles = {"by": "profiles", "profiles": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]}
    return parse(phantom_study | {"hospitals": {"assignment": profiles, "seed": [0, 1]}, "seeds": [0, 3]}, "small")


@pytest.fixture
def real(phantom_cohort: Cohort, tmp_path: Path) -> Path:
    """The file of a real hospital, whose cohort is all its own."""
    path = tmp_path / "real/site.yaml"
    path.parent.mkdir()
    path.write_text(write_site_file(SiteFile(name="H", cohort=phantom_cohort.folder, state=Path("state"))))
    return path


@pytest.mark.parametrize("folds", [0, 3])
@pytest.mark.parametrize("settings", [["real"], ["real", "real-epsilon-6"]])
def test_a_sites_own_division_is_the_dealers(
    study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path, folds: int, settings: list[str]
) -> None:
    """In every arm, setting, seed, draw and fold, from the site's file alone."""
    content = study.model_dump() | {"evaluation": {"folds": folds}, "settings": {name: {} for name in settings}}
    config = parse(content, "small")
    dealt = deal(phantom_cohort, config)
    sites = {path.parent.name: Site.open(path) for path in write_sites(tmp_path / "hospitals", config, dealt)}
    assert list(sites) == ["A", "B", ALL]
    seen = set()
    for one in config.deployments:
        held = dealt.held(phantom_cohort, one)
        assert {name: plain(site.holder(one)) for name, site in sites.items()} == {
            name: plain(holder) for name, holder in held.items()
        }
        seen.add(sites["A"].holder(one).trained)
    assert len(seen) > 2 * folds if folds else len(seen) == 2, "two draws, and with folds two seeds"


def test_a_sites_records_are_the_dealers(study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    dealt = deal(phantom_cohort, study)
    for path in write_sites(tmp_path / "hospitals", study, dealt):
        site = Site.open(path)
        for draw, table in dealt.draws.items():
            own = table if site.name == ALL else table[table["hospital"] == site.name]
            expected = records_of(phantom_cohort, own, dealt.digitisers)
            assert np.array_equal(site.records(draw).malignant, expected.malignant)
            assert site.records(draw).digitisers == expected.digitisers


def test_a_draw_that_the_table_does_not_have(study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    site = Site.open(write_sites(tmp_path, study, deal(phantom_cohort, study))[0])
    with pytest.raises(InputError, match=r"patients\.csv: has no patients of draw 7"):
        site.patients(7)
    (tmp_path / "B/patients.csv").write_text("draw,hospital\n0,B\n")
    with pytest.raises((InputError, KeyError)):
        Site.open(tmp_path / "B/site.yaml").patients(0)


def test_a_real_hospital_holds_its_whole_cohort_as_it_is(
    real: Path, study: StudyConfig, phantom_cohort: Cohort
) -> None:
    """Draws are a thing of simulations: there it is the same hospital in each."""
    site = Site.open(real)
    first, other = (site.patients(draw) for draw in (0, 1))
    assert first.equals(other) and first.index.equals(phantom_cohort.patients.index)
    assert set(first["hospital"]) == {"H"}
    records, expected = site.records(0), true_records(phantom_cohort)
    assert np.array_equal(records.malignant, expected.malignant) and records.digitisers == expected.digitisers
    holder = site.holder(study.deployment("federated", "real"))
    assert (len(holder.training), len(holder.rows)) == (16, 46)
    assert holder.name == "H" and len(holder.shown) == 4 + 4


# Opened once


def test_a_process_opens_a_site_once_and_again_when_its_file_changed(real: Path) -> None:
    first = Site.open(real)
    assert Site.open(real) is first and Site.open(real).cohort is first.cohort
    real.write_text(real.read_text() + "threads: 2\n")
    os.utime(real, ns=(1, 1))  # clocks of file systems are coarse
    assert Site.open(real).file.threads == 2
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        Site.open(real.with_name("nowhere"))


def test_pools_lie_in_the_state_unless_told(real: Path, tmp_path: Path) -> None:
    assert Site.open(real).pools == real.parent / "state/pools"
    real.write_text(real.read_text() + f"pools: {tmp_path / 'pools'}\n")
    os.utime(real, ns=(2, 2))
    assert Site.open(real).pools == tmp_path / "pools"


def test_what_a_hospital_writes_is_its_own_to_read(real: Path, study: StudyConfig) -> None:
    site = Site.open(real)
    before = os.umask(0o022)
    try:
        Site.open(real).keep(study.deployment("federated", "real"))
        (kept,) = (site.folder / "deployments").iterdir()
        assert kept.stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


# Deployments, by their digests


def test_a_deployment_is_kept_by_its_digest(real: Path, study: StudyConfig) -> None:
    """Also over a restart: another process reads what this one kept."""
    site, deployment = Site.open(real), study.deployment("federated", "real")
    with pytest.raises(RefusalError, match="no deployment of this digest was agreed to here"):
        site.deployment(deployment.digest)
    site.keep(deployment)
    assert site.deployment(deployment.digest) is deployment
    restarted = Site(site.file)
    assert restarted.deployment(deployment.digest) == deployment
    assert [path.stem for path in (site.folder / "deployments").iterdir()] == [deployment.digest]


@pytest.mark.parametrize("digest", ["", "x" * 64, "A" * 64, "0" * 63, "../../secret", "0" * 62 + "/."])
def test_what_is_no_digest_names_no_file(real: Path, digest: str) -> None:
    with pytest.raises(RefusalError, match="that is not a digest"):
        Site.open(real).deployment(digest)


def test_people_approve_a_study_whatever_the_seed(real: Path, study: StudyConfig) -> None:
    site, deployment = Site.open(real), study.deployment("federated", "real")
    other = study.deployment("local", "real")
    assert site.approval_of(deployment) == "missing"
    site.approve(deployment.study)
    site.approve(deployment.study)
    assert site.approved == {deployment.study: site.cohort.digest}
    assert site.approval_of(study.deployment("federated", "real", seed=3, draw=1)) == "given"
    assert site.approval_of(other) == "missing"
    site.approve(other.study)
    assert json.loads((site.folder / "approved.json").read_text()).keys() == {deployment.study, other.study}


def test_another_cohort_at_the_same_path_is_not_the_one_that_was_agreed_to(
    real: Path, study: StudyConfig, own_cohort: Cohort, phantom_cohort: Cohort, write_part: Callable[..., None]
) -> None:
    content = yaml.safe_load(real.read_text()) | {"cohort": str(own_cohort.folder)}
    real.write_text(yaml.safe_dump(content))
    deployment = study.deployment("federated", "real")
    Site.open(real).approve(deployment.study)
    assert Site.open(real).approval_of(deployment) == "given"
    moved = own_cohort.folder.rename(own_cohort.folder.with_name("before"))
    write_part(phantom_cohort, own_cohort.folder, phantom_cohort.patients.index[1:])
    assert Site.open(real).approval_of(deployment) == "of another cohort"
    shutil.rmtree(own_cohort.folder)
    moved.rename(own_cohort.folder)
    assert Site.open(real).approval_of(deployment) == "given"


def test_a_simulated_hospital_has_nobody_to_ask(study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path) -> None:
    site = Site.open(write_sites(tmp_path, study, deal(phantom_cohort, study))[0])
    assert {site.approval_of(one) for one in study.deployments} == {"given"}


def test_names_in_a_simulation_are_those_of_its_folders_and_else_digests(
    real: Path, study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """At a real hospital two studies may use the same names."""
    simulated = Site.open(write_sites(tmp_path / "hospitals", study, deal(phantom_cohort, study))[0])
    one = study.deployment("federated", "real")
    same_name: Deployment = one.model_copy(update={"federation": one.federation.model_copy(update={"rounds": 9})})
    assert simulated.name_of(one) == one.name == same_name.name
    assert simulated.name_of(one, "generator-x") == "generator-x"
    site = Site.open(real)
    assert site.name_of(one) == one.digest[:32] != site.name_of(same_name)
    assert site.name_of(one, "generator-x") == f"{one.study[:16]}-generator-x" != site.name_of(same_name, "generator-x")


def test_one_odometer_counts_everything_at_a_real_hospital_alone(
    real: Path, study: StudyConfig, phantom_cohort: Cohort, tmp_path: Path
) -> None:
    assert Site.open(real).odometer.one_for_all
    simulated = Site.open(write_sites(tmp_path / "hospitals", study, deal(phantom_cohort, study))[0])
    assert not simulated.odometer.one_for_all
