"""The command that plans a study before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides

planning = typer.Typer()


@planning.command(epilog="Example: fedmammo plan configs/quickstart.yaml --assume auroc=.8 --out plans/first")
def plan(
    config: Config,
    overrides: Overrides = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Assume another number, for instance auroc=.8; each is printed."),
    ] = None,
    pilot: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of a finished run, whose scores say how patients and draws differ."),
    ] = None,
    timing: Annotated[bool, typer.Option(help="Time a few steps on made-up tensors, for hours and bytes.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables as CSV, and plan.html to look at.")] = None,
) -> None:
    """Say what a study can show, needs and costs, before anything is trained: in seconds, without a score of its own.

    Smallest differences and power for each hospital, patients that are needed, hours, bytes, and the noise of each
    budget; from what is assumed, and beside it from a pilot.
    """
    from fedmammo.commands.plan import PAGE, plan_study, write_tables
    from fedmammo.report import terminal
    from fedmammo.report.plan_words import parts_of

    study = fedmammo.load_study(config, overrides or ())
    with terminal.working(f"planning {study.name}") as report:
        planned = plan_study(study, assume or [], pilot, timing, report)
        if out is not None:
            from fedmammo.disk.files import write_text
            from fedmammo.report.plan_page import plan_page

            write_tables(out, planned)
            write_text(out / PAGE, plan_page(planned))
    terminal.page(parts_of(planned))
    if out is not None:
        typer.echo(f"{out}: {PAGE} to look at, and its tables; columns.csv says what each column means")
