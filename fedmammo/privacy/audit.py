"""Audits: how much of what a mechanism hides can be found after all. `evaluation/attacks.py` says what it shows.

They run the mechanism's own code on models that are thrown away: no model of half the patients is ever released.
`commands/canaries.py` looks for made-up patients in what a hospital releases.
"""

from collections.abc import Sequence

import numpy as np
import torch

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.evaluation.attacks import Flags, Floats, likelihood_ratios
from fedmammo.features.inputs import Inputs
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.training.steps import train


def attack_membership(
    inputs: Inputs,
    patients: Sequence[np.ndarray],
    config: DiagnosisConfig,
    steps: int,
    mechanism: Mechanism | None,
    models: int,
    seed: int,
) -> tuple[Flags, Floats]:
    """Train models on random halves of the patients and on the other halves; tell from each model whose half it was.

    `models`: how many, an even number from 6 up.

    The likelihood-ratio attack of Carlini et al. 2022 (arXiv 2112.03570) on patients: a patient's confidence in a model
    is the mean over its images of the logit of the true label; the other models say how it is spread where the
    patient was in, and where it was out.

    Returns:
        Who was in which half, and log likelihood ratios: (models, patients).
    """
    generator = np.random.default_rng(seed)
    halves = np.zeros((models // 2, len(patients)), dtype=bool)
    for half in halves:
        half[generator.permutation(len(patients))[: len(patients) // 2]] = True
    inside = np.concatenate([halves, ~halves])  # each patient is in half of the models
    confidence = np.empty(inside.shape)
    rows = np.concatenate(patients)
    whose = np.repeat(np.arange(len(patients)), [len(own) for own in patients])
    sign = np.where(inputs.malignant[rows], 1.0, -1.0)
    for number, half in enumerate(inside):
        private = None
        members = [own for own, chosen in zip(patients, half, strict=True) if chosen]
        if mechanism is not None:
            private = PrivateSteps(mechanism, Secret(seed.to_bytes(32, "big")), f"attack {number}", len(members))
        initial = initial_model(config, seed)
        model, _, _ = train(inputs, members, config, steps, generator, initial, {}, private=private)
        for name, parameter in inputs.model.trained().items():
            parameter.data.copy_(model.model[name])
        inputs.model.train(False)
        with torch.no_grad():
            logits = inputs.model(inputs.read(rows, np.zeros(len(rows), dtype=np.int64))).double().cpu().numpy()
        confidence[number] = np.bincount(whose, sign * logits) / np.bincount(whose)
    return inside, likelihood_ratios(inside, confidence)
