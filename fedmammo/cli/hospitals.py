"""Commands that look at hospitals: those of a study, and your own."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides
from fedmammo.errors import InputError

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
    terminal.hospitals(Cohort.open(study.cohort_folder), study)
    if out is not None:
        with terminal.working(f"looking at {study.cohort.path}") as report:
            write_sites(out, study, report)
        typer.echo(f"{out}: images of patients and exact counts, for the planner of the simulation only")


SiteFile = Annotated[Path, typer.Argument(metavar="FILE", help="The hospital's site file.")]


@site.command("check", epilog="Example: fedmammo site check /etc/fedmammo/site.yaml")
def check_site(path: SiteFile) -> None:
    """Say whether a hospital could take part: files, keys, SuperLink, clock, disk, patients, limits, what is refused.

    Ends with 0 if it could, and with 2 if not.
    """
    from fedmammo.commands.site import check_page
    from fedmammo.report import terminal

    page = check_page(path)
    terminal.page(page)
    if page[0].lines:
        raise typer.Exit(InputError.exit_code)


@site.command("approve", epilog="Example: fedmammo site approve /etc/fedmammo/site.yaml studies.json")
def approve_study(
    path: SiteFile,
    study: Annotated[
        str,
        typer.Argument(metavar="FILE_OR_DIGEST", help="A kit's studies.json, all of it; or one digest that is in it."),
    ],
) -> None:
    """Write down that the hospital's people agree to a study, with the cohort as it is; it takes part in no other."""
    from fedmammo.commands.site import approve
    from fedmammo.report import terminal

    terminal.page(approve(path, study))


@site.command("serve", epilog="Example: fedmammo site serve /etc/fedmammo/site.yaml")
def serve_site(path: SiteFile) -> None:
    """Keep the link to the coordinator's SuperLink and do the jobs that come, until told to end."""
    from fedmammo.federation.supernode import serve

    serve(path)


@site.command("stop", epilog="Example: fedmammo site stop /etc/fedmammo/site.yaml")
def stop_site(path: SiteFile) -> None:
    """Stop the hospital's part at once; whatever runs ends, and every job is refused until `fedmammo site start`."""
    from fedmammo.hospitals.site_file import read_site_file
    from fedmammo.hospitals.stopping import stop

    file = read_site_file(path)
    told = "a job that was running ends" if stop(file.state) else "nothing serves here"
    typer.echo(f"{file.name}: stopped; {told}; fedmammo site start {path} goes on")


@site.command("start", epilog="Example: fedmammo site start /etc/fedmammo/site.yaml")
def start_site(path: SiteFile) -> None:
    """Let the hospital do jobs again after `fedmammo site stop`."""
    from fedmammo.hospitals.site_file import read_site_file
    from fedmammo.hospitals.stopping import start

    file = read_site_file(path)
    start(file.state)
    typer.echo(f"{file.name}: does jobs again where fedmammo site serve runs")


@site.command("key", epilog="Example: fedmammo site key /etc/fedmammo/site.yaml")
def show_key(path: SiteFile) -> None:
    """Print the public key that other hospitals write under peers, to add sums up with this one under masks."""
    from fedmammo.commands.site import key_of

    typer.echo(key_of(path))
