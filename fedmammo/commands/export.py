"""Writes a run's trained model into a folder that can be given to somebody."""

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

import fedmammo
from fedmammo.cohort.options import Options
from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import read_tensors
from fedmammo.disk.folders import new_folder
from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import Repeat, Series, arrange
from fedmammo.evaluation.thresholds import Thresholds
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.models.head import CONSTANTS
from fedmammo.models.package import write_package
from fedmammo.report.model_card import model_card
from fedmammo.run.folder import RunFolder, read_config
from fedmammo.run.public import Public
from fedmammo.run.results import Run


class Trained(NamedTuple):
    """A model of a run: the deployment that trained it, and where (a hospital's name, or `all`)."""

    deployment: Deployment
    trained_at: str


def export(folder: Path, model: str, out: Path) -> None:
    """Write weights, constants, cuts and the model card of a run's model to a new folder.

    Args:
        folder: of a finished run without folds.
        model: name of a file in its `models`, or the beginning of one alone.
        out: an empty or missing folder.

    Raises:
        InputError: where the run is unfinished or cross-validated, has no such model or several, keeps the scores of
            validation patients, or names other weights than it was trained with.
    """
    run = fedmammo.open_run(folder)
    run.check_finished()
    if run.study.evaluation.folds:
        raise InputError(f"{folder}: was cross-validated and has no model for other patients; run it without folds")
    trained = _find(run, model)
    cuts = _cuts(run, trained)
    size, margin = _patches(run)
    about = {
        "name": _name(run, trained),
        "diagnosis": trained.deployment.diagnosis.model_copy(update={"weights": "none"}).model_dump(mode="json"),
        "size": size,
        "margin": margin,
        "unit": run.study.evaluation.unit,
        "pooling": run.study.evaluation.pooling,
        **{name: None if value != value else value for name, value in cuts._asdict().items()},  # NaN is not itself
        "software": f"fedmammo {fedmammo.__version__}, torch {version('torch')}, timm {version('timm')}",
    }
    classifier = _classifier(run, trained)
    with new_folder(out) as new:
        write_package(new, about, classifier, model_card(run, *trained, about))


def _find(run: Run, wanted: str) -> Trained:
    """Find the one model of this arm, or whose name begins so. Raises InputError where there is none, or another."""
    folder = RunFolder(run.folder)
    known: dict[str, Trained] = {}
    for one in (one for one in run.study.deployments if one.arm.trained):
        prefix = f"{one.name}-"
        for path in sorted((run.folder / "models").glob(f"{prefix}*.safetensors")):
            trained = Trained(one, path.stem.removeprefix(prefix))
            if folder.model(one, trained.trained_at) == path:
                known[path.stem] = trained
    of_arm = [name for name, one in known.items() if one.deployment.arm_name == wanted]
    found = of_arm or ([wanted] if wanted in known else [name for name in known if name.startswith(wanted)])
    if len(found) != 1:
        what = "several models begin so" if found else "the run has no such model; it has"
        some = ", ".join((found or list(known))[:8])
        raise InputError(f"{run.folder}: {wanted}: {what}: {some}{', ...' if len(found or known) > 8 else ''}")
    return known[found[0]]


def _name(run: Run, trained: Trained) -> str:
    return RunFolder(run.folder).model(trained.deployment, trained.trained_at).stem


def _cuts(run: Run, trained: Trained) -> Thresholds:
    """Choose the cuts that the run itself uses, on the model's validation patients."""
    deployment = trained.deployment
    predictions = RunFolder(run.folder).predictions()
    arranged = arrange(predictions, deployment.tested, run.study.evaluation.unit, run.study.evaluation.pooling)
    series = Series(deployment.arm_name, deployment.setting_name, trained.trained_at)
    return arranged.models[series, Repeat(deployment.seed, deployment.draw)].thresholds[deployment.fold]


def _patches(run: Run) -> tuple[int, float]:
    """Return side and margin of the cohort's patches; real hospitals are taken to have prepared theirs as usual."""
    usual = Options()
    if run.study.at_sites:
        return usual.size, usual.margin
    facts = Cohort.open(run.study.cohort_folder).facts
    return int(facts["size"]), float(facts.get("options", {}).get("margin", usual.margin))


def _classifier(run: Run, trained: Trained) -> Classifier:
    """Build the network with what was trained in it."""
    public = Public(run.study, run.folder)
    if public.backbone(trained.deployment) not in read_config(run.folder)[1]["weights"].split():
        raise InputError(
            f"{run.folder}: was trained on other weights than {run.study.diagnosis.weights} now gives; restore them"
        )
    classifier = build_classifier(public.diagnosis(trained.deployment))
    tensors = read_tensors(RunFolder(run.folder).model(*trained))[0]
    with torch.no_grad():
        for name, parameter in classifier.trained().items():
            parameter.copy_(tensors[name])
        for name in CONSTANTS:
            if name in tensors:
                getattr(classifier, name).copy_(tensors[name])
    return classifier
