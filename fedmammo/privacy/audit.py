"""Audits: how much of what a mechanism hides can be found after all. `evaluation/attacks.py` says what it shows.

They run the mechanism's own code on models that are thrown away: no canary, and no model of half the patients, is ever
released.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.evaluation.attacks import Flags, Floats, likelihood_ratios
from fedmammo.features.inputs import Inputs
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.training.optimizer import make_optimizer
from fedmammo.training.steps import Reader, draw_images, patient_gradients, train


def plant_canaries(
    inputs: Inputs,
    patients: Sequence[np.ndarray],
    config: DiagnosisConfig,
    mechanism: Mechanism,
    canaries: int,
    seed: int,
) -> tuple[Flags, Floats]:
    """Train once with made-up patients, each there by the toss of a coin, and look for them in what is released.

    A canary's gradient is the clipping norm along a coordinate of its own, the most that a patient can do. Whoever
    looks knows all other patients, so that what these add is taken away (Steinke, Nasr & Jagielski 2023, arXiv
    2305.08846, section 3, with gradients in place of images). There are as many canaries as trained numbers, at most.

    Returns:
        Who was there, (canaries,), and how much of each was found, in units of its noise: normal around 0, or around
        the mu of the mechanism for those who were there in every step.
    """
    generator = np.random.default_rng(seed)
    parameters = inputs.classifier.trained()
    for name, tensor in initial_model(config, seed).items():
        parameters[name].data.copy_(tensor)
    numbers = sum(parameter.numel() for parameter in parameters.values())
    there = generator.random(min(canaries, numbers)) < 0.5
    coordinates = generator.permutation(numbers)[: len(there)]
    planted = torch.zeros(int(there.sum()), numbers)
    planted[torch.arange(len(planted)), torch.from_numpy(coordinates[there])] = mechanism.clipping_norm
    sizes = [parameter.numel() for parameter in parameters.values()]
    everybody = len(patients) + len(planted)
    steps = PrivateSteps(mechanism, Secret(seed.to_bytes(32, "big")), "audit", everybody)
    optimizer = make_optimizer(config.optimizer, list(parameters.values()))
    protected = steps.optimizer(optimizer)
    reader = Reader(inputs)
    found = torch.zeros(numbers, dtype=torch.float64)
    for step, sample in enumerate(steps.samples()):
        real, of_canaries = sample[sample < len(patients)], sample[sample >= len(patients)] - len(patients)
        drawn = draw_images([patients[index] for index in real], inputs, config, [generator] * len(real))
        for gradients in patient_gradients(reader, parameters, drawn):
            protected.accumulate(gradients)
        known = [torch.zeros_like(p) if p.summed_grad is None else p.summed_grad.clone() for p in protected.params]
        own = [
            part.view(-1, *parameter.shape)
            for part, parameter in zip(planted[of_canaries].split(sizes, 1), protected.params, strict=True)
        ]
        steps.gradient(protected, step, [own])
        released = [
            parameter.grad * steps.divisor - sum_of_others
            for parameter, sum_of_others in zip(protected.params, known, strict=True)
            if parameter.grad is not None
        ]
        found += torch.cat([tensor.flatten() for tensor in released]).double()
        optimizer.step()
    noise = mechanism.noise_multiplier * mechanism.clipping_norm * sqrt(mechanism.steps)
    return there, found[torch.from_numpy(coordinates)].numpy() / noise


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
        for name, parameter in inputs.classifier.trained().items():
            parameter.data.copy_(model[name])
        inputs.classifier.train(False)
        with torch.no_grad():
            logits = inputs.classifier(inputs.read(rows, np.zeros(len(rows), dtype=np.int64))).double().cpu().numpy()
        confidence[number] = np.bincount(whose, sign * logits) / np.bincount(whose)
    return inside, likelihood_ratios(inside, confidence)
