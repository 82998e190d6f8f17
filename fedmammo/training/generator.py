"""A hospital's part in generators of synthetic images: rounds of a GAN, sums of features, counts of classes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.disk.files import write_bytes
from fedmammo.errors import StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.features.resize import resize
from fedmammo.hospitals.holder import Holder
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.models.mcgan import PARTS, Mcgan, build_mcgan
from fedmammo.privacy.embedding import cut, vectors_of_patients
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.officer import Officer, digest_of_tensors
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.synthesis.grid import grid_of
from fedmammo.synthesis.sources import POOLS
from fedmammo.training.gan import TRAVELS, Patients, gan_name, gan_of, steps_of, train_gan
from fedmammo.training.private_gan import train_discriminator
from fedmammo.training.site import Site
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind
from fedmammo.training.task import Task

Agreed = tuple[Officer, Plan, Mechanism]
"""Under a budget: the hospital's officer, what was agreed to, and the part of it that is asked for."""
EMBEDDED_AT_ONCE = 32  # images


def count_classes(inputs: Inputs, holder: Holder) -> dict[str, float]:
    """Count the training patients who have images of a class."""
    labels = [inputs.malignant[rows] for rows in holder.training]
    malignant, benign = sum(bool(own.any()) for own in labels), sum(not own.all() for own in labels)
    return {"benign": float(benign), "malignant": float(malignant)}


def train_round(
    site: Site, holder: Holder, task: Task, incoming: dict[str, dict[str, Tensor]], agreed: Agreed | None
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Take a round of the GAN, as `fedmammo.training.hospital.work` describes it; its state is committed.

    Raises StudyError where training ended in numbers that are not finite; the state stays as it was.
    """
    source, name = gan_of(site.config), gan_name(task.cell, site.config, task.pooled, holder.name)
    folder = Path(task.run) / "hospitals" / holder.name / name
    kept = load_state(folder, before=task.round)
    gan, moments = build_mcgan(source), of_kind(kept, "state")
    sent = [tensors for key, tensors in incoming.items() if key != "initial"]
    for tensors in (incoming.get("initial", {}), of_kind(kept, "gan"), *sent):  # what is sent replaces what is kept
        gan.load(tensors)
    gan.to(site.inputs.device)
    patients, steps = patients_of(site.inputs, holder, source.image_size), steps_of(source, task.round)
    generator = generator_of(source.seed, name, task.round, holder.name)

    def commit(state: dict[str, Tensor]) -> dict[str, Tensor]:
        networks = gan.tensors(*PARTS)
        if not all(tensor.isfinite().all() for tensor in (*networks.values(), *state.values())):
            raise StudyError("its GAN is not finite; fewer steps may help")
        commit_state(folder, task.round, join_kinds(gan=networks, state=state))
        show_progress(Path(task.run), name, holder.name, task.round, gan)
        return gan.tensors(*TRAVELS[source.combine])

    declared = {"num-examples": float(len(holder.training))}
    if agreed is None:
        parts = ["discriminator"] if source.combine == "discriminator" else ["discriminator", "generator"]
        numbers, state = train_gan(gan, parts, patients, source.batch, steps, generator, moments)
        return commit(state), declared | numbers
    officer, plan, mechanism = agreed

    def draw(request: str) -> dict[str, Tensor]:
        private = PrivateSteps(mechanism, officer.secret, request, len(holder.training))
        return commit(train_discriminator(gan, patients, source.batch, steps, generator, moments, private))

    request = {"generator": name, "cohort": site.cohort.digest, "gan": digest_of_tensors(gan.tensors(*PARTS))}
    outgoing, spent = officer.release(
        plan, mechanism, task.round, request | {"state": digest_of_tensors(moments)}, draw
    )
    return outgoing, declared | {"epsilon": spent}


def embed(site: Site, holder: Holder, task: Task, agreed: Agreed | None) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the mean over training patients of their vectors of features (fedmammo.privacy.embedding).

    Under a budget it is a noised sum over their declared number, or where a trusted server adds the noise, a clean one.
    """
    rows = np.concatenate(holder.training)
    patient = torch.from_numpy(np.repeat(np.arange(len(holder.training)), [len(own) for own in holder.training]))
    classifier = public_classifier(site.inputs, site.config.diagnosis)
    parts = np.array_split(rows, -(-len(rows) // EMBEDDED_AT_ONCE))
    with torch.no_grad():
        read = (site.inputs.read(part, np.zeros(len(part), dtype=np.int64)) for part in parts)
        features = torch.cat([classifier.standard(some).cpu() for some in read])
    malignant = torch.from_numpy(site.inputs.malignant[rows])
    norm = site.config.privacy.generator_clipping_norm
    features = cut(features, classifier.typical_length)
    vectors = vectors_of_patients(features, malignant, patient, len(holder.training), norm)

    declared = {"num-examples": float(len(holder.training))}
    if agreed is None:
        return {"embedding": vectors.mean(dim=0)}, declared
    officer, plan, mechanism = agreed

    def draw(request: str) -> dict[str, Tensor]:
        private = PrivateSteps(mechanism, officer.secret, request, len(holder.training), noised=plan.trust == "local")
        return {"embedding": private_mean(vectors, private)}

    name = gan_name(task.cell, site.config, task.pooled, holder.name)
    request = {"generator": name, "cohort": site.cohort.digest}
    outgoing, spent = officer.release(plan, mechanism, task.round, request, draw)
    return outgoing, declared | {"epsilon": spent}


def private_mean(vectors: Tensor, private: PrivateSteps) -> Tensor:
    """Return the noised sum over patients of their clipped vectors, over their declared number.

    `vectors`: (patients, ...); `private` has one step.
    """
    mean = torch.nn.Parameter(torch.zeros_like(vectors[0]))
    (sample,) = private.samples()
    private.gradient(private.optimizer(torch.optim.SGD([mean])), 0, [[vectors[sample]]])
    if mean.grad is None:
        raise ValueError("nothing was released")
    return mean.grad


def public_classifier(inputs: Inputs, config: DiagnosisConfig) -> Classifier:
    """Build the study's classifier as no patient has changed it; only what its head reads is used here."""
    classifier = build_classifier(config).to(inputs.device)
    for name, tensor in inputs.classifier.constants.items():
        getattr(classifier, name).copy_(tensor)
    return classifier


def patients_of(inputs: Inputs, holder: Holder, side: int) -> Patients:
    """Gather what a GAN learns from: the holder's training images as the study shows them, resized."""
    rows = np.concatenate(holder.training)
    shown = np.stack([inputs.patch(row) for row in rows]).astype(np.float32) / 65535
    images = resize(torch.from_numpy(shown)[:, None], side)
    starts = np.cumsum([0, *(len(own) for own in holder.training)])
    images_of = [np.arange(start, stop) for start, stop in pairwise(starts)]
    malignant = torch.from_numpy(inputs.malignant[rows].astype(np.int64))
    return Patients(2 * images - 1, malignant, images_of)


def show_progress(run: Path, name: str, holder: str, number: int, gan: Mcgan) -> None:
    """Keep a picture of what a generator draws after a round of this holder, or of the server."""
    write_bytes(run / POOLS / "progress" / name / f"{holder}-round-{number:05d}.png", grid_of(gan))
