"""Commands that plan, show and audit what a study costs patients' privacy."""

from pathlib import Path
from typing import Annotated

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Overrides

privacy = typer.Typer(
    no_args_is_help=True,
    help="Plan, show and audit what a study costs patients' privacy.",
    epilog="Example: fedmammo privacy plan configs/quickstart.yaml",
)


@privacy.command("plan", epilog="Example: fedmammo privacy plan configs/quickstart.yaml --out plan.json")
def plan_privacy(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the plans, as JSON; <study>-privacy-plan.json if not told.")
    ] = None,
) -> None:
    """Say what a study will cost patients' privacy, before anything runs: for each arm and setting with a budget."""
    study = fedmammo.load_study(config, overrides or ())
    study.check_budget()  # before what takes seconds to import

    from fedmammo.commands.privacy import plan_page, write_plans
    from fedmammo.report import terminal

    with terminal.working(f"planning {study.name}"):
        page = plan_page(study)
    path = out or Path(f"{study.name}-privacy-plan.json")
    write_plans(path, study)
    terminal.page(page)
    typer.echo(f"{path}: the plans, as hospitals will be asked to agree to them")


@privacy.command("show", epilog="Example: fedmammo privacy show runs/first --out privacy.html")
def show_privacy(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="Also write a page with questions and fields to be filled in: .html; finished.")
    ] = None,
) -> None:
    """Print the page for a privacy officer: who is protected from whom, every release and its cost, what is assumed."""
    from fedmammo.commands.privacy import show_page
    from fedmammo.report import terminal

    if out is not None:
        from fedmammo.report.page import check_name

        check_name("--out", out)
    terminal.page(show_page(folder))
    if out is not None:
        from fedmammo.disk.files import write_text
        from fedmammo.report.privacy_page import privacy_page

        write_text(out, privacy_page(fedmammo.open_run(folder)))
        typer.echo(f"{out}: the page, with questions and fields to be filled in; no row of a patient is in it")


@privacy.command("audit", epilog="Example: fedmammo privacy audit runs/first")
def audit_privacy(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that has a setting with a budget.")],
    canaries: Annotated[int, typer.Option(min=10, max=100_000, help="Made-up patients that are looked for.")] = 400,
    models: Annotated[
        int, typer.Option(min=6, max=1000, help="Models that the membership attack trains; an odd one is left out.")
    ] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the audit.")] = 0,
) -> None:
    """Attack what a run did: lower bounds, not a proof, each beside what could have been found and what was claimed."""
    from fedmammo.commands.audit import audit
    from fedmammo.report import terminal

    with terminal.working(f"auditing {folder}") as report:
        found = audit(folder, canaries, models, seed, report)
    terminal.table(found, "audit: lower bounds, not a proof")
