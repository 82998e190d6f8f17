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
    out: Annotated[
        Path | None, typer.Option(help="HTML file; without, report.html in the folder of the one run.")
    ] = None,
    methods: Annotated[
        Path | None, typer.Option(help="Markdown file for a methods section, tables and references of one run.")
    ] = None,
) -> None:
    """Write the report of a run again, with what its config.yaml says in `about`, or set runs beside each other.

    Nothing is computed.
    """
    from fedmammo.disk.files import write_text
    from fedmammo.report.methods import methods as methods_of
    from fedmammo.report.page import check_name
    from fedmammo.report.run_page import REPORT, run_page

    several = len(folders) > 1
    if several and (out is None or methods is not None):
        raise InputError("several runs make one page, and no methods section: name it with --out, leave out --methods")
    for option, path, suffix in (("--out", out, ".html"), ("--methods", methods, ".md")):
        if path is not None:
            check_name(option, path, suffix)
    runs = [fedmammo.open_run(folder) for folder in folders]
    if several:
        from fedmammo.report.runs_page import runs_page

        page = runs_page(runs)
    else:
        page = run_page(runs[0])
    pages = {out or runs[0].folder / REPORT: page} | ({methods: methods_of(runs[0])} if methods else {})
    for path, content in pages.items():
        write_text(path, content)
        typer.echo(path)
