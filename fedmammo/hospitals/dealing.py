"""The dealer of a simulation: gives every hospital its patients and its site file. A hospital knows nothing of it."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fedmammo.cohort.store import FEATURES, Cohort, folder_of_features
from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.faults import FLIPPED
from fedmammo.config.sections import HospitalsConfig
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.hospitals.assignment import assign, hospital_names
from fedmammo.hospitals.demands import check_demands
from fedmammo.hospitals.digitiser import Digitiser, load_digitiser
from fedmammo.hospitals.holder import TRAIN, Holder, hold
from fedmammo.hospitals.profiles import Profile, profiles_of
from fedmammo.hospitals.site_file import SiteFile, write_site_file
from fedmammo.privacy.limits import strictest
from fedmammo.privacy.masks import public_key
from fedmammo.privacy.secret import Secret
from fedmammo.randomness import generator_of

NODES = "nodes.json"  # names of the holders in the order of their nodes, in the folder of all hospitals
COLUMNS = ("draw", "patient", "hospital", "digitiser", "exchanged")  # of a hospital's table of patients


class Dealt(NamedTuple):
    """Hospitals as a study deals them.

    Attributes:
        profiles: of the hospitals, in order.
        digitisers: those in use, by name.
        draws: for each draw a table of all patients, indexed by patient in sorted order: malignant, split, images,
            whatever else the cohort records, pseudonym, hospital, digitiser, exchanged.
    """

    profiles: list[Profile]
    digitisers: dict[str, Digitiser]
    draws: dict[int, pd.DataFrame]

    @property
    def names(self) -> list[str]:
        """The hospitals, in order."""
        return [profile.name for profile in self.profiles]

    @property
    def anew(self) -> bool:
        """Whether a hospital has other patients in another draw."""
        return len({tuple(table["hospital"]) for table in self.draws.values()}) > 1

    def held(self, cohort: Cohort, deployment: Deployment) -> dict[str, Holder]:
        """Return every hospital's holdings by name, in order, and those of `all`, as each works them out by itself."""
        patients = self.draws[deployment.draw]
        rows_of = cohort.rows_of_patients
        held = {name: patients[patients["hospital"] == name] for name in self.names} | {ALL: patients}
        return {name: hold(name, own, rows_of, deployment) for name, own in held.items()}


def names(cohort: Cohort, config: StudyConfig) -> list[str]:
    """List the hospitals of a study, in order."""
    return hospital_names(config.hospitals, cohort.patients)


def deal(cohort: Cohort, config: StudyConfig) -> Dealt:
    """Deal a cohort's patients to the hospitals of a study, once for each draw.

    Of the patients whom a hospital may train on, `label_noise` of its profile (a fraction, rounded to the nearest
    whole number of patients), or what a fault of the study flips, have their labels exchanged, benign for malignant, in
    all their images.

    Raises InputError for profiles or digitisers that cannot be loaded or that ask for what these patients cannot give,
    and where a hospital would have no training patient.
    """
    check_demands(cohort.patients, config.hospitals)
    config.check_named(hospital_names(config.hospitals, cohort.patients))
    patients = cohort.patients.sort_index()
    profiles = profiles_of(config.hospitals, hospital_names(config.hospitals, patients))
    digitiser_of = {one.name: load_digitiser(one.digitiser) for one in profiles if one.digitiser}
    may_train = patients["split"].isin(config.evaluation.splits_of_folds or [TRAIN])
    draws = {}
    for draw in config.hospitals.seed:
        hospital = hospitals_of(patients, config.hospitals, draw)
        exchanged = pd.Series(False, index=patients.index)
        for profile in profiles:
            own = patients.index[may_train & (hospital == profile.name)]
            generator = generator_of(draw, "hospitals", "label noise", profile.name)
            flipped = [fault.share for fault in config.faults_of(profile.name) if fault.kind == FLIPPED]
            noise = max([profile.label_noise, *flipped])
            exchanged[generator.permutation(own)[: round(noise * len(own))]] = True
        shown = hospital.map({name: one.digest for name, one in digitiser_of.items()}).fillna("").astype(str)
        draws[draw] = patients.drop(columns="hospital", errors="ignore").assign(
            pseudonym=cohort.pseudonyms, hospital=hospital, digitiser=shown, exchanged=exchanged
        )
    return Dealt(profiles, {one.digest: one for one in digitiser_of.values()}, draws)


def hospitals_of(patients: pd.DataFrame, config: HospitalsConfig, draw: int) -> pd.Series:
    """Assign every patient to a hospital by the rule, in one draw."""
    return assign(patients, config.model_copy(update={"seed": [draw]}))


def write_sites(folder: Path, config: StudyConfig, dealt: Dealt) -> list[Path]:
    """Write each hospital's site file and table of patients below `folder`; returns the site files, in order.

    The holder of all patients, whom an arm may need, comes last; it keeps to the strictest limits of all hospitals.
    The same study writes the same files, but for keys, which follow hospitals' secrets: where masks hide their sums,
    the dealer looks into these for what hospitals' people would tell each other.
    """
    tables = [table.assign(draw=draw, patient=table["pseudonym"]) for draw, table in dealt.draws.items()]
    table = pd.concat(tables, ignore_index=True)[list(COLUMNS)].sort_values(["draw", "patient"])
    engine, privacy, cohort = config.engine, config.privacy, config.cohort_folder.resolve()
    features = folder_of_features(cohort, engine.features, folder.resolve().parent)
    strategies = (deployment.federation.strategy.name for deployment in config.deployments)
    algorithms = sorted({name for name in strategies if ":" in name})
    holders: list[tuple[Profile, pd.DataFrame]] = [
        (profile, table[table["hospital"] == profile.name]) for profile in dealt.profiles
    ]
    if any(deployment.arm.pooled for deployment in config.deployments):
        limits = strictest([profile.privacy for profile in dealt.profiles])
        holders.append((Profile.model_construct(name=ALL, privacy=limits), table))
    keys: dict[str, str] = {}
    if any(deployment.trust == "secure" for deployment in config.deployments):
        keys = {name: public_key(Secret.of(folder / name, privacy.secret_seed)) for name in dealt.names}
    found = []
    for profile, own in holders:
        digitisers = sorted(set(own["digitiser"]) - {""})
        file = SiteFile(
            name=profile.name,
            kind="simulated",
            cohort=cohort,
            state=Path(),
            pools=Path("../../synthetic"),
            patients=Path("patients.csv"),
            features=None if features == cohort / FEATURES else features,
            digitisers={name: dealt.digitisers[name] for name in digitisers},
            limits=profile.privacy,
            scores=profile.scores,
            local_models="shared",  # everybody is in one room, and every model is scored on all tested patients
            minimum_count=profile.minimum_count,
            availability=profile.availability,
            faults=config.faults_of(profile.name),
            columns=[*config.evaluation.columns],
            peers={name: key for name, key in keys.items() if profile.name not in (name, ALL)},
            weights=config.weights,
            algorithms=algorithms,
            device=engine.device,
            threads=engine.threads_per_hospital,
            uplink_megabits_per_second=profile.uplink_megabits_per_second,
            images_per_second=profile.images_per_second,
            secret_seed=privacy.secret_seed,
        )
        path = folder / profile.name / "site.yaml"
        write_text(path.with_name("patients.csv"), own.to_csv(index=False))
        write_text(path, write_site_file(file))
        found.append(path)
    write_text(folder / NODES, json.dumps([path.parent.name for path in found]) + "\n")
    return found
