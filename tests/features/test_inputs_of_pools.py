"""The inputs of synthetic pools: behind a cohort's images, or alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.hospitals.records import Records, true_records
from fedmammo.phantom.patches import draw_patches
from fedmammo.synthesis.pool import Synthetic, write_pool
from fedmammo.synthesis.sources import NONE_NEEDED

CPU = torch.device("cpu")


def diagnosis(**keys: Any) -> DiagnosisConfig:
    defaults = {"network": "test_vit", "weights": "none", "image_size": 32, "optimizer": {"learning_rate": 0.01}}
    return DiagnosisConfig.model_validate(defaults | keys)


def half_digitised(cohort: Cohort) -> Records:
    """Every other image is shown by a digitiser."""
    records, digitiser = true_records(cohort), load_digitiser("lumisys_200")
    return replace(records, digitisers=tuple(digitiser if row % 2 else None for row in range(len(cohort.manifest))))


def test_whoever_has_no_images_opens_the_same_network(own_cohort: Cohort, tmp_path: Path) -> None:
    """As the server does for pools alone, with constants in a folder of its own, of the same drawn patches."""
    made = Inputs(own_cohort, diagnosis(), CPU, true_records(own_cohort))
    alone = Inputs(None, diagnosis(), CPU, None, tmp_path / "public")
    pool = write_pool(
        tmp_path, Synthetic(draw_patches(2, seed=9)[0], np.array([True, False]), np.full(2, "a")), {}, "none"
    )
    joined = alone.joined(pool)
    assert joined.images_of_patients == 0 and joined.malignant.tolist() == [True, False]
    for name, value in made.classifier.constants.items():
        assert torch.equal(joined.classifier.constants[name], value)
    beside = made.joined(pool)
    rows, views = np.arange(2), np.array([0, 1])
    joined.compute(rows)
    assert len(beside.missing(46 + rows)) == 0, "features of a pool's images are shared"
    assert torch.equal(joined.read(rows, views), beside.read(46 + rows, views))


def test_a_pools_images_stand_behind_the_cohorts(own_cohort: Cohort, tmp_path: Path) -> None:
    """Three sets of files in one reading: images as they are, digitised ones, synthetic ones, which no device shows."""
    patches = draw_patches(4, seed=9)[0]
    synthetic = Synthetic(patches, np.array([True, False, False, True]), np.full(4, "phantom"))
    pool = write_pool(tmp_path / "synthetic", synthetic, {}, "none")
    alone = Inputs(own_cohort, diagnosis(), CPU, half_digitised(own_cohort))
    joined = alone.joined(pool)
    assert len(alone.malignant) == 46 and joined.malignant.tolist() == [*alone.malignant, True, False, False, True]
    rows, views = np.array([49, 0, 46, 1, 49]), np.array([1, 0, 0, 1, 0])
    assert joined.missing(rows).tolist() == rows.tolist()
    alone.compute(np.array([0, 1]))
    assert joined.missing(rows).tolist() == [49, 46, 49]
    joined.compute(np.array([46, 49]))
    assert len(joined.missing(rows)) == 0
    found = joined.read(rows, views)
    assert torch.equal(found[[1, 3]], alone.read(rows[[1, 3]], views[[1, 3]]))
    with torch.no_grad():
        for place, number in ((0, 3), (2, 0), (4, 3)):
            view = joined.views[views[place]]
            assert torch.equal(found[place], joined.classifier.prefix(view.of(patches[number]))[0])
    assert [path.parent for path in (pool.folder / "features").rglob("whole.npy")] != [alone._sets[0][1].folder]


def test_a_pools_images_where_nothing_is_frozen(own_cohort: Cohort, tmp_path: Path) -> None:
    """They are harmonised like all others, and nothing is stored of them."""
    patches = draw_patches(2, seed=9)[0]
    pool = write_pool(tmp_path, Synthetic(patches, np.array([True, False]), np.full(2, "phantom")), {}, "none")
    config = diagnosis(train="all", harmonisation="histogram", image_size=128)
    joined = Inputs(own_cohort, config, CPU, true_records(own_cohort)).joined(pool)
    image = joined.read(np.array([47]), np.array([0]))[0, 0].numpy()
    assert np.array_equal(np.rint(image * 65535), harmonise(patches[1], "histogram", None))
    assert not (pool.folder / "features").exists()


def test_features_of_drawn_images_stay_with_the_cohort_where_nobody_had_to_be_believed(
    own_cohort: Cohort, tmp_path: Path
) -> None:
    """A pool that arrived only says that it was drawn: its features go with it, as those of all others do."""
    made = Inputs(own_cohort, diagnosis(), CPU, true_records(own_cohort))
    images = Synthetic(draw_patches(1, seed=9)[0], np.array([True]), np.full(1, "a"))
    for guarantee, lasting, stays in ((NONE_NEEDED, True, True), (NONE_NEEDED, False, False), ("none", True, False)):
        pool = write_pool(tmp_path / f"{guarantee[:5]}-{lasting}", images, {}, guarantee)
        folder = made.joined(pool, lasting)._sets[1][1].folder
        assert folder.is_relative_to(own_cohort.folder / "features") == stays
        assert folder.is_relative_to(pool.folder) != stays
