"""The dealer of a simulation: every patient at one hospital, in every draw, and a site file for each hospital."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.cohort.store import Cohort
from fedmammo.config.arm import ALL
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.hospitals.assignment import assign
from fedmammo.hospitals.dealing import NODES, deal, hospitals_of, names, write_sites
from fedmammo.hospitals.holder import Holder
from fedmammo.hospitals.site_file import read_site_file

Row = tuple[bool, int, str]
PRIVATE = ["real", "real-epsilon-6"]
OWN = "fedmammo.strategies.base:BaseStrategy"  # named by its import path, as somebody else's would be


def cohort(patients: list[Row], shuffle: int = 0) -> Cohort:
    """A cohort of patients (malignant, images, split), whose images lie in any order."""
    rows = [
        {"patient": f"P_{number:05d}", "image": f"{number}-{image}", "malignant": label, "density": 2, "split": split}
        for number, (label, images, split) in enumerate(patients)
        for image in range(images)
    ]
    manifest = pd.DataFrame(rows).sample(frac=1, random_state=shuffle).reset_index(drop=True)
    return Cohort(Path("nowhere"), manifest, np.empty(0), b"", Path())  # type: ignore[arg-type]


def study(count: int = 3, settings: list[str] | None = None, **evaluation: Any) -> StudyConfig:
    if evaluation.get("folds"):
        evaluation["folds_over"] = ["train", "val", "test"]
    return parse(
        {
            "name": "small",
            "cohort": {"path": "nowhere"},
            "hospitals": {"assignment": {"by": "uniform", "count": count}},
            "diagnosis": {"network": "test_vit", "image_size": 32, "optimizer": {"learning_rate": 0.1}},
            "federation": {"rounds": 1, "local_steps": 1},
            "evaluation": evaluation,
            "settings": settings or ["real"],
        },
        "small",
    )


def held(of: Cohort, config: StudyConfig, seed: int = 0, fold: int = 0) -> dict[str, Holder]:
    return deal(of, config).held(of, config.deployment("federated", "real", seed, 0, fold))


def patients_of(cohort: Cohort, rows: np.ndarray) -> set[str]:
    return set(cohort.manifest["patient"].iloc[rows])


def training_rows(holder: Holder) -> np.ndarray:
    return np.sort(np.concatenate(holder.training))


def check_holders(
    of: Cohort, config: StudyConfig, found: dict[str, Holder], trained: set[str], tested: set[str]
) -> None:
    """Whole patients, each in one part of one hospital; `all` is the union of the hospitals."""
    hospital_of = deal(of, config).draws[0]["hospital"]
    assert list(found) == [*names(of, config), ALL]
    for name, holder in found.items():
        own = set(hospital_of.index) if name == ALL else set(hospital_of.index[hospital_of == name])
        parts = [training_rows(holder), holder.validation, holder.test]
        patients = [patients_of(of, part) for part in parts]
        assert patients[0] | patients[1] == trained & own
        assert patients[2] == tested & own
        assert sum(map(len, patients)) == len(set.union(*patients)), "no patient in two parts"
        assert sum(map(len, parts)) == of.manifest["patient"].isin(set.union(*patients)).sum(), "patients are whole"
        for rows in holder.training:
            assert len(patients_of(of, rows)) == 1
        first = [of.manifest["patient"].iloc[rows[0]] for rows in holder.training]
        assert first == sorted(first)
        assert holder.rows.tolist() == sorted(np.concatenate(parts))
    hospitals = [found[name] for name in names(of, config)]
    for part in (training_rows, lambda holder: holder.validation, lambda holder: holder.test):
        assert part(found[ALL]).tolist() == sorted(np.concatenate([part(holder) for holder in hospitals]))


many_patients = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.sampled_from(["train", "train", "test", "val"])),
    min_size=12,
    max_size=60,
).map(lambda rows: [(True, 1, "train"), (False, 2, "train"), (True, 1, "train"), (False, 1, "test"), *rows])


@settings(max_examples=25, deadline=None)
@given(patients=many_patients, shuffle=st.integers(0, 9))
def test_without_folds_splits_say_who_trains_and_who_is_tested(patients: list[Row], shuffle: int) -> None:
    of, config = cohort(patients, shuffle), study()
    split = of.patients["split"]
    check_holders(of, config, held(of, config), set(split.index[split == "train"]), set(split.index[split == "test"]))


@settings(max_examples=15, deadline=None)
@given(malignant=st.integers(8, 20), benign=st.integers(8, 20), folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_folds_test_every_patient_once(malignant: int, benign: int, folds: int, seed: int) -> None:
    """Stratified: at a hospital the counts of malignant patients differ by at most 1 between folds, and benign ones."""
    splits = ["train", "test", "val"]
    of = cohort([(number < malignant, 1 + number % 3, splits[number % 3]) for number in range(malignant + benign)])
    config = study(count=2, folds=folds)
    everybody, tested = set(of.patients.index), []
    for fold in range(folds):
        found = held(of, config, seed, fold)
        test = patients_of(of, found[ALL].test)
        check_holders(of, config, found, everybody - test, test)
        tested.append([patients_of(of, holder.test) for holder in found.values()])
    for of_holder in zip(*tested, strict=True):
        assert sum(map(len, of_holder)) == len(set.union(*of_holder))
    assert set.union(*(one[-1] for one in tested)) == everybody
    for number in range(2):
        for label in (True, False):
            counts = [int((of.patients["malignant"].loc[sorted(one[number])] == label).sum()) for one in tested]
            assert max(counts) - min(counts) <= 1


def test_folds_are_dealt_anew_for_each_seed_and_hospitals_are_not() -> None:
    of, config = cohort([(number % 2 == 0, 2, "train") for number in range(30)]), study(folds=3)
    first, again, other = (held(of, config, seed) for seed in (0, 0, 1))
    assert first[ALL].test.tolist() == again[ALL].test.tolist()
    assert first[ALL].test.tolist() != other[ALL].test.tolist()
    for name in names(of, config):
        assert patients_of(of, first[name].rows) == patients_of(of, other[name].rows)


def test_validation_is_the_same_in_every_arm_and_seed() -> None:
    """A fifth of each hospital's 10 training patients, 5 of them malignant: one benign and one malignant, or so."""
    of, config = cohort([(number % 2 == 0, 2, "train") for number in range(30)] + [(True, 1, "test")]), study()
    found, other = held(of, config), held(of, config, seed=7)
    for name in names(of, config):
        assert len(patients_of(of, found[name].validation)) == 2
        assert found[name].validation.tolist() == other[name].validation.tolist()
        assert set(found[name].validation) <= set(found[ALL].validation)
    assert len(patients_of(of, found[ALL].validation)) == 6


@settings(max_examples=15, deadline=None)
@given(patients=many_patients, shuffle=st.integers(1, 9), settings_=st.sampled_from([["real"], PRIVATE]))
def test_patients_are_held_alike_whatever_the_order_of_images(
    patients: list[Row], shuffle: int, settings_: list[str]
) -> None:
    for config in (study(settings=settings_), study(settings=settings_, folds=2)):
        first, second = cohort(patients, 0), cohort(patients, shuffle)
        try:
            found = held(first, config, fold=1 if config.evaluation.folds else 0)
        except InputError as refused:  # a fold may leave a small hospital nobody to train on
            with pytest.raises(InputError, match=re.escape(str(refused))):
                held(second, config, fold=1 if config.evaluation.folds else 0)
            continue
        others = held(second, config, fold=1 if config.evaluation.folds else 0)
        for name, holder in found.items():
            assert patients_of(first, holder.test) == patients_of(second, others[name].test)
            assert patients_of(first, holder.validation) == patients_of(second, others[name].validation)


@settings(max_examples=15, deadline=None)
@given(patients=many_patients, who=st.integers(0, 60), folds=st.sampled_from([0, 2]))
def test_a_label_moves_nobody_in_a_study_with_a_budget(patients: list[Row], who: int, folds: int) -> None:
    """From the cohort on: hospitals, training, validation, tests, folds and every number that is declared."""
    label, images, split = patients[who % len(patients)]
    other = list(patients)
    other[who % len(patients)] = (not label, images, split)
    config = study(settings=PRIVATE, folds=folds)
    first, second = cohort(patients), cohort(other)
    assert deal(first, config).draws[0]["hospital"].equals(deal(second, config).draws[0]["hospital"])
    for fold in range(max(1, folds)):
        try:
            found = held(first, config, fold=fold)
        except InputError:
            with pytest.raises(InputError):
                held(second, config, fold=fold)
            continue
        for name, holder in held(second, config, fold=fold).items():
            assert [own.tolist() for own in holder.training] == [own.tolist() for own in found[name].training]
            for part in ("validation", "test"):
                assert getattr(holder, part).tolist() == getattr(found[name], part).tolist()
            assert (holder.trained, holder.shown) == (found[name].trained, found[name].shown)


def test_a_hospital_whose_patients_are_all_tested_has_none_to_train_on() -> None:
    """Ten hospitals of one patient each: whoever is tested has nobody left."""
    of = cohort([(number % 2 == 0, 1, "train") for number in range(10)])
    with pytest.raises(InputError, match=r"^hospital-\d+: no patient is left to train on in fold \d of seed 0; use"):
        for fold in range(5):
            held(of, study(count=10, folds=5), fold=fold)


# Draws


@pytest.fixture
def content(phantom_study: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Two hospitals with profiles, the first with a digitiser, faults and limits of its own; two draws."""
    a = {"name": "A", "label_noise": 0.25, "digitiser": "howtek_960", "share": 2, "images_per_second": 3.0}
    a |= {"privacy": {"maximum_epsilon": 7.0, "without_budget": "accepted"}, "scores": "rows"}
    b = {"name": "B", "privacy": {"lifetime_epsilon": 9.0, "without_budget": "accepted", "central_trust": "accepted"}}
    for profile in (a, b):
        (tmp_path / f"{profile['name']}.yaml").write_text(yaml.safe_dump(profile))
    profiles = {"by": "profiles", "profiles": [str(tmp_path / "A.yaml"), str(tmp_path / "B.yaml")]}
    return phantom_study | {"hospitals": {"assignment": profiles, "seed": [3, 1]}}


def test_each_draw_deals_everybody_by_the_rule(phantom_cohort: Cohort, content: dict[str, Any]) -> None:
    config = parse(content, "small")
    dealt = deal(phantom_cohort, config)
    assert dealt.names == names(phantom_cohort, config) == ["A", "B"]
    assert list(dealt.draws) == [3, 1]
    for draw, table in dealt.draws.items():
        assert table.index.equals(phantom_cohort.patients.index)
        assert table["pseudonym"].equals(phantom_cohort.pseudonyms)
        hospitals = config.hospitals.model_copy(update={"seed": [draw]})
        assert table["hospital"].equals(assign(phantom_cohort.patients, hospitals))
        assert table["hospital"].equals(hospitals_of(phantom_cohort.patients, config.hospitals, draw))
        assert set(table.loc[table["hospital"] == "A", "digitiser"]) == set(dealt.digitisers)
        assert set(table.loc[table["hospital"] == "B", "digitiser"]) == {""}
        train = table[table["split"] == "train"].groupby("hospital")["exchanged"]
        assert train.sum().to_dict() == {"A": round(0.25 * train.size()["A"]), "B": 0}
        assert not table.loc[table["split"] != "train", "exchanged"].any()
    assert not dealt.draws[3]["hospital"].equals(dealt.draws[1]["hospital"])


def test_a_draw_is_the_same_whether_or_not_there_is_another(phantom_cohort: Cohort, content: dict[str, Any]) -> None:
    both = deal(phantom_cohort, parse(content, "small"))
    alone = deal(phantom_cohort, parse(content | {"hospitals": content["hospitals"] | {"seed": 1}}, "small"))
    pd.testing.assert_frame_equal(both.draws[1], alone.draws[1])


def test_with_folds_labels_of_all_splits_may_be_wrong(phantom_cohort: Cohort, content: dict[str, Any]) -> None:
    """Everybody trains in some fold."""
    table = deal(
        phantom_cohort, parse(content | {"evaluation": {"folds": 2, "folds_over": ["train", "val", "test"]}}, "small")
    ).draws[3]
    at_a = table[table["hospital"] == "A"]
    assert at_a["exchanged"].sum() == round(0.25 * len(at_a))


# Site files


def test_every_hospital_gets_its_site_file(phantom_cohort: Cohort, content: dict[str, Any], tmp_path: Path) -> None:
    config = parse(content, "small")
    dealt = deal(phantom_cohort, config)
    paths = write_sites(tmp_path / "hospitals", config, dealt)
    assert [path.parent.name for path in paths] == ["A", "B", ALL]
    assert json.loads((tmp_path / "hospitals" / NODES).read_text()) == ["A", "B", ALL]
    a, b, everybody = map(read_site_file, paths)
    for file, path in zip((a, b, everybody), paths, strict=True):
        assert (file.name, file.kind, file.state) == (path.parent.name, "simulated", path.parent)
        assert file.cohort == phantom_cohort.folder.resolve()
        assert file.pools is not None and file.pools.resolve() == (tmp_path / "synthetic").resolve()
        assert file.secret_seed is None and file.scores == "rows" and file.algorithms == []
        assert file.peers == {} and not (path.parent / "secret").exists(), "only masks need keys"
    assert a.images_per_second == 3 and b.images_per_second == 20
    assert a.digitisers == dealt.digitisers == everybody.digitisers and b.digitisers == {}
    assert a.limits == dealt.profiles[0].privacy and b.limits == dealt.profiles[1].privacy
    strict = everybody.limits
    assert (strict.maximum_epsilon, strict.lifetime_epsilon, strict.central_trust) == (7, 9, "refused")
    assert strict.without_budget == "accepted"


def test_tables_hold_pseudonyms_of_a_hospitals_own_patients(
    phantom_cohort: Cohort, content: dict[str, Any], tmp_path: Path
) -> None:
    """In each draw; together they are everybody, who are in the table of the holder of all patients."""
    config = parse(content, "small")
    dealt = deal(phantom_cohort, config)
    paths = write_sites(tmp_path, config, dealt)
    tables = {path.parent.name: pd.read_csv(path.with_name("patients.csv"), na_filter=False) for path in paths}
    columns = ["draw", "patient", "hospital", "digitiser", "exchanged"]
    assert all(list(table) == columns for table in tables.values())
    both = pd.concat([tables["A"], tables["B"]]).sort_values(["draw", "patient"], ignore_index=True)
    pd.testing.assert_frame_equal(both, tables[ALL])
    assert set(tables["A"]["hospital"]) == {"A"}
    for draw, table in dealt.draws.items():
        own = tables["A"][tables["A"]["draw"] == draw]
        assert set(own["patient"]) == set(table.loc[table["hospital"] == "A", "pseudonym"])
        assert set(own.loc[own["exchanged"], "patient"]) == set(table.loc[table["exchanged"], "pseudonym"])
    identities = set(phantom_cohort.manifest["patient"])
    for path in tmp_path.rglob("*/*"):
        assert not any(identity in path.read_text() for identity in identities)


def test_the_same_study_writes_the_same_files(phantom_cohort: Cohort, content: dict[str, Any], tmp_path: Path) -> None:
    config = parse(content, "small")
    dealt = deal(phantom_cohort, config)
    for folder in ("one", "two"):
        write_sites(tmp_path / folder, config, dealt)
    first, second = (
        {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "two")
    )
    assert first == second and len(first) == 2 * 3 + 1


def test_what_a_study_says_of_computers_and_algorithms(
    phantom_cohort: Cohort, content: dict[str, Any], tmp_path: Path
) -> None:
    """Weights by their digest; the holder of all patients is there only where an arm pools them."""
    (tmp_path / "weights").write_bytes(b"tensors")
    content["diagnosis"]["weights"] = str(tmp_path / "weights")
    content["engine"] |= {"threads_per_hospital": 2}
    content["federation"]["strategy"] = {"name": OWN}
    content |= {"arms": ["local", "federated"], "privacy": {"secret_seed": 5}}
    config = parse(content, "small")
    paths = write_sites(tmp_path / "hospitals", config, deal(phantom_cohort, config))
    assert [path.parent.name for path in paths] == ["A", "B"]
    for file in map(read_site_file, paths):
        assert (file.threads, file.device, file.secret_seed) == (2, "cpu", 5)
        assert file.weights == config.weights and len(file.weights) == 1
        assert file.algorithms == [OWN]
