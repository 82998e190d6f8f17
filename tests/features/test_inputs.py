"""Features are what the network computes, whoever computed them, when and in whatever order."""

import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.errors import InputError
from fedmammo.features import opening
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.inputs import Inputs
from fedmammo.features.opening import STAND_INS
from fedmammo.features.views import View
from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.hospitals.records import Records, true_records
from fedmammo.phantom.patches import draw_patches
from fedmammo.randomness import generator_of

CPU = torch.device("cpu")
SWIN = "swin_tiny_patch4_window7_224"
ALL_VIEWS = {"flips": "both", "crops": 5}
Make = Callable[..., Inputs]


def diagnosis(**keys: Any) -> DiagnosisConfig:
    defaults = {"network": "test_vit", "weights": "none", "image_size": 32, "optimizer": {"learning_rate": 0.01}}
    return DiagnosisConfig.model_validate(defaults | keys)


@pytest.fixture
def inputs(own_cohort: Cohort) -> Make:
    def make(**keys: Any) -> Inputs:
        with torch.enable_grad():  # a classifier asks a backward pass what is trained
            return Inputs(own_cohort, diagnosis(**keys), CPU, true_records(own_cohort))

    return make


def folder_of(inputs: Inputs) -> Path:
    """Where the features of the cohort's images lie."""
    return inputs._sets[0][1].folder


def stored(inputs: Inputs) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder_of(inputs).iterdir())}


def rows_of(inputs: Inputs) -> np.ndarray:
    return np.arange(inputs.images_of_patients)


@torch.no_grad()
@pytest.mark.parametrize("train", ["head", "last_blocks:1"])
def test_features_are_what_the_prefix_computes(inputs: Make, own_cohort: Cohort, train: str) -> None:
    """Every view of three images, against the prefix of the image alone."""
    made = inputs(train=train, features=[2, 5], augmentation=ALL_VIEWS)
    rows = np.array([3, 0, 45])
    made.compute(rows)
    assert len(made.views) == 24
    for number, view in enumerate(made.views):
        found = made.read(rows, np.full(3, number))
        for row, features in zip(rows, found, strict=True):
            expected = made.classifier.prefix(view.of(own_cohort.patches[row]))[0]
            assert torch.equal(features, expected)


def test_rows_and_views_may_be_read_in_any_order_and_again(inputs: Make) -> None:
    made = inputs()
    made.compute(rows_of(made))
    rows, views = np.array([7, 2, 7, 7]), np.array([1, 0, 0, 1])
    found = made.read(rows, views)
    one_by_one = [made.read(np.array([row]), np.array([view])) for row, view in zip(rows, views, strict=True)]
    assert torch.equal(found, torch.cat(one_by_one))
    assert torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[2]), "a mirrored image has other features"


def test_a_row_depends_on_its_image_alone(inputs: Make) -> None:
    """All at once, against one after the other from the last to the first, half of them before a restart."""
    made = inputs()
    rows = rows_of(made)
    made.compute(rows)
    expected = stored(made)
    shutil.rmtree(folder_of(made))

    for process in (0, 1):
        again = inputs()
        assert folder_of(again) == folder_of(made)
        for row in rows[::-1][process::2]:
            again.compute(np.array([row]))
    assert stored(again) == expected


def test_nothing_is_computed_twice(inputs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = inputs()
    made.compute(np.arange(5))
    assert made.missing(np.array([9, 4, 0, 7])).tolist() == [9, 7]
    computed = []
    prefix = made.classifier.prefix
    monkeypatch.setattr(made.classifier, "prefix", lambda image: computed.append(1) or prefix(image))
    made.compute(np.arange(7))
    assert len(computed) == 2 * len(made.views)
    assert made.missing(rows_of(made)).tolist() == list(range(7, 46))


def test_what_an_interruption_left_is_computed_again(inputs: Make) -> None:
    """It ended after some of a step's rows were written and before they were marked, in one view or the other."""
    made = inputs()
    made.compute(rows_of(made))
    expected = stored(made)
    for view, rows in (("whole", [6]), ("whole-lr", [4, 5])):
        for name, value in ((f"{view}.npy", 7), (f"{view}.done.npy", 0)):
            array = np.load(folder_of(made) / name, mmap_mode="r+")
            array[rows] = value
            array.flush()
    again = inputs()
    assert again.missing(rows_of(again)).tolist() == [4, 5, 6]
    again.compute(rows_of(again))
    assert stored(again) == expected


def test_a_failure_marks_no_row(inputs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = inputs()
    made.compute(np.array([0]))
    prefix, calls = made.classifier.prefix, []

    def fails(image: torch.Tensor) -> torch.Tensor:
        calls.append(image)
        if len(calls) == 3:
            raise MemoryError
        return prefix(image)

    monkeypatch.setattr(made.classifier, "prefix", fails)
    with pytest.raises(MemoryError):
        made.compute(np.arange(5))
    assert made.missing(np.arange(5)).tolist() == [2, 3, 4]  # row 1 had both its views before


def test_features_that_were_never_computed(inputs: Make) -> None:
    made = inputs()
    made.compute(np.array([0, 1]))
    with pytest.raises(KeyError, match=r"features in .* are incomplete"):
        made.read(np.array([0, 2]), np.array([0, 0]))


def compute_all(folder: Path, keys: dict[str, Any], step: int, together: Barrier) -> None:
    together.wait()
    cohort = Cohort.open(folder)
    made = Inputs(cohort, diagnosis(**keys), CPU, true_records(cohort))
    together.wait()
    rows = rows_of(made)[::step]
    for start in range(0, len(rows), 8):
        made.compute(rows[start : start + 8])


def test_two_processes_at_once_leave_correct_files(inputs: Make, own_cohort: Cohort) -> None:
    """Both begin together with no file there; one computes all rows forwards, the other all rows backwards."""
    keys = {"augmentation": {"flips": "both"}}
    made = inputs(**keys)
    made.compute(rows_of(made))
    expected = stored(made)
    shutil.rmtree(folder_of(made))
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(2)
    workers = [
        processes.Process(target=compute_all, args=(own_cohort.folder, keys, step, together)) for step in (1, -1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert stored(made) == expected


# The key


def test_the_key_is_that_of_the_prefix(inputs: Make) -> None:
    """How the head is trained, and in which views, is not part of it: all of a study's arms share the features."""
    folder = folder_of(inputs())
    for same in (
        {},
        {"optimizer": {"name": "sgd", "learning_rate": 1.0, "weight_decay": 0.1}},
        {"patient_fraction": 0.5},
        {"label_smoothing": 0.1},
        {"augmentation": ALL_VIEWS},
    ):
        assert folder_of(inputs(**same)) == folder
    others = [
        {"image_size": 48},
        {"precision": "bfloat16"},
        {"features": [6]},
        {"features": [5, 6]},
        {"train": "last_blocks:1"},
        {"train": "last_blocks:2"},
        {"network": "test_vit2"},
    ]
    folders = {folder_of(inputs(**keys)) for keys in others}
    assert len(folders | {folder}) == 1 + len(others)


def test_the_key_names_the_size_of_images(inputs: Make) -> None:
    """Also where no tensor's shape tells: images of 33 and 34 px both have 8 x 8 whole patches of 4 px."""
    first, other = (inputs(network="test_convnext", image_size=side) for side in (33, 34))
    assert first.classifier.digest() == other.classifier.digest()
    assert folder_of(first) != folder_of(other)


def test_the_key_names_weights_and_normalisation(inputs: Make, tmp_path: Path) -> None:
    """One file of weights for two networks that differ in their normalisation only, and another one."""
    import timm

    for seed in (0, 1):
        torch.manual_seed(seed)
        weights = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0).state_dict()
        save_file(weights, tmp_path / f"{seed}.safetensors")
    first, other = (str(tmp_path / f"{seed}.safetensors") for seed in (0, 1))
    plain = inputs(network="vit_tiny_patch16_224", weights=first)
    imagenet = inputs(network="deit_tiny_patch16_224", weights=first)
    assert plain.classifier.digest() == imagenet.classifier.digest()
    assert folder_of(plain) != folder_of(imagenet)
    assert folder_of(inputs(network="vit_tiny_patch16_224", weights=other)) != folder_of(plain)


def test_the_key_names_the_cohort(phantom_cohort: Cohort, own_cohort: Cohort) -> None:
    """A copy has the same features; another preparation of the same images has its own key, and so other names."""
    cohorts = (phantom_cohort, own_cohort)
    first, copy = (folder_of(Inputs(cohort, diagnosis(), CPU, true_records(cohort))) for cohort in cohorts)
    assert first.name == copy.name
    assert first.parent == phantom_cohort.folder / "features"


# Standardisation


@torch.no_grad()
def test_the_head_reads_features_centred_and_scaled_by_phantoms(inputs: Make) -> None:
    """Mean and standard deviation (n - 1) over drawn patches, a column at a time; no patient takes part."""
    made = inputs(features=[1, 4])
    patches, _ = draw_patches(STAND_INS, seed=0)
    readout = torch.cat([made.classifier.prefix(View().of(patch)) for patch in patches]).double()
    assert torch.allclose(made.classifier.center.double(), readout.mean(dim=0), atol=1e-5)
    assert torch.allclose(made.classifier.scale.double(), readout.std(dim=0), rtol=1e-4, atol=1e-6)
    again = inputs(features=[1, 4])
    assert torch.equal(again.classifier.center, made.classifier.center)
    assert torch.equal(again.classifier.scale, made.classifier.scale)


def test_phantoms_are_drawn_once_for_a_network(
    inputs: Make, own_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file of constants is there, another process takes it up; another network has one of its own."""
    made = inputs()
    (path,) = (own_cohort.folder / "features").glob("opened-*.safetensors")
    constants, content = {name: value.clone() for name, value in made.classifier.constants.items()}, path.read_bytes()

    def drawn(*_: object, **__: object) -> None:
        raise AssertionError("phantoms are drawn")

    monkeypatch.setattr(opening, "_stand_ins", drawn)
    opening._open.cache_clear()  # as a new process begins
    again = inputs(patient_fraction=0.5, augmentation=ALL_VIEWS)
    assert again.classifier is not made.classifier
    assert all(torch.equal(again.classifier.constants[name], value) for name, value in constants.items())
    assert path.read_bytes() == content
    for other in ({"image_size": 48}, {"harmonisation": "window"}, {"directions": 5}):
        with pytest.raises(AssertionError, match="phantoms are drawn"):
            inputs(**other)


def test_a_process_opens_a_network_once(inputs: Make) -> None:
    """Whatever is trained of it: what optimisers and rounds do is no part of a network."""
    assert inputs().classifier is inputs(optimizer={"learning_rate": 1.0}, label_smoothing=0.1).classifier
    assert inputs().classifier is not inputs(train="last_blocks:1").classifier


@torch.no_grad()
def test_features_do_not_depend_on_a_training_that_failed(inputs: Make, own_cohort: Cohort) -> None:
    """Swin drops paths at random while it trains; a training that raised leaves the network in that mode."""
    made = inputs(network=SWIN, image_size=32)
    expected = made.classifier.prefix(View().of(own_cohort.patches[0]))
    made.classifier.train(True)
    made.compute(np.array([0]))
    assert torch.equal(made.read(np.array([0]), np.array([0])), expected)


# Without a frozen prefix


def test_images_where_nothing_is_frozen(inputs: Make, own_cohort: Cohort) -> None:
    """Images as they are, crops resized to what the network sees; nothing is stored of them."""
    made = inputs(train="all", augmentation={"flips": "horizontal", "crops": 1}, image_size=128)
    rows = np.array([5, 2, 5])
    made.compute(rows)
    assert len(made.missing(rows)) == 0
    assert not folder_of(made).exists()
    names = sorted(path.name.split("-")[0] for path in (own_cohort.folder / "features").iterdir())
    assert names == ["opened", "stand"]
    images = made.read(rows, np.array([0, 1, 2]))
    assert images.shape == (3, 1, 128, 128)
    patch = torch.from_numpy(own_cohort.patches[5].astype(np.float32)) / 65535
    assert torch.equal(images[0, 0], patch)
    mirrored = torch.from_numpy(own_cohort.patches[2].astype(np.float32)[:, ::-1].copy()) / 65535
    assert torch.equal(images[1, 0], mirrored)
    crop = torch.nn.functional.interpolate(patch[None, None, :112, :112], (128, 128), mode="bicubic", antialias=True)
    assert torch.equal(images[2], crop[0].clamp(0, 1))


def test_images_are_given_at_the_networks_size(inputs: Make) -> None:
    assert inputs(train="bias").read(np.array([0, 1]), np.array([0, 1])).shape == (2, 1, 32, 32)


def half_digitised(cohort: Cohort) -> Records:
    """Every other image is shown by a digitiser."""
    records, digitiser = true_records(cohort), load_digitiser("lumisys_200")
    return replace(records, digitisers=tuple(digitiser if row % 2 else None for row in range(len(cohort.manifest))))


@torch.no_grad()
def test_features_are_of_the_image_as_the_digitiser_shows_it(own_cohort: Cohort) -> None:
    """Those of other images are shared with every study: a hospital that digitises anew costs its own images only."""
    plain, digitised = (
        Inputs(own_cohort, diagnosis(), CPU, records)
        for records in (true_records(own_cohort), half_digitised(own_cohort))
    )
    rows, whole = np.arange(6), np.zeros(6, dtype=int)
    plain.compute(rows)
    assert digitised.missing(rows).tolist() == [1, 3, 5]
    digitised.compute(rows)
    assert torch.equal(plain.read(rows, whole)[::2], digitised.read(rows, whole)[::2])
    patch = load_digitiser("lumisys_200").apply(own_cohort.patches[3], noise(own_cohort, 3))
    assert np.array_equal(digitised.patch(3), patch)
    assert torch.equal(digitised.read(rows, whole)[3], digitised.classifier.prefix(View().of(patch))[0])
    assert not torch.equal(plain.read(rows, whole)[3], digitised.read(rows, whole)[3])


def test_images_without_a_prefix_are_digitised_and_harmonised(own_cohort: Cohort) -> None:
    inputs = Inputs(own_cohort, diagnosis(train="all", harmonisation="histogram"), CPU, half_digitised(own_cohort))
    image = inputs.read(np.array([1]), np.array([0]))[0, 0].numpy()
    shown = load_digitiser("lumisys_200").apply(own_cohort.patches[1], noise(own_cohort, 1))
    expected = harmonise(shown, "histogram", None)
    assert np.array_equal(inputs.patch(1), expected)
    assert image.shape == (32, 32) and image.mean() == pytest.approx(0.5, abs=0.01)


def noise(cohort: Cohort, row: int) -> np.random.Generator:
    return generator_of("digitiser", load_digitiser("lumisys_200").digest, cohort.manifest["image"][row])


def test_a_harmonised_study_has_features_of_its_own(own_cohort: Cohort) -> None:
    records = true_records(own_cohort)
    folders = {
        folder_of(Inputs(own_cohort, diagnosis(harmonisation=how), CPU, records)) for how in ("none", "histogram")
    }
    assert len(folders) == 2


@pytest.mark.parametrize("whitening", [0.0, 0.25, 0.5])
def test_directions_are_principal_axes_of_drawn_patches(
    inputs: Make, monkeypatch: pytest.MonkeyPatch, whitening: float
) -> None:
    """Along them drawn patches are uncorrelated, and of norm 1 in the mean square.

    Variances are those along the axes, divided by their power of twice the whitening, but for one factor.
    """
    monkeypatch.setattr(opening, "DIRECTION_STAND_INS", STAND_INS)
    made, again = (inputs(directions=5, whitening=whitening) for _ in range(2))
    patches, _ = draw_patches(STAND_INS, seed=0)
    with torch.no_grad():
        read = torch.cat([made.classifier.prefix(View().of(patch)) for patch in patches])
        standard = made.classifier.standard(read)
        whole = ((read - made.classifier.center) / made.classifier.scale).double()
    covariance = torch.cov(standard.T)
    assert standard.shape == (STAND_INS, 5)
    assert torch.allclose(covariance, torch.diag(covariance.diag()), atol=1e-4)
    assert standard.square().sum(dim=1).mean().item() == pytest.approx(1, abs=1e-4)
    variances = torch.linalg.eigvalsh(torch.cov(whole.T)).flip(0)[:5]
    spread = (variances / variances[0]) ** (1 - 2 * whitening)
    assert torch.allclose(covariance.diag() / covariance[0, 0], spread.float(), atol=1e-3)
    assert torch.equal(again.classifier.constants["directions"], made.classifier.constants["directions"])
    assert list(made.classifier.constants) == ["center", "scale", "directions"]
    assert made.classifier.trained()["head.weight"].shape == (1, 5)
    assert made.classifier.head.bias_input == pytest.approx(5**-0.5), "as large as a direction, in the mean square"


def test_more_directions_than_numbers_are_refused(inputs: Make) -> None:
    with pytest.raises(InputError, match=r"diagnosis\.directions: 65, but the head reads 64 numbers only"):
        inputs(directions=65)
