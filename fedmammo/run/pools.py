"""The pools of a run: made once for each holder, draw and fold, and taken up after a restart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.sections import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.federation.arms import Group
from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.plan import Plan
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.folder import digest_of_images, read_images
from fedmammo.synthesis.pool import Pool, Synthetic, folder_of, write_pool
from fedmammo.synthesis.sources import NO_GUARANTEE, POOLS_TABLE, FromFolder, FromGan, FromPhantom, Synthesis
from fedmammo.training.task import Cell

COLUMNS = ["arm", "setting", "sole_setting", "seed", "draw", "fold", "holder", "digest", "images", "guarantee"]
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

        Pools are those of an arm, draw and fold. Settings share them, but for a setting whose generators have a part of
        its budget (it is their `sole_setting`); so do seeds, which vary the classifier alone, but folds are dealt anew
        for each seed. Raises StudyError for a pool that was altered.
        """
        table = self._table()
        seed = str(cell.seed) if config.evaluation.folds else ALL
        sole = cell.setting if config.private_generator else ""
        place = {"arm": cell.arm, "sole_setting": sole, "seed": seed, "draw": str(cell.draw), "fold": str(cell.fold)}
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
                | {"guarantee": in_words(pool.manifest["guarantee"])}
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
        about, guarantee = source.model_dump(mode="json", exclude={"synthetic_per_real"}), guarantee_of(config, plan)
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


def guarantee_of(study: StudyConfig, plan: Plan | None) -> str | dict[str, Any]:
    """Say what a deployment's pool guarantees the patients whom its generators learned from, for the manifest.

    Of generators under a budget: what they alone cost, `epsilon` at `delta`, and the `unit` that it holds for. Nothing
    is guaranteed where the noise can be drawn again from a seed that the study tells.
    """
    if isinstance(study.synthesis, FromPhantom):
        return "none needed: drawn by rule, at published rates"
    if plan is None or not study.private_generator or study.privacy.secret_seed is not None:
        return NO_GUARANTEE
    spent = spent_of((mechanism, mechanism.steps) for mechanism in plan.mechanisms if mechanism.stage != "train")
    return {"epsilon": epsilon(spent, plan.delta), "delta": plan.delta, "unit": "patient"}


def in_words(guarantee: str | dict[str, Any]) -> str:
    """Write a guarantee for a table."""
    if isinstance(guarantee, str):
        return guarantee
    return f"epsilon {guarantee['epsilon']:.4g} at delta {guarantee['delta']:g} per {guarantee['unit']}"


def check_source(source: Synthesis) -> str:
    """Return what the images of a source depend on beside the study and the code: a digest, or nothing.

    Raises InputError where the source is not there.
    """
    return digest_of_images(source) if isinstance(source, FromFolder) else ""
