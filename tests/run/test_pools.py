"""Pools are made once for each arm, draw and fold, whoever asks, and taken up after a restart."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.arms import Group, groups_of
from fedmammo.randomness import generator_of
from fedmammo.run.pools import Pools, check_source
from fedmammo.synthesis.pool import Pool, Synthetic
from fedmammo.training.task import Cell

SIDE = 16
LOCAL = Cell("local", "pretrained", 0, 0, 0)
CENTRALIZED = Cell("centralized", "pretrained", 0, 0, 0)


class Generators:
    """Stands for an arm's generators: noise that depends on whose it is, and a list of the cells that asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(
        self, cell: Cell, config: StudyConfig, groups: list[Group], plan: object = None
    ) -> dict[str, Synthetic]:
        self.asked.append(cell.name)
        return {group.name: self.images(cell, group.name) for group in groups}

    @staticmethod
    def images(cell: Cell, holder: str) -> Synthetic:
        noise = generator_of(cell.arm, cell.draw, cell.fold, holder).integers(0, 65536, (4, SIDE, SIDE))
        return Synthetic(noise.astype(np.uint16), np.arange(4) % 2 == 1, np.full(4, holder))


@pytest.fixture
def generators() -> Generators:
    return Generators()


@pytest.fixture
def pools(tmp_path: Path, generators: Generators) -> Pools:
    return Pools(tmp_path, SIDE, generators)


def study(content: dict[str, Any], source: str, **keys: Any) -> StudyConfig:
    return parse(content | {"synthesis": {"source": source, "images": 4}, **keys}, "small")


def of(pools: Pools, config: StudyConfig, cell: Cell) -> dict[str, Pool]:
    return pools.of(cell, config, groups_of(cell.arm, ["A", "B"], config.federation.strategy))


def table(tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "pools.csv", dtype=str, na_filter=False)


def test_each_holder_has_the_images_of_its_own_generator(
    pools: Pools, generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    found = of(pools, study(small_study, "gan"), LOCAL)
    assert list(found) == ["A", "B"]
    for name, pool in found.items():
        assert np.array_equal(pool.patches, generators.images(LOCAL, name).patches)
    written = table(tmp_path)
    assert ",".join(written) == "arm,setting,sole_setting,seed,draw,fold,holder,digest,images,guarantee"
    assert written["holder"].tolist() == ["A", "B"] and set(written["guarantee"]) == {"none"}
    assert written["digest"].tolist() == [pool.digest for pool in found.values()]
    assert found["A"].manifest["source"]["source"] == "gan"


def test_seeds_and_settings_share_a_pool_but_folds_do_not(
    pools: Pools, generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    """Without folds a pool serves all seeds; with folds, which are dealt anew for each seed, one seed and fold."""
    plain = study(small_study, "gan")
    first = of(pools, plain, LOCAL)
    for cell in (Cell("local", "augmented", 0, 0, 0), Cell("local", "pretrained", 7, 0, 0)):
        assert {name: pool.digest for name, pool in of(pools, plain, cell).items()} == {
            name: pool.digest for name, pool in first.items()
        }
    assert len(generators.asked) == 1 and set(table(tmp_path)["seed"]) == {"all"}
    of(pools, plain, Cell("local", "pretrained", 0, 1, 0))
    assert len(generators.asked) == 2

    folds = study(small_study, "gan", evaluation={"folds": 2})
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        of(pools, folds, Cell("local", "pretrained", seed, 0, fold))
        of(pools, folds, Cell("local", "augmented", seed, 0, fold))
    assert len(generators.asked) == 5


def test_a_restart_takes_them_up(
    pools: Pools, generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    config = study(small_study, "gan")
    first = of(pools, config, LOCAL)
    written = (tmp_path / "pools.csv").read_bytes()
    again = of(Pools(tmp_path, SIDE, generators), config, LOCAL)
    assert {name: pool.digest for name, pool in again.items()} == {name: pool.digest for name, pool in first.items()}
    assert len(generators.asked) == 1

    shutil.rmtree(first["B"].folder)
    remade = of(Pools(tmp_path, SIDE, generators), config, LOCAL)
    assert remade["B"].folder.is_dir() and remade["B"].digest == first["B"].digest
    assert (tmp_path / "pools.csv").read_bytes() == written

    (first["A"].folder / "images.csv").write_text("image,malignant,origin\n")
    with pytest.raises(StudyError, match="remove the folder"):
        of(Pools(tmp_path, SIDE, generators), config, LOCAL)


def test_what_looks_at_no_patient_is_one_pool_for_all(
    pools: Pools, generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    config = study(small_study, "phantom", evaluation={"folds": 2})
    digests = {pool.digest for cell in (LOCAL, CENTRALIZED) for pool in of(pools, config, cell).values()}
    assert len(digests) == 1 and generators.asked == []
    assert table(tmp_path)["holder"].tolist() == ["A", "B", "all"]
    assert set(table(tmp_path)["guarantee"]) == {"none needed: drawn by rule, at published rates"}


def test_what_a_study_depends_on(small_study: dict[str, Any], tmp_path: Path) -> None:
    """Nothing beside the code for what is drawn; for a folder a digest of its images, or one line."""
    assert check_source(study(small_study, "phantom").synthesis) == ""
    folder = parse(small_study | {"synthesis": {"source": "folder", "path": str(tmp_path / "nowhere")}}, "small")
    with pytest.raises(InputError, match=r"synthesis\.path: .*nowhere is no folder"):
        check_source(folder.synthesis)
