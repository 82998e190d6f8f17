"""What the trained part of a network reads: stored outputs of the frozen prefix, or images where nothing is frozen."""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.weights import NO_FILE, name_of_weights
from fedmammo.disk.files import digest_of_content
from fedmammo.features.image_set import ImageSet, images_of_cohort, images_of_pool
from fedmammo.features.memory import table_of
from fedmammo.features.opening import encode, open_classifier
from fedmammo.features.resize import resize
from fedmammo.features.store import FeatureStore, Rows
from fedmammo.features.views import View, views_of
from fedmammo.hospitals.records import Records
from fedmammo.models.classifier import Classifier
from fedmammo.synthesis.pool import Pool

FEATURES_AT_ONCE = 32  # images of which the frozen prefix is computed before somebody reports


class Inputs:
    """What is trained (`model`) and its inputs for the images of a cohort, as its hospitals have them on record.

    The prefix's outputs lie in the cohort's own folder, `features/<key>/<digitiser>-<view>.npy`, one row per image of
    the manifest. Each image goes through the prefix alone, so that a row depends on nothing but its image. The key
    covers weights, configuration of the prefix, cohort and library versions; who holds which patients does not matter,
    but for the digitiser.

    With a pool (`joined`) the rows behind those of the manifest, from `images_of_patients` on, are the pool's images.
    """

    def __init__(
        self,
        cohort: Cohort | None,
        config: DiagnosisConfig,
        device: torch.device,
        records: Records | None,
        public: Path | None = None,
    ) -> None:
        """Open the inputs of a cohort's images; without a cohort, those of pools alone.

        `public`: see `open_classifier`; the cohort's folder of features, if not told.
        """
        if public is None:
            public = cohort.features if cohort is not None else Path()
        self.device, self.public = device, public
        self.weights = {} if config.weights in NO_FILE else {name_of_weights(config.weights): Path(config.weights)}
        self.harmonisation = config.harmonisation
        self.views = views_of(config.augmentation)
        opened = open_classifier(config, device, public)
        self.model, self._network, self._prefix = opened.model, opened.network, opened.prefix
        self._constants = opened.constants
        self.has_prefix = self._prefix["frozen"] is not None
        with torch.no_grad():  # a process opens it once, and may have trained it since
            for name, parameter in self.model.trained().items():
                parameter.copy_(opened.start[name])
        self.images_of_patients = 0
        self._sets: list[tuple[ImageSet, FeatureStore]] = []
        if cohort is not None and records is not None:
            self.images_of_patients = len(cohort.manifest)
            self._add(images_of_cohort(cohort, records))

    @property
    def classifier(self) -> Classifier:
        """The whole classifier; where the head alone is trained it is built when somebody asks for it."""
        return self._network()

    @property
    def linear(self) -> bool:
        """Whether the head alone is trained."""
        return not isinstance(self.model, Classifier)

    def joined(self, pool: Pool, lasting: bool = True) -> "Inputs":
        """Return the inputs of the same classifier with a pool's images behind those of the cohort.

        `lasting`: whether features of drawn images stay for later runs; not where a message says that they are drawn.
        """
        joined = copy.copy(self)
        joined._sets = self._sets[:1] if self.images_of_patients else []
        joined._add(images_of_pool(pool, self.public if lasting else None))
        return joined

    def _add(self, images: ImageSet) -> None:
        key = digest_of_content({**self._prefix, "images": images.digest})
        store = FeatureStore(images.features / key[:16], len(images.names), self._length)
        self._sets = [*self._sets, (images, store)]
        self.malignant = np.concatenate([one.malignant for one, _ in self._sets])
        shown = [(number, shower) for number, (one, _) in enumerate(self._sets) for shower in one.digitisers]
        self._showers = list(dict.fromkeys(shown))  # which set, which digitiser: each has files of its own
        numbers = {shower: number for number, shower in enumerate(self._showers)}
        self._shower_of = np.array([numbers[shower] for shower in shown])

    def _length(self) -> int:
        return self._encode(View().of(self._sets[0][0].patches[0])).shape[1]

    def _encode(self, image: Tensor) -> Tensor:
        return encode(self.classifier, image.to(self.device))

    def patch(self, row: int) -> NDArray[np.uint16]:
        """Show the patch of a row, (side, side), as its digitiser and the harmonisation leave it."""
        number, start = self._place_of(row)
        return self._sets[number][0].patch(row - start, self.harmonisation)

    def _place_of(self, row: int) -> tuple[int, int]:
        """Return the set that holds a row, and the row with which that begins."""
        if self.images_of_patients and row >= self.images_of_patients:
            return 1, self.images_of_patients
        return 0, 0

    def missing(self, rows: Rows) -> Rows:
        """Return those of the rows whose features are still to be computed for some view."""
        if not self.has_prefix:
            return rows[:0]
        done = np.ones(len(rows), bool)
        for view in range(len(self.views)):
            for store, look, at, own in self._looks(rows, np.full(len(rows), view)):
                done[at] &= store.done(look, own)
        return rows[~done]

    def compute(self, rows: Rows) -> None:
        """Compute and store the features of these rows in every view; nothing is done twice.

        Processes that are asked for the same rows share the work: each takes those that no other has in hand, then
        waits for the others.
        """
        if not self.has_prefix:
            return
        for wait in (False, True):
            for row in self.missing(rows):
                self._compute(row, wait)

    def _compute(self, row: int, wait: bool) -> None:
        for number, view in enumerate(self.views):
            [(store, look, _, own)] = self._looks(np.array([row]), np.array([number]))
            with store.claim(look, int(own[0]), wait) as mine:
                if mine and not store.done(look, own)[0]:
                    self.classifier.train(False)  # a training that raised may have left it on
                    store.put(look, int(own[0]), self._encode(view.of(self.patch(row)))[0].cpu().numpy())

    def put(self, view: int, features: NDArray[np.float32]) -> None:
        """Store what the prefix makes of every image of the first set in a view, (images, length), as if computed."""
        for store, look, at, own in self._looks(np.arange(len(features)), np.full(len(features), view)):
            for place, row in zip(at, own, strict=True):
                store.put(look, int(row), features[place])

    def read(self, rows: Rows, views: NDArray[np.int64]) -> Tensor:
        """Return the inputs of image `rows[i]` in view `views[i]`: (len(rows), length), or images.

        Without a frozen prefix: float32 images (len(rows), 1, side, side), crops resized to the network's input.
        Raises KeyError for a row whose features were never computed.
        """
        if not self.has_prefix:
            shown = [self.views[view].of(self.patch(row)) for row, view in zip(rows, views, strict=True)]
            return torch.cat([resize(image, self.classifier.image_size) for image in shown]).to(self.device)
        parts = [(at, store.read(look, own)) for store, look, at, own in self._looks(rows, views)]
        features = np.empty((len(rows), parts[0][1].shape[1]), np.float32)
        for at, part in parts:
            features[at] = part
        return torch.from_numpy(features).to(self.device)

    def standard(self, rows: Rows, views: NDArray[np.int64]) -> Tensor:
        """Return what a linear head reads of `rows[i]` in view `views[i]`: centred, scaled and along any directions.

        Raises KeyError for a row whose features were never computed.
        """
        found: Tensor | None = None
        for store, look, at, own in self._looks(rows, views):
            file, width = store.folder / look, self.model.head.in_features
            table = table_of(file, self._constants, store.images, width, self.device)
            part = table.read(own, partial(store.read, look), self.model.standard)
            if len(at) == len(rows):
                return part
            found = part.new_empty(len(rows), width) if found is None else found
            found[torch.from_numpy(at).to(self.device)] = part
        return found if found is not None else torch.empty(0, self.model.head.in_features, device=self.device)

    def _looks(self, rows: Rows, views: NDArray[np.int64]) -> list[tuple[FeatureStore, str, NDArray[np.int64], Rows]]:
        """Sort images by the files that hold their features: the file, which of them it holds, their rows there."""
        files = self._shower_of[rows] * len(self.views) + views
        looks = []
        for file in np.unique(files):
            shower, view = divmod(int(file), len(self.views))
            number, digitiser = self._showers[shower]
            name = self.views[view].name
            at = np.flatnonzero(files == file)
            own = rows[at] - (self.images_of_patients if number else 0)
            looks.append((self._sets[number][1], f"{digitiser.digest}-{name}" if digitiser else name, at, own))
        return looks
