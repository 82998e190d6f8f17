"""Commands that look at synthetic images."""

import os
from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides

synthesis = typer.Typer(
    no_args_is_help=True,
    help="Look at synthetic images.",
    epilog="Example: fedmammo synthesis evaluate configs/cbis_ddsm_cpu.yaml images",
)


@synthesis.command(
    "evaluate", epilog="Example: fedmammo synthesis evaluate configs/cbis_ddsm_cpu.yaml images --out quality.html"
)
def evaluate_synthesis(
    config: Config,
    images: Annotated[
        Path, typer.Argument(help="A pool of a run, or a folder of images told benign or malignant by their names.")
    ],
    overrides: Overrides = None,
    split: Annotated[
        str | None, typer.Option(help="Split whose real images are compared with, if not evaluation.test.")
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Bring real and synthetic images to so many pixels first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write a page with pictures, or tidy rows: .html or .csv.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that extract radiomic features.")] = os.cpu_count()
    or 1,
) -> None:
    """Measure how good synthetic images are, every measure beside real images against real images."""
    from fedmammo.commands import synthesis as quality_view
    from fedmammo.report import terminal
    from fedmammo.report.synthesis_page import measures

    if out is not None:
        quality_view.check_suffix(out)
    study = fedmammo.load_study(config, overrides or ())
    with terminal.working(f"looking at {images}") as report:
        found = quality_view.assess(study, images, split, side, processes, report)
        if out is not None:
            quality_view.save(out, found)
    terminal.table(measures(found.table), found.note)
    if out is not None and out.suffix == ".html":
        typer.echo(f"{out}: images of patients, for the planner of the simulation only")
