"""A model that is given away: it scores as it did in its study, and what is wrong with what is given is said."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedmammo.cohort.patch import Box, cut_patch
from fedmammo.cohort.store import Cohort
from fedmammo.commands.export import export
from fedmammo.commands.predict import predict
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.models.package import ABOUT, CARD, WEIGHTS, Package

ARMS = {"local": {}, "federated": {}, "federated-head": {"diagnosis.train": "head"}}
MODEL = "federated-real-seed0-draw0-fold0-all"


@pytest.fixture(scope="module")
def run(
    new_study: Callable[[], dict[str, Any]],
    run_inline: Callable[..., Path],
    phantom_cohort: Cohort,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Blocks of a network learned: what is given away is more than a head. In a variant the head alone did."""
    study = new_study()
    study |= {"cohort": {"path": str(phantom_cohort.folder)}, "arms": ARMS}
    study["diagnosis"] |= {"train": "last_blocks:1", "features": [1, 2], "directions": 5, "harmonisation": "window"}
    return run_inline(parse(study, "small"), tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    """The federated model, given away."""
    export(run, "federated", run.parent / "model")
    return run.parent / "model"


def scored(model: Path, images: Path, boxes: str | None = None) -> pd.DataFrame:
    if boxes is not None:
        (images / "boxes.csv").write_text(boxes)
    return predict(model, images, images / "boxes.csv" if boxes is not None else None, lambda *_: None)


def write_image(folder: Path, name: str, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(folder / name)


@pytest.mark.parametrize("arm", ["federated", "federated-head"])
def test_it_scores_as_it_did_in_its_study(run: Path, phantom_cohort: Cohort, tmp_path: Path, arm: str) -> None:
    export(run, arm, tmp_path / "model")
    (tmp_path / "images").mkdir()
    tested = np.flatnonzero(phantom_cohort.manifest["split"] == "test")
    for row in tested:
        write_image(tmp_path / "images", f"{row:03d}.png", phantom_cohort.patches[row])
    found = scored(tmp_path / "model", tmp_path / "images")
    predictions = pd.read_csv(run / "predictions.csv")
    own = predictions[(predictions["arm"] == arm) & (predictions["split"] == "test")]
    assert list(found["image"]) == [f"{row:03d}.png" for row in tested]
    np.testing.assert_allclose(sorted(found["score"]), sorted(own["score"]), rtol=0, atol=1e-6)


def test_a_box_is_cut_as_a_cohort_is_prepared_and_a_lesion_is_the_mean_of_its_images(
    model: Path, phantom_cohort: Cohort, tmp_path: Path
) -> None:
    whole = np.concatenate([np.asarray(phantom_cohort.patches[row]) for row in (0, 1)], axis=1)
    write_image(tmp_path, "view.png", whole)
    found = scored(
        model,
        tmp_path,
        "image,left,top,right,bottom,lesion\nview.png,20,30,90,80,a\nview.png,150,10,250,100,a\nview.png,,,,,b\n",
    )
    package = Package.open(model)
    boxes = Box(20, 30, 90, 80), Box(150, 10, 250, 100)
    expected = [package.score(cut_patch(whole, box, 128)) for box in boxes]
    assert list(found["score"][:2]) == expected
    assert list(found["lesion_score"]) == [np.mean(expected), np.mean(expected), found["score"][2]]
    cut = package.about.balanced
    assert cut is not None
    assert list(found["above_balanced"]) == [int(score > cut) for score in found["lesion_score"]]
    again = pd.read_csv(io.StringIO(found.to_csv(index=False)))
    assert list(again["left"].dropna()) == [20, 150]


def test_the_cuts_are_those_of_the_study(run: Path, model: Path) -> None:
    """Youden's cut by hand: the validation score at which most are told right, classes weighed alike."""
    predictions = pd.read_csv(run / "predictions.csv")
    rows = predictions[(predictions["arm"] == "federated") & (predictions["split"] == "validation")]
    units = rows.groupby("lesion").agg(label=("label", "max"), score=("score", "mean"))
    malignant = units["label"] == 1

    def balanced(cut: float) -> float:
        above = units["score"] > cut
        return float(above[malignant].mean() - above[~malignant].mean())

    about = Package.open(model).about
    best = max(balanced(cut) for cut in units["score"])
    assert about.balanced in set(units["score"])
    assert about.balanced is not None
    assert balanced(about.balanced) == pytest.approx(best)
    assert about.prevalence == pytest.approx(malignant.mean())
    assert about.specific is None  # nine benign lesions would be needed


def test_the_card_says_what_it_is_and_names_no_path_and_no_patient(
    run: Path, model: Path, phantom_cohort: Cohort
) -> None:
    card = (model / CARD).read_text()
    results = pd.read_csv(run / "results.csv")
    row = results.query("arm == 'federated' and seed == '0' and metric == 'auroc' and unit == 'lesion'").iloc[0]
    for text in (
        MODEL,
        "no medical device",
        f"| auroc | {row['value']:.3f}",
        "trained without a budget can tell",
        "Licence",
    ):
        assert text.lower() in card.lower()
    written = card + (model / ABOUT).read_text()
    assert str(phantom_cohort.folder) not in written
    assert not any(patient in written for patient in phantom_cohort.manifest["patient"].unique())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("local", "several models begin so: local-real-seed0-draw0-fold0-hospital-1"), ("central", "no such model")],
)
def test_a_model_that_is_not_one_is_refused(run: Path, tmp_path: Path, wanted: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        export(run, wanted, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_cross_validated_run_has_none(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], tmp_path: Path
) -> None:
    study = phantom_study | {
        "arms": ["federated"],
        "evaluation": {"folds": 2},
        "federation": {"rounds": 1, "local_steps": 1},
    }
    folder = run_inline(parse(study, "small"), tmp_path / "run")
    with pytest.raises(InputError, match="cross-validated"):
        export(folder, "federated", tmp_path / "model")


def test_what_cannot_be_read_stays_a_row_that_says_why(model: Path, tmp_path: Path) -> None:
    write_image(tmp_path, "flat.png", np.full((400, 400), 1000, np.uint16))
    (tmp_path / "odd.dcm").write_bytes(b"no image")
    rows = [
        "image,left,top,right,bottom",
        "flat.png,150,150,200,200",
        "odd.dcm,1,1,50,50",
        "gone.png,,,,",
        "../x.png,,,,",
        "flat.png,5,,,",
        "flat.png,9,1,500,50",
        "flat.png,a,1,2,3",
        "flat.png",
    ]
    found = scored(model, tmp_path, "\n".join(rows))
    said = [
        "no contrast",
        "odd.dcm",
        "gone.png",
        "below the source",
        "incomplete",
        "not inside",
        "unreadable left",
        "9",
    ]
    assert found["score"].isna().all()
    assert len(found) == len(said)
    for text, note in zip(said, found["note"], strict=True):
        assert text in note


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / ABOUT).unlink(), "cannot be read"),
        (lambda folder: (folder / ABOUT).write_text("{}"), "restore the folder"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x"), "cannot be read as safetensors"),
        (lambda folder: other_head(folder), "is not the file that model.json names"),
        (lambda folder: other_network(folder), "does not fit the network"),
    ],
)
def test_a_model_that_was_altered_is_refused(
    model: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damage(folder)
    with pytest.raises(InputError, match=said):
        Package.open(folder)


def other_head(folder: Path) -> None:
    """Turn a byte of a tensor over."""
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def other_network(folder: Path) -> None:
    about = json.loads((folder / ABOUT).read_text())
    about["diagnosis"]["directions"] = 4
    (folder / ABOUT).write_text(json.dumps(about))
