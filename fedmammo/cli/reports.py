"""The command that writes reports of runs."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.errors import InputError

reports = typer.Typer()


@reports.command(epilog="Example: fedmammo report runs/first --methods methods.md")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; without, report.html in the run's folder.")] = None,
    methods: Annotated[
        Path | None, typer.Option(help="Markdown file for a methods section, tables and references.")
    ] = None,
) -> None:
    """Write the report of a run again, with what its config.yaml says in `about`; nothing is computed."""
    from fedmammo.disk.files import write_text
    from fedmammo.report.methods import methods as methods_of
    from fedmammo.report.run_page import REPORT, run_page

    if len(folders) > 1:
        raise InputError(f"{' '.join(map(str, folders))}: several runs cannot be set beside each other; name one")
    run = fedmammo.open_run(folders[0])
    pages = {out or run.folder / REPORT: run_page(run)} | ({methods: methods_of(run)} if methods else {})
    for path, content in pages.items():
        write_text(path, content)
        typer.echo(path)
