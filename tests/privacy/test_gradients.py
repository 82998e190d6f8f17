"""Patients' gradients against one backward pass for each image, for every network that our studies name."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.models.classifier import Classifier, build_classifier
from fedmammo.models.head import OneLogit
from fedmammo.privacy import gradients
from fedmammo.privacy.gradients import chunks, contrast, linear_gradients, patient_gradient

SWIN, VIT = "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"
# Two patients: A has three images, B one, weights and all.
WHOSE, WEIGHTS, TARGETS = torch.tensor([0, 0, 0, 1]), torch.tensor([1 / 3] * 3 + [1.0]), torch.tensor([1, 0, 1, 0.05])


def classifier_of(network: str, train: str, **keys: Any) -> tuple[Classifier, Tensor]:
    """A classifier with random weights and what it reads of four images, with some constants to centre and scale."""
    content = {
        "network": network,
        "weights": "none",
        "image_size": 64,
        "train": train,
        "optimizer": {"learning_rate": 1},
    }
    classifier = build_classifier(DiagnosisConfig.model_validate(content | keys))
    torch.manual_seed(0)
    images = torch.rand(4, 1, 64, 64)
    classifier.center.uniform_(-0.1, 0.1)
    classifier.scale.uniform_(0.5, 2)
    return classifier, classifier.prefix(images) if classifier.has_prefix else images


def loop(classifier: Classifier, read: Tensor) -> list[list[Tensor]]:
    """A backward pass for each image: their mean is the gradient of a patient."""
    found = []
    for patient in range(2):
        classifier.zero_grad()
        for image in torch.nonzero(patient == WHOSE):
            loss = functional.binary_cross_entropy_with_logits(classifier(read[image]), TARGETS[image])
            (loss * WEIGHTS[image].item()).backward()
        found.append([parameter.grad.clone() for parameter in classifier.trained().values()])
    return found


@pytest.mark.parametrize(
    ("network", "train", "features"),
    [
        ("vit_small_patch14_dinov2", "bias", [6, 10]),
        (VIT, "all", "pooled"),
        (VIT, "last_blocks:2", [6, 10]),
        ("deit_tiny_patch16_224", "all", "pooled"),
        ("vit_tiny_r_s16_p8_224", "bias", "pooled"),
        (SWIN, "all", "pooled"),
        (SWIN, "last_blocks:2", "pooled"),
        (SWIN, "bias", "pooled"),
        (SWIN, "head", "pooled"),
    ],
)
def test_trap_10_every_network_differentiates_patient_by_patient(network: str, train: str, features: Any) -> None:
    """Bare parameters (Swin's tables of position biases) and windows that hide the batch axis included."""
    side = 56 if network.endswith("dinov2") else 64
    classifier, read = classifier_of(network, train, features=features, image_size=side)
    classifier.train(False)  # networks may drop paths by chance when they train
    trained = classifier.trained()
    if network == SWIN and train == "all":
        assert any("relative_position_bias_table" in name for name in trained)
    for patient, expected in enumerate(loop(classifier, read)):
        own = patient == WHOSE
        losses = functional.binary_cross_entropy_with_logits(classifier(read[own]), TARGETS[own], reduction="none")
        found = patient_gradient(losses, WEIGHTS[own], trained)
        for (name, parameter), gradient, right in zip(trained.items(), found, expected, strict=True):
            assert gradient.shape == (1, *parameter.shape)
            assert (gradient[0] - right).abs().max().item() < 1e-5, name


def test_what_the_loss_does_not_depend_on_has_a_gradient_of_zero() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    losses = torch.stack([used.sum(), 3 * used[0]])
    found = patient_gradient(losses, torch.tensor([0.25, 0.75]), {"used": used, "unused": unused})
    assert [gradient.tolist() for gradient in found] == [[[2.5, 0.25]], [[0.0, 0.0, 0.0]]]


def test_bfloat16_products_leave_float32_gradients_near_those_of_float32() -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        classifier, read = classifier_of(SWIN, "all", precision=precision)
        classifier.train(False)
        losses = functional.binary_cross_entropy_with_logits(classifier(read[:2]), TARGETS[:2], reduction="none")
        found[precision] = patient_gradient(losses, torch.tensor([0.5, 0.5]), classifier.trained())
    assert {gradient.dtype for gradient in found["bfloat16"]} == {torch.float32}
    right, half = (torch.cat([gradient.flatten() for gradient in found[name]]) for name in ("float32", "bfloat16"))
    assert 0 < (half - right).norm() < 0.05 * right.norm()


@pytest.mark.parametrize("directions", [None, 5])
def test_the_closed_form_of_a_linear_head(directions: int | None) -> None:
    classifier, read = classifier_of("test_vit", "head", directions=directions)
    classifier.head.bias.data.fill_(3.0)
    standard = classifier.standard(read).detach()
    found = linear_gradients(classifier.head, standard, TARGETS, WEIGHTS, WHOSE, 2)
    for patient, expected in enumerate(loop(classifier, read)):
        for own, right in zip(found, expected, strict=True):
            assert own[patient].shape == right.shape
            assert (own[patient] - right).abs().max().item() < 1e-6


def test_a_linear_head_by_hand() -> None:
    """A head at zero: error 1/2. A's images (2; 0), (0; 2), both malignant, make -(1/2, 1/2) and bias -1/2."""
    head = OneLogit(2, 1.0)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    inputs, whose = torch.tensor([[2.0, 0.0], [0.0, 2.0], [4.0, 0.0]]), torch.tensor([0, 0, 1])
    with torch.no_grad():
        found = linear_gradients(head, inputs, torch.tensor([1.0, 1, 0]), torch.tensor([0.5, 0.5, 1]), whose, 2)
    assert found[0].tolist() == [[[-0.5, -0.5]], [[2.0, 0.0]]]
    assert found[1].tolist() == [[-0.5], [0.5]]


def test_the_contrast_by_hand() -> None:
    """(1/2 - label) x, whatever the head says: A's images (2; 0), (0; 2) make -(1/2, 1/2), B's (4; 0) makes (2; 0).

    The bias counts half: -1/4 and 1/4.
    """
    head = OneLogit(2, 0.5)
    inputs, whose = torch.tensor([[2.0, 0.0], [0.0, 2.0], [4.0, 0.0]]), torch.tensor([0, 0, 1])
    targets, weights = torch.tensor([1.0, 1, 0]), torch.tensor([0.5, 0.5, 1])
    with torch.no_grad():
        found = linear_gradients(head, inputs, targets, weights, whose, 2, contrast)
    assert found[0].tolist() == [[[-0.5, -0.5]], [[2.0, 0.0]]]
    assert found[1].tolist() == [[-0.25], [0.25]]


@given(counts=st.lists(st.integers(1, 14), max_size=30), most=st.integers(1, 40))
def test_chunks_never_split_a_patient(counts: list[int], most: int) -> None:
    """They hold all images and patients once, in order, and as many patients as allowed."""
    patient_of_image = [patient for patient, count in enumerate(counts) for _ in range(count)]
    found = list(chunks(patient_of_image, gradients.CHUNK_BYTES // most))
    assert [patient for _, patients in found for patient in range(patients.start, patients.stop)] == [
        *range(len(counts))
    ]
    assert [image for images, _ in found for image in range(images.start, images.stop)] == [*range(sum(counts))]
    allowed = gradients.CHUNK_BYTES // (gradients.CHUNK_BYTES // most)
    for images, patients in found:
        assert patient_of_image[images] == [p for p in range(patients.start, patients.stop) for _ in range(counts[p])]
        assert patients.stop - patients.start == allowed or patients.stop == len(counts)
    assert all(patients.stop - patients.start == 1 for _, patients in chunks(patient_of_image, None))
