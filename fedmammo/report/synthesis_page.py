"""The page of synthetic images: how good they are, and how they look beside real ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fedmammo.report.blocks import Picture, Section, Table, text
from fedmammo.report.hospital_figures import draw_examples
from fedmammo.report.page import page_html, png_of
from fedmammo.report.synthesis_figures import draw_side_by_side

PRIVACY = (
    "For the planner of the simulation only: this shows images of the cohort's patients, which no hospital would give "
    "away."
)
MEASURES = (
    "Every measure stands beside its value for real images against real images: a value is good where the two are "
    "alike, not where it is low or high. Distances are to be read with recall, which tells how much variety there is."
)
COPIES = (
    "The synthetic images that are nearest to one patient, with their nearest patient ratio: distance to the nearest "
    "training image over distance to the nearest of any other patient; near 0 for a copy. That there are no copies is "
    "no proof of privacy."
)
_COLUMNS = 6  # of a block of images
_WIDTH = 11.0  # inches


@dataclass(frozen=True, eq=False)
class SynthesisView:
    """What a page shows.

    Attributes:
        title: of the page.
        note: what was compared to what.
        table: the measures (`fedmammo.synthesis.quality.quality_of`).
        kinds: example patches by title, in pairs: real, synthetic.
        nearest: patches by row, a column for each of `ratios`: synthetic, nearest patient, nearest other patient.
        ratios: nearest patient ratios, ascending.
    """

    title: str
    note: str
    table: pd.DataFrame
    kinds: dict[str, list[NDArray[np.uint16]]]
    nearest: dict[str, list[NDArray[np.uint16]]]
    ratios: list[float]


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """Turn measures into texts: measure, synthetic, real (with standard deviations), images, note."""
    return pd.DataFrame(
        {
            "measure": table["metric"].str.replace("_", " "),
            "synthetic": [_text(*pair) for pair in zip(table["value"], table["sd"], strict=True)],
            "real": [_text(*pair) for pair in zip(table["real_to_real"], table["real_to_real_sd"], strict=True)],
            "images": table["images"],
            "note": table["note"],
        }
    )


def synthesis_page(found: SynthesisView) -> str:
    """Return what was found as an HTML page."""
    lines = -(-max(len(patches) for patches in found.kinds.values()) // _COLUMNS)
    figure = Figure(figsize=(_WIDTH, len(found.kinds) / 2 * (0.35 + lines * _WIDTH / 2 / _COLUMNS)))
    draw_side_by_side(figure, found.kinds, _COLUMNS)
    says = "blocks of patches: real ones left, synthetic ones right, one class below the other"
    sections = [
        Section("measures", "How good they are", [text(MEASURES), Table.whole("measures", measures(found.table))]),
        Section("images", "Real and synthetic, by class", [Picture(png_of(figure), says)]),
    ]
    if found.ratios:
        figure = Figure(figsize=(_WIDTH, 0.4 + 3 * _WIDTH / (len(found.ratios) + 1.5)), layout="constrained")
        draw_examples(figure, [f"{ratio:.2f}" for ratio in found.ratios], found.nearest)
        says = "synthetic images above the training images that they are nearest to"
        sections.append(Section("nearest", "Nearest patients", [text(COPIES), Picture(png_of(figure), says)]))
    return page_html(found.title, [text(PRIVACY, kind="notice"), text(found.note)], sections)


def _text(value: float, sd: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3g}" + ("" if pd.isna(sd) else f" ± {sd:.2g}")
