"""Commands of a coordinator: a study at real hospitals."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides

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
