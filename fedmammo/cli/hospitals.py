"""Commands that look at hospitals: those of a study, and your own."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides

sites = typer.Typer(
    no_args_is_help=True, help="Look at hospitals.", epilog="Example: fedmammo sites show configs/quickstart.yaml"
)
site = typer.Typer(
    no_args_is_help=True, help="Look at your own hospital's site.", epilog="Example: fedmammo site check site.yaml"
)


@sites.command("show", epilog="Example: fedmammo sites show configs/quickstart.yaml --out hospitals.html")
def show_sites(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write pictures, tables and distances of features as a page: .html or .png."),
    ] = None,
) -> None:
    """Show which hospital holds what, asked against achieved, and how far hospitals differ."""
    from fedmammo.cohort.store import Cohort
    from fedmammo.commands.sites import write_sites
    from fedmammo.report import terminal
    from fedmammo.report.sites import check_suffix

    if out is not None:
        check_suffix(out)
    study = fedmammo.load_study(config, overrides or ())
    terminal.hospitals(Cohort.open(Path(study.cohort.path)), study)
    if out is not None:
        with terminal.working(f"looking at {study.cohort.path}") as report:
            write_sites(out, study, report)
        typer.echo(f"{out}: images of patients and exact counts, for the planner of the simulation only")


@site.command("check", epilog="Example: fedmammo site check /etc/fedmammo/site.yaml")
def check_site(path: Annotated[Path, typer.Argument(metavar="FILE", help="The hospital's site file.")]) -> None:
    """Say whether a hospital could take part: files, permissions, patients, limits, what it would refuse."""
    from fedmammo.commands.site import check_page
    from fedmammo.report import terminal

    terminal.page(check_page(path))


@site.command("approve", epilog="Example: fedmammo site approve /etc/fedmammo/site.yaml 3f9a...")
def approve_study(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The hospital's site file.")],
    study: Annotated[str, typer.Argument(metavar="DIGEST", help="Of the study, as `fedmammo privacy plan` prints it.")],
) -> None:
    """Write down that the hospital's people agree to a study; it takes part in no other."""
    from fedmammo.commands.site import approve

    typer.echo(f"{approve(path, study).name}: approves of study {study}")


@site.command("key", epilog="Example: fedmammo site key /etc/fedmammo/site.yaml")
def show_key(path: Annotated[Path, typer.Argument(metavar="FILE", help="The hospital's site file.")]) -> None:
    """Print the public key that other hospitals write under peers, to add sums up with this one under masks."""
    from fedmammo.commands.site import key_of

    typer.echo(key_of(path))
