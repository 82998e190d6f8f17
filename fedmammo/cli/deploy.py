"""Commands of a coordinator: a study at real hospitals."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides
from fedmammo.cli.studies import RunOut, Watched, run_watched
from fedmammo.errors import InputError

deploy = typer.Typer(
    no_args_is_help=True,
    help="Do a study at real hospitals.",
    epilog="Example: fedmammo deploy kit study.yaml kit",
)


@deploy.command("kit", epilog="Example: fedmammo deploy kit study.yaml kit --address fl.example.org:443")
def write_kit(
    config: Config,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; missing, or empty.")],
    address: Annotated[
        str | None,
        typer.Option(help="Host and port at which hospitals reach the coordinator; that of engine.link if not told."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write a folder for each hospital of a study, and one for the coordinator: what to do, in order; no secret."""
    from fedmammo.commands.kit import has_authority
    from fedmammo.commands.kit import write_kit as write

    study = fedmammo.load_study(config, overrides or ())
    for name, digest in write(study, out, address).items():
        typer.echo(f"{out / name}: sha256sum SHA256SUMS is {digest}")
    if not has_authority(study):
        typer.echo(
            "the authority's certificate is not there yet: README.md of coordinator makes it; then write a kit anew"
        )


@deploy.command("canary", epilog="Example: fedmammo deploy canary study.yaml")
def fly_canary(config: Config, overrides: Overrides = None) -> None:
    """Let hospitals do one round over the real links with patients that they draw; nobody's own are touched."""
    from fedmammo.commands.canary import canary, shortest
    from fedmammo.report import terminal

    study = shortest(fedmammo.load_study(config, overrides or ()))
    with terminal.Progress(study) as progress:
        table = canary(study, progress.update)
    terminal.table(table, "what each link took: seconds of the slowest message, bytes of all")


@deploy.command("run", epilog="Example: fedmammo deploy run study.yaml --out runs/pilot")
def run_study(config: Config, overrides: Overrides = None, out: RunOut = None, watch: Watched = False) -> None:
    """Wait for a study's hospitals, run it, and print its tables; the same command with the same --out continues.

    Ends with 0 where all is done, with 3 where a hospital refused or was away too long: what it said stands there.
    """
    study = fedmammo.load_study(config, overrides or ())
    if not study.at_sites:
        raise InputError(f"{config}: simulates its hospitals; fedmammo run does so, or give them {{by: site}}")
    run_watched(study, ["deploy", "run", str(config)], overrides, out, watch)
