"""The page of a study's hospitals: who holds what, what their digitisers show, how far they differ."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure, FigureBase

from fedmammo.cohort.store import SPLITS
from fedmammo.disk.files import write_bytes, write_text
from fedmammo.errors import InputError
from fedmammo.hospitals.summary import side_by_side
from fedmammo.report.blocks import Block, Picture, Section, Table, text
from fedmammo.report.cells import cell_text
from fedmammo.report.hospital_figures import draw_case_mix, draw_examples, draw_gray_values, draw_responses, draw_table
from fedmammo.report.page import page_html, png_of
from fedmammo.report.view import View

SUFFIXES = (".html", ".png")
PRIVACY = (
    "For the planner of the simulation only: this shows images of the cohort's patients and exact counts, which no "
    "hospital would give away."
)
DISTANCES = (
    "Label and density distance: Jensen-Shannon distance from all patients together, 0 to 1. Feature distance: "
    "squared maximum mean discrepancy (Gaussian kernel, median width) between the hospital's images and the others' in "
    "what the classifier's head reads, 0 where they are alike; p by 999 random dealings of whole patients. "
    "Differences in case mix count as much as those in digitisers."
)
_WIDTH = 11.0  # inches
Panel = tuple[str, str, tuple[float, float], Callable[[FigureBase], None]]


def check_suffix(path: Path) -> None:
    """Raise InputError unless the page is to be an HTML or a PNG file."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def save(path: Path, found: View) -> None:
    """Write what was found as a page (.html) or as one picture (.png)."""
    if path.suffix == ".png":
        write_bytes(path, png_of(_picture(found)))
    else:
        write_text(path, _page(found))


def _page(found: View) -> str:
    holds: list[Block] = []
    for split in _splits(found):
        holds.append(Table.whole(split, side_by_side(found.held[found.held["split"] == split])))
    sections = [Section("holdings", "Who holds what, asked against achieved", holds)]
    for heading, says, size, draw in _panels(found):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        sections.append(Section(heading.replace(" ", "-").lower(), heading, [Picture(png_of(figure), says)]))
    differ: list[Block] = [text(DISTANCES), Table.whole("distances", found.differing)]
    sections.append(Section("distances", "How far hospitals differ", differ))
    return page_html(found.title, [text(PRIVACY, kind="notice"), text(found.note)], sections)


def _picture(found: View) -> Figure:
    split = _splits(found)[0]
    held = found.held[(found.held["split"] == split) & found.held["hospital"].isin(found.names)]
    differing = found.differing[found.differing["hospital"].isin(found.names)]
    tables = [(f"who holds what: {split}", side_by_side(held)), ("how far hospitals differ", differing)]
    panels = _panels(found)
    heights = [size[1] for _, _, size, _ in panels] + [0.6 + 0.24 * len(frame) for _, frame in tables]
    width = max(_WIDTH, 1.6 + 1.5 * len(found.names))
    figure = Figure(figsize=(width, sum(heights) + 0.8), layout="constrained")
    figure.suptitle(f"{found.title}\n{found.note}\n{PRIVACY}", fontsize=9)
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (_, _, _, draw) in zip(parts, panels, strict=False):
        draw(part)
    for part, (title, frame) in zip(parts[len(panels) :], tables, strict=True):
        draw_table(part, frame.map(cell_text), title)
    return figure


def _splits(found: View) -> list[str]:
    """List the cohort's splits, training first."""
    return [split for split in SPLITS if split in set(found.held["split"])]


def _panels(found: View) -> list[Panel]:
    """List the pictures: heading, what it says, size in inches, how it is drawn."""
    bars, lines = 1.2 + 0.32 * len(found.names), 1.4 * len(found.examples) + 0.5
    panels: list[Panel] = [
        (
            "Patients by class and density",
            "bars of patients by class and by breast density, one per hospital",
            (_WIDTH, bars),
            lambda figure: draw_case_mix(figure, found.names, found.labels, found.densities),
        ),
        (
            "The same films by every digitiser",
            "example patches, one row per digitiser",
            (_WIDTH, lines),
            lambda figure: draw_examples(figure, found.columns, found.examples),
        ),
        (
            "Gray values",
            "distribution of gray values, one line per hospital",
            (_WIDTH, 3.6),
            lambda figure: draw_gray_values(figure, found.gray),
        ),
    ]
    if found.digitisers:
        responses: Panel = (
            "Response curves",
            "gray against optical density, one line per digitiser",
            (_WIDTH, 3.6),
            lambda figure: draw_responses(figure, found.digitisers),
        )
        panels.insert(2, responses)
    return panels
