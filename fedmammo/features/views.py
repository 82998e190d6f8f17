"""The views of an image: a fixed, numbered set of flips, turns and crops; features of all can be computed once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.sections import AugmentationConfig

CROP_SIDE = 7 / 8  # side of a crop over side of the patch
CROP_PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # corners, then the centre


@dataclass(frozen=True)
class View:
    """One view: mirrored left-right, mirrored top-bottom, and crop 1-5 of `CROP_PLACES` (0 = the whole patch).

    Transposed, its rows are columns before it is mirrored: together all eight ways to turn and mirror a square.
    """

    left_right: bool = False
    top_bottom: bool = False
    crop: int = 0
    transposed: bool = False

    @property
    def name(self) -> str:
        """File-safe name."""
        parts = [f"crop{self.crop}" if self.crop else "whole", "lr" * self.left_right, "tb" * self.top_bottom]
        parts.append("transposed" * self.transposed)
        return "-".join(part for part in parts if part)

    def of(self, patch: np.ndarray) -> Tensor:
        """Show a 16-bit patch (side, side) as this view: float32 (1, 1, rows, columns), values 0 to 1."""
        if self.crop:
            side = round(CROP_SIDE * patch.shape[0])
            top, left = (round(place * (patch.shape[0] - side)) for place in CROP_PLACES[self.crop - 1])
            patch = patch[top : top + side, left : left + side]
        if self.transposed:
            patch = patch.T
        patch = patch[:: -1 if self.top_bottom else 1, :: -1 if self.left_right else 1]
        return torch.from_numpy(patch.astype(np.float32) / 65535)[None, None]


def views_of(augmentation: AugmentationConfig) -> list[View]:
    """List the study's views: all flips (and turns) of the whole patch first, then all of each crop."""
    left_right = [False] if augmentation.flips == "none" else [False, True]
    top_bottom = [False, True] if augmentation.flips in ("both", "dihedral") else [False]
    transposed = [False, True] if augmentation.flips == "dihedral" else [False]
    return [
        View(mirrored, upside_down, crop, on_its_side)
        for crop in range(augmentation.crops + 1)
        for on_its_side in transposed
        for upside_down in top_bottom
        for mirrored in left_right
    ]
