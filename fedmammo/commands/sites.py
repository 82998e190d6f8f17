"""Gathers what there is to see of a study's hospitals, and has it drawn: case mix, films by digitiser, distances."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.inputs import FEATURES_AT_ONCE, Inputs
from fedmammo.hospitals.assignment import density_classes
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.demands import ignored_demands
from fedmammo.hospitals.digitiser import Digitiser, load_digitiser
from fedmammo.hospitals.kernel_distance import kernel_distances
from fedmammo.hospitals.profiles import Profile
from fedmammo.hospitals.records import records_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.hospitals.summary import distances, holdings
from fedmammo.randomness import generator_of
from fedmammo.report.hospital_figures import DENSITIES
from fedmammo.report.sites import check_suffix, save
from fedmammo.report.view import View
from fedmammo.stages.opened import pick_device

_EXAMPLES = 3  # benign ones, and as many malignant ones
_IMAGES = 200  # of a hospital, at most, whose gray values are counted
_DRAWN = 12  # hospitals, at most, in a picture


def write_sites(path: Path, config: StudyConfig, report: Callable[[str], None]) -> None:
    """Write the hospitals of a study, in their first draw, as a page (.html) or as one picture (.png).

    Computes the features of all images, which the study will use again. `report` is told what is being done. Raises
    InputError for another suffix, and for whatever the study asks for that is not there.
    """
    check_suffix(path)
    found = look_at(config, report)
    report(f"drawing {path}")
    save(path, found)


def look_at(config: StudyConfig, report: Callable[[str], None]) -> View:
    """Gather what a page shows of the study's hospitals in their first draw.

    Computes the features of all images, which the study will use again; `report` is told what is being done.
    """
    elsewhere = config.engine.features
    cohort = open_cohort(config.cohort_folder, Path(elsewhere) if elsewhere else None)
    dealt = deal(cohort, config)
    table = dealt.draws[config.hospitals.draw]
    inputs = Inputs(
        cohort, config.diagnosis, pick_device(config.engine.device), records_of(cohort, table, dealt.digitisers)
    )
    torch.set_num_threads(config.engine.threads_per_hospital)
    patients, hospitals, hospital_of = cohort.patients, dealt.names, table["hospital"]
    of_image = cohort.manifest["patient"].map(hospital_of)
    draw = config.hospitals.draw

    features = _features(cohort, inputs, report)
    differing = distances(patients, hospital_of).merge(
        kernel_distances(features, cohort.manifest["patient"], of_image, draw), on="hospital"
    )
    report("looking at images")
    drawn = hospitals[:_DRAWN]
    counts = hospital_of.loc[patients.index].to_numpy()
    classes = pd.Categorical([DENSITIES[number - 1] for number in density_classes(patients)], DENSITIES)
    benign = pd.Categorical(np.where(patients["malignant"], "malignant", "benign"), ["benign", "malignant"])

    rows = _examples(cohort.manifest, draw)
    digitisers = _digitisers(dealt.profiles)
    how = config.diagnosis.harmonisation
    shown = {"film": [harmonise(cohort.patches[row], how, None) for row in rows]}
    for label, digitiser in digitisers.items():
        looks = [digitiser.show(cohort.patches[row], str(cohort.manifest["image"].iat[row])) for row in rows]
        shown[label] = [harmonise(look, how, digitiser) for look in looks]

    gray = {}
    for name in drawn:
        own = np.flatnonzero(of_image == name)
        chosen = generator_of(draw, "report", "gray values", name).permutation(own)[:_IMAGES]
        gray[name] = np.concatenate([inputs.patch(row).ravel() for row in chosen])
    return View(
        title=f"Hospitals of {config.name}",
        note=f"Draw {draw} of {config.cohort.path}; harmonisation {how}."
        + "".join(f" {line.capitalize()}." for line in ignored_demands(patients, config.hospitals))
        + (f" The first {_DRAWN} of {len(hospitals)} hospitals are drawn." if len(hospitals) > _DRAWN else ""),
        names=drawn,
        held=holdings(patients, hospital_of, config.hospitals),
        differing=differing.set_index("hospital").loc[hospitals].reset_index(),
        labels=pd.crosstab(counts, benign, dropna=False).loc[drawn],
        densities=pd.crosstab(counts, classes, dropna=False).loc[drawn],
        columns=["malignant" if cohort.manifest["malignant"].iloc[row] else "benign" for row in rows],
        examples=shown,
        digitisers=digitisers,
        gray=gray,
    )


def _features(cohort: Cohort, inputs: Inputs, report: Callable[[str], None]) -> NDArray[np.float32]:
    """Return what the head reads of every image, centred and scaled: images x columns."""
    rows = np.arange(len(cohort.manifest))
    classifier = inputs.classifier.train(False)
    parts = []
    for start in range(0, len(rows), FEATURES_AT_ONCE):
        report(f"features of image {start + 1} of {len(rows)}")
        part = rows[start : start + FEATURES_AT_ONCE]
        inputs.compute(part)
        with torch.no_grad():
            readout = classifier.readout(inputs.read(part, np.zeros_like(part)))
            parts.append(((readout - classifier.center) / classifier.scale).cpu().numpy())
    return np.concatenate(parts)


def _digitisers(profiles: list[Profile]) -> dict[str, Digitiser]:
    """Return the digitisers in use by a label that names their hospitals."""
    users: dict[Digitiser, list[str]] = {}
    for profile in profiles[:_DRAWN]:
        if profile.digitiser is not None:
            users.setdefault(load_digitiser(profile.digitiser), []).append(profile.name)
    return {"\n".join([*hospitals, f"({digitiser.name})"]): digitiser for digitiser, hospitals in users.items()}


def _examples(manifest: pd.DataFrame, draw: int) -> NDArray[np.int64]:
    """Choose rows of benign, then of malignant images."""
    generator = generator_of(draw, "report", "examples")
    malignant = manifest["malignant"].to_numpy(dtype=bool)
    return np.concatenate([generator.permutation(np.flatnonzero(malignant == label))[:_EXAMPLES] for label in (0, 1)])
