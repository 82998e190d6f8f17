"""Pictures of hospitals: case mix, example patches, response curves, gray values, distances.

Each function draws into a (sub)figure that it is given, so that a page shows them apart and a picture all in one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from fedmammo.hospitals.digitiser import FILM_DENSITIES, Digitiser

DENSITIES = ["1 fatty", "2", "3", "4 extremely dense", "unknown"]
_BENIGN, _MALIGNANT = "#7aa6c2", "#b5483a"
_DENSITY_COLOURS = ["#e6e6e6", "#b8b8b8", "#7d7d7d", "#3c3c3c", "#f4d9b0"]
_WHITE = 65535


def draw_case_mix(figure: FigureBase, names: Sequence[str], labels: pd.DataFrame, densities: pd.DataFrame) -> None:
    """Draw stacked bars of patients: by class and by density.

    `labels` (hospitals x benign, malignant) and `densities` (hospitals x classes 1 to 4, unknown) are counts, with a
    row for each of `names`.
    """
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(names))
    for axes, counts, colours, title in (
        (left, labels, [_BENIGN, _MALIGNANT], "patients by class"),
        (right, densities, _DENSITY_COLOURS, "patients by breast density"),
    ):
        start = np.zeros(len(names))
        for (column, values), colour in zip(counts.items(), colours, strict=True):
            bars = axes.barh(places, values, left=start, color=colour, edgecolor="white", label=str(column))
            dark = sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 400
            texts = [f"{value}" if value > 0.04 * counts.sum(axis=1).max() else "" for value in values]
            axes.bar_label(bars, texts, label_type="center", fontsize=7, color="white" if dark else "black")
            start += values.to_numpy()
        axes.set_title(title, fontsize=10, pad=24)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(ncols=5, fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    left.set_yticks(places, names)
    left.invert_yaxis()


def draw_examples(figure: FigureBase, columns: Sequence[str], rows: Mapping[str, Sequence[NDArray[np.uint16]]]) -> None:
    """Draw patches, 0-65535 from black to white: one column each, one row for each of `rows` (its name: patches)."""
    grid = figure.subplots(len(rows), len(columns), squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for line, (name, patches) in zip(grid, rows.items(), strict=True):
        for axes, patch in zip(line, patches, strict=True):
            axes.imshow(patch, cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=8)


def draw_responses(figure: FigureBase, digitisers: Mapping[str, Digitiser]) -> None:
    """Draw the gray of a patch against the film's optical density for each digitiser, and for the film itself."""
    axes = figure.subplots()
    white, black = FILM_DENSITIES
    density = np.linspace(white, black, 400)
    film = np.broadcast_to(np.rint(np.linspace(_WHITE, 0, len(density))), (len(density), len(density)))
    axes.plot(density, film[0] / _WHITE, color="black", linestyle=":", label="film")
    for (name, digitiser), colour in zip(digitisers.items(), _colours(len(digitisers)), strict=True):
        noiseless = digitiser.model_copy(update={"density_noise": 0, "level_noise": 0, "blur_micrometres": 0})
        noiseless = noiseless.model_copy(update={"pixel_micrometres": 1.0})
        shown = noiseless.apply(film.astype(np.uint16), np.random.default_rng(0))
        axes.plot(density, shown[0] / _WHITE, color=colour, label=name)
    axes.set_xlabel("optical density of the film")
    axes.set_ylabel("gray (1 = white)")
    axes.set_title("response curves", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_gray_values(figure: FigureBase, gray: Mapping[str, NDArray[np.uint16]]) -> None:
    """Draw the distribution of gray values of each hospital's own images: fraction of pixels in each of 64 bins."""
    axes = figure.subplots()
    for (name, values), colour in zip(gray.items(), _colours(len(gray)), strict=True):
        counts, edges = np.histogram(values, bins=64, range=(0, _WHITE + 1))
        axes.stairs(counts / max(counts.sum(), 1), edges / _WHITE, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1)
    axes.set_xlabel("gray (1 = white)")
    axes.set_ylabel("fraction of pixels")
    axes.set_title("gray values of the hospitals' own images", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_table(figure: FigureBase, texts: pd.DataFrame, title: str) -> None:
    """Draw a table of texts."""
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(title, fontsize=10, loc="left")
    table = axes.table(
        texts.to_numpy().tolist(), colLabels=list(texts.columns), loc="upper left", cellLoc="right", edges="horizontal"
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.auto_set_column_width(list(range(texts.shape[1])))


def _colours(number: int) -> list[tuple[float, ...]]:
    palette = colormaps["tab10"]
    return [tuple(palette(place % 10)) for place in range(number)]
