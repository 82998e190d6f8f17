"""The pools of a run: made once for each holder, draw and fold, and taken up after a restart."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fedmammo.config import ALL, StudyConfig
from fedmammo.federation.arms import Group
from fedmammo.files import write_text
from fedmammo.privacy.plan import Plan
from fedmammo.settings import epsilon_of
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.folder import digest_of_images, read_images
from fedmammo.synthesis.pool import Pool, Synthetic, folder_of, write_pool
from fedmammo.synthesis.sources import POOLS_TABLE, FromFolder, FromGan, FromPhantom, Synthesis, guarantee_of
from fedmammo.training.task import Cell

COLUMNS = ["arm", "setting", "budget", "seed", "draw", "fold", "holder", "digest", "images", "guarantee"]
Generate = Callable[[Cell, StudyConfig, list[Group], Plan | None], dict[str, Synthetic]]
"""Trains an arm's generators in a cell, and returns the images that each of its groups gets, by the group's name."""


class Pools:
    """Pools below `root`, and the table `pools.csv` of who holds which.

    Args:
        root: folder of the run's pools.
        side: of a patch, in pixels, as in the study's cohort.
        generate: what the source `gan` calls.
    """

    def __init__(self, root: Path, side: int, generate: Generate) -> None:
        self.root = root
        self._side = side
        self._generate = generate

    def of(self, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan | None = None) -> dict[str, Pool]:
        """Return the pool of each group of a cell by the group's name, made where it is not there.

        Pools are those of an arm, draw and fold, and of a budget where generators have one. Settings share them, and so
        do seeds, which vary the classifier alone; but folds are dealt anew for each seed. Raises StudyError for a pool
        that was altered.
        """
        table = self._table()
        seed = str(cell.seed) if config.evaluation.folds else ALL
        budget = str(epsilon_of(cell.setting)) if config.generator_share(cell.setting) else ""
        place = {"arm": cell.arm, "budget": budget, "seed": seed, "draw": str(cell.draw), "fold": str(cell.fold)}
        own = table[(table[list(place)] == pd.Series(place)).all(axis=1)].set_index("holder")["digest"]
        known = {group.name: own.get(group.name) for group in groups}
        if not all(digest and folder_of(self.root, digest).exists() for digest in known.values()):
            pools = self._make(cell, config, groups, plan, table)
            rows = [
                {
                    **place,
                    "setting": cell.setting,
                    "holder": name,
                    "digest": pool.digest,
                    "images": str(len(pool.images)),
                }
                | {"guarantee": pool.manifest["guarantee"]}
                for name, pool in pools.items()
            ]
            others = table.drop(table.index[(table[list(place)] == pd.Series(place)).all(axis=1)])
            write_text(self.root / POOLS_TABLE, pd.concat([others, pd.DataFrame(rows)])[COLUMNS].to_csv(index=False))
            return pools
        return {name: Pool.open(self.root, str(digest)) for name, digest in known.items()}

    def _make(
        self, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan | None, table: pd.DataFrame
    ) -> dict[str, Pool]:
        source = config.synthesis
        if source is None:
            raise ValueError(f"setting {cell.setting} has no source of images")
        about, guarantee = source.model_dump(mode="json", exclude={"synthetic_per_real"}), guarantee_of(source)
        if isinstance(source, FromGan):
            made = self._generate(cell, config, groups, plan)
            return {name: write_pool(self.root, images, about, guarantee) for name, images in made.items()}
        # The other sources know of no holder: there is one pool for all.
        before = [digest for digest in table["digest"] if folder_of(self.root, digest).exists()]
        if before:
            pool = Pool.open(self.root, before[0])
        else:
            side = self._side
            images = draw_phantoms(source, side) if isinstance(source, FromPhantom) else read_images(source, side)
            pool = write_pool(self.root, images, about, guarantee)
        return {group.name: pool for group in groups}

    def _table(self) -> pd.DataFrame:
        path = self.root / POOLS_TABLE
        return pd.read_csv(path, dtype=str, na_filter=False) if path.exists() else pd.DataFrame(columns=COLUMNS)


def check_source(source: Synthesis) -> str:
    """Return what the images of a source depend on beside the study and the code: a digest, or nothing.

    Raises InputError where the source is not there.
    """
    return digest_of_images(source) if isinstance(source, FromFolder) else ""
