"""Measures how good synthetic images are on a study's cohort and network, and has them drawn."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.patch import whole_patch
from fedmammo.cohort.quarantine import Unusable
from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.views import View
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.randomness import generator_of
from fedmammo.report.synthesis_page import SynthesisView, synthesis_page
from fedmammo.stages.opened import pick_device
from fedmammo.synthesis.copies import nearest_patients
from fedmammo.synthesis.folder import CLASSES, images_by_class
from fedmammo.synthesis.pool import MANIFEST, Pool
from fedmammo.synthesis.quality import Images, quality_of, resized
from fedmammo.synthesis.sources import FromFolder

SUFFIXES = (".html", ".csv")
_EXAMPLES = 24  # of each class
_NEAREST = 10


def assess(
    config: StudyConfig,
    folder: Path,
    split: str | None,
    side: int | None,
    processes: int,
    report: Callable[[str], None],
) -> SynthesisView:
    """Measure the synthetic images in a folder on the cohort and the network of a study.

    Real images are those of the cohort, without digitisers: training images are its split `train`.

    Args:
        config: the study.
        folder: a pool, or PNG files with `benign` or `malignant` in their names.
        split: of the cohort, whose images are compared with; None stands for the study's `evaluation.test`.
        side: both real and synthetic images are first brought to so many pixels; None leaves them as they are.
        processes: that extract radiomic features.
        report: is told what is being done.

    Raises InputError where the folder holds no such images, and where the cohort lacks a split.
    """
    cohort, tested = Cohort.open(config.cohort_folder), split or config.evaluation.test
    splits = cohort.manifest["split"]
    for name in ("train", tested):
        if not (splits == name).any():
            raise InputError(
                f"--split {name}: {cohort.folder} has no such split; it has {', '.join(sorted(set(splits)))}"
            )
    if tested == "train":
        raise InputError("--split train: synthetic images were made from it; name one whose patients were not seen")
    patches, malignant = _read(folder)
    torch.set_num_threads(config.engine.threads_per_hospital)
    device = pick_device(config.engine.device)
    classifier = build_classifier(config.diagnosis).to(device).train(False)

    def images(what: str, patches: NDArray[np.uint16], malignant: NDArray[np.bool_], patients: list[str]) -> Images:
        patches = resized(patches, side or patches.shape[-1])
        shown = [harmonise(patch, config.diagnosis.harmonisation, None) for patch in patches]
        features = _readouts(classifier, shown, device, lambda done: report(f"features of {what} image {done}"))
        return Images(patches, features, malignant, patients)

    synthetic = images("synthetic", patches, malignant, [])
    real = []
    for name in ("train", tested):
        rows = np.flatnonzero(splits == name)
        manifest = cohort.manifest.iloc[rows]
        real.append(images(name, cohort.patches[rows], manifest["malignant"].to_numpy(bool), list(manifest["patient"])))
    train, test = real
    seed = config.seeds[0]
    table = quality_of(train, test, synthetic, seed, processes, report)
    report("drawing")
    pixels = f"at {side} pixels" if side else "as they are"
    return SynthesisView(
        title=f"Synthetic images of {folder}",
        note=f"{len(synthetic)} synthetic images beside {len(train)} training and {len(test)} {tested} images of "
        f"{cohort.folder}, {pixels}; features of {config.diagnosis.network}.",
        table=table,
        kinds=_examples(train, synthetic, seed),
        **_nearest(train, synthetic),
    )


def save(path: Path, found: SynthesisView) -> None:
    """Write what was found as a page (.html) or as tidy rows (.csv)."""
    write_text(path, found.table.to_csv(index=False) if path.suffix == ".csv" else synthesis_page(found))


def check_suffix(path: Path) -> None:
    """Raise InputError unless what was found is to be an HTML or a CSV file."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def _read(folder: Path) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Read the images of a pool or of a folder of files, and their labels; all get the side of the first."""
    if (folder / MANIFEST).exists():
        pool = Pool.open(folder.resolve().parent, json.loads((folder / MANIFEST).read_text())["digest"])
        return pool.patches, pool.images["malignant"].to_numpy(bool)
    files = images_by_class(FromFolder(source="folder", path=str(folder), images=2))
    patches: list[NDArray[np.uint16]] = []
    for file in itertools.chain(*files.values()):
        try:
            image = read_gray(file)
        except Unusable as reason:
            raise InputError(f"{file}: {reason}; remove or mend it") from reason
        patches.append(whole_patch(image, len(patches[0]) if patches else max(image.shape)))
    return np.stack(patches), np.repeat([False, True], [len(files[name]) for name in CLASSES])


def _readouts(
    classifier: Classifier, patches: list[NDArray[np.uint16]], device: torch.device, report: Callable[[int], None]
) -> NDArray[np.float32]:
    """Return what the head would read of each patch: (patches, columns)."""
    found = []
    with torch.no_grad():
        for done, patch in enumerate(patches):
            report(done + 1)
            image = View().of(patch).to(device)
            found.append(classifier.readout(classifier.prefix(image) if classifier.has_prefix else image))
    return torch.cat(found).cpu().numpy()


def _examples(train: Images, synthetic: Images, seed: int) -> dict[str, list[NDArray[np.uint16]]]:
    """Choose some of each class: real, then synthetic ones."""
    shown = {}
    for name, malignant in (("benign", False), ("malignant", True)):
        for kind, images in (("real", train), ("synthetic", synthetic)):
            rows = np.flatnonzero(images.malignant == malignant)
            chosen = generator_of(seed, "report", "examples", kind, name).permutation(rows)[:_EXAMPLES]
            shown[f"{kind}, {name}"] = list(images.patches[chosen])
    return shown


def _nearest(train: Images, synthetic: Images) -> dict[str, Any]:
    """Find the synthetic images that are nearest to one patient, and what they are nearest to."""
    scaler = StandardScaler().fit(train.features)
    found = nearest_patients(scaler.transform(synthetic.features), scaler.transform(train.features), train.patients)
    defined = np.flatnonzero(np.isfinite(found.ratio))
    rows = defined[np.argsort(found.ratio[defined], kind="stable")][:_NEAREST]
    nearest = {
        "synthetic": list(synthetic.patches[rows]),
        "nearest patient": list(train.patches[found.own[rows]]),
        "nearest other": list(train.patches[found.other[rows]]),
    }
    return {"nearest": nearest, "ratios": found.ratio[rows].tolist()}
