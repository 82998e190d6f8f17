"""The pools of a run: made once for each holder, draw and fold, and taken up after a restart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import alone, write_text
from fedmammo.federation.rounds import Deployed
from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.plan import Plan
from fedmammo.synthesis.drawn import draw_phantoms
from fedmammo.synthesis.folder import digest_of_images, read_images
from fedmammo.synthesis.pool import Pool, Synthetic, folder_of, write_pool
from fedmammo.synthesis.sources import (
    NO_GUARANTEE,
    NONE_NEEDED,
    POOLS_TABLE,
    FromFolder,
    FromGan,
    FromPhantom,
    Synthesis,
)

COLUMNS = ["arm", "setting", "sole_setting", "seed", "draw", "fold", "holder", "digest", "images", "guarantee"]
Generate = Callable[[Deployed], dict[str, Synthetic]]
"""Trains the generators of a deployment's groups, and returns the images that each gets, by the group's name."""


class Pools:
    """Pools below `root`, and the table `pools.csv` of who holds which.

    Args:
        root: folder of the run's pools.
        side: of a patch, in pixels, as the hospitals have them.
        source: the study's, where it has one.
        generate: what the source `gan` calls.
        seeded: whether secrets come from a seed that the study tells, so that nothing is private.
    """

    def __init__(self, root: Path, side: int, source: Synthesis | None, generate: Generate, seeded: bool) -> None:
        self.root = root
        self._side = side
        self._source = source
        self._generate = generate
        self._seeded = seeded

    def of(self, deployed: Deployed, setting: str | None = None) -> dict[str, Pool]:
        """Return the pool of each group of a deployment by the group's name, made where it is not there.

        Pools are those of an arm, draw and fold. Settings share them, but for a setting whose generators have a part of
        its budget (it is their `sole_setting`); so do seeds, which vary the classifier alone, but folds are dealt anew
        for each seed. `setting`: the study's, where the deployment is one without its budget. Raises StudyError for a
        pool that was altered.
        """
        deployment = deployed.deployment
        seed = str(deployment.seed) if deployment.dealing.folds else ALL
        sole = deployment.setting_name if deployment.generator_share else ""
        place = {"arm": deployment.arm_name, "sole_setting": sole, "seed": seed}
        place |= {"draw": str(deployment.draw), "fold": str(deployment.fold)}
        with alone(self.root):  # deployments that share a pool may run side by side
            table = self._table()
            here = (table[list(place)] == pd.Series(place)).all(axis=1)
            here &= table["holder"].isin([group.name for group in deployed.groups])
            own = table[here].set_index("holder")["digest"]
            known = {group.name: own.get(group.name) for group in deployed.groups}
            if all(digest and folder_of(self.root, digest).exists() for digest in known.values()):
                return {name: Pool.open(self.root, str(digest)) for name, digest in known.items()}
            pools = self._make(deployed, table)
            rows = [
                {**place, "setting": setting or deployment.setting_name, "holder": name, "digest": pool.digest}
                | {"images": str(len(pool.images)), "guarantee": in_words(pool.manifest["guarantee"])}
                for name, pool in pools.items()
            ]
            others = table.drop(table.index[here])
            write_text(self.root / POOLS_TABLE, pd.concat([others, pd.DataFrame(rows)])[COLUMNS].to_csv(index=False))
            return pools

    def _make(self, deployed: Deployed, table: pd.DataFrame) -> dict[str, Pool]:
        source = self._source
        if source is None:
            raise ValueError(f"setting {deployed.deployment.setting_name} has no source of images")
        about = source.model_dump(mode="json", exclude={"synthetic_per_real", "path"})  # the manifest travels
        guarantee = guarantee_of(deployed.deployment, deployed.plan, self._seeded)
        if isinstance(source, FromGan):
            made = self._generate(deployed)
            return {name: write_pool(self.root, images, about, guarantee) for name, images in made.items()}
        # The other sources know of no holder: there is one pool for all.
        before = [digest for digest in table["digest"] if folder_of(self.root, digest).exists()]
        if before:
            pool = Pool.open(self.root, before[0])
        else:
            side = self._side
            images = draw_phantoms(source, side) if isinstance(source, FromPhantom) else read_images(source, side)
            pool = write_pool(self.root, images, about, guarantee)
        return {group.name: pool for group in deployed.groups}

    def _table(self) -> pd.DataFrame:
        path = self.root / POOLS_TABLE
        return pd.read_csv(path, dtype=str, na_filter=False) if path.exists() else pd.DataFrame(columns=COLUMNS)


def guarantee_of(deployment: Deployment, plan: Plan | None, seeded: bool) -> str | dict[str, Any]:
    """Say what a deployment's pool guarantees the patients whom its generators learned from, for the manifest.

    Of generators under a budget: what they alone cost, `epsilon` at `delta`, and the `unit` that it holds for. Nothing
    is guaranteed where the noise can be drawn again from a seed that the study tells.
    """
    if isinstance(deployment.source, FromPhantom):
        return NONE_NEEDED
    if plan is None or not deployment.generator_share or seeded:
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
