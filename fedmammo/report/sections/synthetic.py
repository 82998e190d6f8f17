"""Synthetic images: how they look, how good they are, what holds for patients whom their generator learned from."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from fedmammo.errors import StudyError
from fedmammo.report.blocks import Block, Picture, Side, Table, text
from fedmammo.report.chapter import Chapter, headings
from fedmammo.run.results import Run
from fedmammo.synthesis.pool import CLASSES, Pool
from fedmammo.synthesis.sources import POOLS

IMAGES, PIXELS = 12, 96  # of each class; side in the page
POOLS_SHOWN = 4


def pools(run: Run) -> Sequence[Block]:
    """Return pictures of some pools, and the list of all."""
    table = run.pools
    order = table["arm"].map(("federated", "centralized", "local").index)
    first = table.loc[order.sort_values(kind="stable").index].drop_duplicates(["arm", "holder"])
    first = first.drop_duplicates("digest")
    shown: list[Block] = []
    for row in first[:POOLS_SHOWN].to_dict("records"):
        try:
            pool = Pool.open(run.folder / POOLS, str(row["digest"]))
        except StudyError:  # dropped, to save room
            continue
        for malignant, name in enumerate(CLASSES):
            chosen = np.flatnonzero(pool.images["malignant"].to_numpy() == bool(malignant))[:IMAGES]
            says = f"{name} images of {row['holder']} ({row['arm']})"
            shown.append(_Titled(says, Picture(_grid(pool.patches[chosen]), f"synthetic {says}")))
    keys = headings("arm", "setting", "seed", "draw", "fold", "holder", "images", "guarantee", "digest")
    return [
        text("The first images of each class, unsorted. Where the guarantee is none, an image may show what a "
             "patient's showed: keep such images as patients' images are kept.", kind="notice"),
        Side(shown),
        Table("Pools of synthetic images", table, keys, "synthetic/pools"),
    ]  # fmt: skip


def quality(run: Run) -> Sequence[Block]:
    """Return each measure beside its value for real images."""
    keys = headings(
        "arm",
        "seed",
        "draw",
        "fold",
        "holder",
        "metric",
        "value",
        "sd",
        "real_to_real",
        "real_to_real_sd",
        "images",
        "note",
    )
    return [
        text("Each measure stands beside the same of real images against real ones: they are good where both are "
             "alike. The nearest patient ratio tells of copies: distance to the nearest training patient over that to "
             "the next one, near 0 for a copy. That there are no copies is no proof of privacy."),
        Table("Measures", run.quality, keys, "synthetic/quality"),
    ]  # fmt: skip


class _Titled:
    """A picture below its title."""

    def __init__(self, title: str, picture: Picture) -> None:
        self._title, self._picture = title, picture

    def html(self) -> Any:
        """Return it as HTML."""
        return text(self._title, kind="small").html() + self._picture.html()


def _grid(patches: np.ndarray) -> bytes:
    """Put patches, 0-65535, side by side, as PNG."""
    rows = [np.asarray(Image.fromarray((patch >> 8).astype(np.uint8)).resize((PIXELS, PIXELS))) for patch in patches]
    rows += [np.zeros((PIXELS, PIXELS), np.uint8)] * (-len(rows) % (IMAGES // 2))
    lines = [np.concatenate(rows[at : at + IMAGES // 2], axis=1) for at in range(0, len(rows), IMAGES // 2)]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).save(buffer, format="PNG")
    return buffer.getvalue()


LOOKS = Chapter("synthetic", "Synthetic images", ("synthetic/pools",), pools)
QUALITY = Chapter("quality", "How good synthetic images are", ("synthetic/quality",), quality)
