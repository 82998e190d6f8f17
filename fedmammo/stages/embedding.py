"""Sums of features: each hospital releases one for each class, and the server trains a generator on their mean."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.inputs import Inputs
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.embedding import ClassMeans, cut, vectors_of_patients
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.stages.faults import crash_if_ordered
from fedmammo.stages.opened import with_weights
from fedmammo.stages.stage import Incoming, Tensors, Turn, Work
from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.synthesis.names import gan_name

EMBEDDED_AT_ONCE = 32  # images


class Embedding:
    """One round; a hospital's weight is its number of patients, whatever strategy combines classifiers."""

    name: ClassVar[str] = "embedding"
    fields: ClassVar[dict[str, Mark]] = {
        "tensors": "charged",  # one noised sum of clipped vectors
        "num-examples": "public",
        "epsilon": "public",
    }

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Answer `embedding`: the mean over training patients of their vectors (fedmammo.privacy.embedding).

        Under a budget it is a noised sum over their declared number, or where a trusted server adds the noise, or
        hospitals share it, the sum of the clipped vectors in steps of the grid.
        """
        site, deployment, holder = work.site, work.deployment, work.holder
        inputs, rows = work.inputs_alone, np.concatenate(holder.training)
        patient = torch.from_numpy(np.repeat(np.arange(len(holder.training)), [len(own) for own in holder.training]))
        diagnosis = with_weights(deployment.diagnosis, site.file.weights)
        classifier = public_classifier(inputs, diagnosis)
        parts = np.array_split(rows, -(-len(rows) // EMBEDDED_AT_ONCE))
        with torch.no_grad():
            read = (inputs.read(part, np.zeros(len(part), dtype=np.int64)) for part in parts)
            features = torch.cat([classifier.standard(some).cpu() for some in read])
        malignant = torch.from_numpy(inputs.malignant[rows])
        features = cut(features, classifier.typical_length)

        def draw(private: PrivateSteps | None) -> Answer:
            crash_if_ordered(work)
            norm = private.mechanism.clipping_norm if private else 1.0
            vectors = vectors_of_patients(features, malignant, patient, len(holder.training), norm)
            if private is None:
                return Answer({"embedding": vectors.mean(dim=0)})
            return Answer({"embedding": private_mean(vectors, private)})

        name = gan_name(deployment, site.name)
        depends_on = {"generator": name, "study": deployment.study, "learned_from": work.learned_from}
        answer = guard.release(self.name, work.job.round, depends_on, draw, asked=("generator", "study"))
        return Answer(answer.tensors, work.declared | answer.numbers)

    def rounds(self, deployment: Deployment) -> int:
        """Return 1: a hospital sends one sum."""
        return 1

    def averaged(self, deployment: Deployment) -> int:
        """Return 1: there is nothing to average over."""
        return 1

    def strategy(self, deployment: Deployment) -> BaseStrategy:
        """Weigh hospitals by their numbers of patients."""
        return FedAvg()

    def beside(self, deployment: Deployment, kept: Tensors, began: bool) -> Incoming:
        """Send nothing else."""
        return {}

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Return the mean, noised here where hospitals trust the server; keep how much noise it has."""
        if turn.plan is None:
            return turn.mean(), {"spread": torch.tensor(0.0, dtype=torch.float64)}
        mechanism, patients = turn.plan.mechanism(self.name), sum(turn.plan.patients[name] for name in turn.answers)
        noises = 1 if turn.plan.trust == "central" else len(turn.answers) / turn.plan.shares
        spread = mechanism.noise_multiplier * mechanism.clipping_norm * noises**0.5 / patients
        kept = {"spread": torch.tensor(spread, dtype=torch.float64)}
        if not turn.sums:
            return turn.mean(), kept
        mean = turn.mean_of_sums(self.name, patients)
        return {name: tensor.float() for name, tensor in mean.items()}, kept


def private_mean(vectors: Tensor, private: PrivateSteps) -> Tensor:
    """Return the noised sum over patients of their clipped vectors, over their declared number.

    `vectors`: (patients, ...); `private` has one step. Where sums leave, that in integers.
    """
    mean = torch.nn.Parameter(torch.zeros_like(vectors[0]))
    (sample,) = private.samples()
    (total,) = private.descend([mean], 0, [[vectors[sample]]])
    return total if mean.grad is None else mean.grad


def means_of(deployment: Deployment, released: Tensor, spread: float) -> ClassMeans:
    """Read what the mean of hospitals' vectors says of the classes. `spread`: of the noise on each of its numbers."""
    norm = deployment.privacy.generator_clipping_norm if deployment.privacy is not None else 1.0
    return ClassMeans.of(released, norm, spread)


def public_classifier(inputs: Inputs, config: DiagnosisConfig) -> Classifier:
    """Return the deployment's classifier as no patient has changed it; only what its head reads is used here."""
    if inputs.linear:
        return inputs.classifier
    classifier = build_classifier(config).to(inputs.device)
    for name, tensor in inputs.model.constants.items():
        getattr(classifier, name).copy_(tensor)
    return classifier
