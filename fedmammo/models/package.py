"""A trained classifier that can be given to somebody: a folder with all that scoring an image takes, and no patient.

`model.json` says how an image becomes a patch and a patch a score, and at which cuts; `weights.safetensors` has the
whole network, its head and the constants by which the head's inputs are centred, scaled and projected; `README.md` is
the model card. No code is in it, and none is run when it is opened.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from fedmammo.config.evaluation import Pooling, Unit
from fedmammo.config.schema import Section
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.weights import name_of_weights
from fedmammo.disk.files import read_tensors, write_tensors, write_text
from fedmammo.errors import InputError
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.opening import encode
from fedmammo.features.views import views_of
from fedmammo.models.classifier import Classifier, build_classifier

ABOUT, WEIGHTS, CARD = "model.json", "weights.safetensors", "README.md"


class About(Section):
    """What stands in `model.json`."""

    format: Literal[2] = Field(default=2, description="Of this file.")
    name: str = Field(description="Arm, setting, seed, draw, and where it was trained.")
    diagnosis: DiagnosisConfig = Field(description="The classifier; its weights are in the file beside.")
    size: int = Field(ge=1, le=4096, description="Side of a patch in pixels.")
    margin: float = Field(ge=0, le=10, description="Around a lesion's box, as a share of its larger side.")
    unit: Unit = Field(description="Whose mean score the cuts are for.")
    pooling: Pooling = Field(description="Whether that is the mean of probabilities or of log odds.")
    balanced: float | None = Field(
        ge=0, le=1, description="Validation score of the greatest balanced accuracy; who scores higher is positive."
    )
    specific: float | None = Field(
        ge=0, le=1, description="Validation score that at most 10 % of benign units are expected to exceed."
    )
    prevalence: float | None = Field(ge=0, le=1, description="Malignant share of the validation units.")
    weights: str = Field(pattern=r"^[0-9a-f]{64}$", description=f"SHA-256 of {WEIGHTS}.")
    software: str = Field(description="By which it was written.")


class Package:
    """A classifier, ready to score.

    Args:
        about: what it is.
        classifier: with all its tensors.
    """

    def __init__(self, about: About, classifier: Classifier) -> None:
        self.about = about
        self._classifier = classifier.train(False)
        self._views = [view for view in views_of(about.diagnosis.augmentation) if not view.crop]

    @classmethod
    def open(cls, folder: Path) -> "Package":
        """Open the folder. Raises InputError where it holds no model, or another than it says."""
        path = folder / ABOUT
        try:
            about = About.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); name a folder that export made") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: {place}: {first['msg']}; restore the folder that export made") from error
        tensors = read_tensors(folder / WEIGHTS)[0]
        if name_of_weights(str(folder / WEIGHTS)) != about.weights:
            raise InputError(f"{folder / WEIGHTS}: is not the file that {ABOUT} names; restore both")
        classifier = build_classifier(about.diagnosis.model_copy(update={"weights": "none"}))
        try:
            classifier.load_state_dict(tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{folder / WEIGHTS}: does not fit the network in {ABOUT}: {reason}") from error
        return cls(about, classifier)

    @torch.no_grad()
    def score(self, patch: NDArray[np.uint16]) -> float:
        """Return the probability of malignancy of a patch (size, size): logits averaged over its mirrored views."""
        shown = harmonise(patch, self.about.diagnosis.harmonisation, None)
        logits = [self._classifier(encode(self._classifier, view.of(shown))) for view in self._views]
        return float(torch.cat(logits).mean().sigmoid())


def write_package(folder: Path, about: dict[str, object], classifier: Classifier, card: str) -> None:
    """Write a model into a folder.

    Args:
        folder: to fill.
        about: the fields of `About`, but for the digest of the weights.
        classifier: with all its tensors.
        card: the model card, in Markdown.
    """
    write_tensors(folder / WEIGHTS, classifier.state_dict())
    whole = About.model_validate({**about, "weights": name_of_weights(str(folder / WEIGHTS))})
    write_text(folder / ABOUT, json.dumps(whole.model_dump(mode="json"), indent=2) + "\n")
    write_text(folder / CARD, card)
