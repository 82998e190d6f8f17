"""Commands that run studies and read what they left."""

import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import fedmammo
from fedmammo.cli.arguments import Config, Interrupted, Overrides

studies = typer.Typer()
RunOut = Annotated[
    Path | None, typer.Option("--out", help="Folder of the run; an earlier run of the study goes on there.")
]
Watched = Annotated[bool, typer.Option("--watch", help="Serve the report to this machine's browser while it grows.")]


@studies.command(epilog="Example: fedmammo run configs/quickstart.yaml --set federation.rounds=3 --out runs/first")
def run(
    config: Config,
    overrides: Overrides = None,
    out: RunOut = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder for what networks make of images, if not the cohort's own.")
    ] = None,
    watch: Watched = False,
) -> None:
    """Run a study: all arms, settings and seeds; then compare them.

    The same command with the same --out continues after the last finished round; with more arms, settings, seeds or
    draws it adds what is new.
    """
    elsewhere = [f"engine.features={json.dumps(str(features))}"] if features else []
    study = fedmammo.load_study(config, [*(overrides or ()), *elsewhere])
    settings = ["--features", str(features)] if features else []
    run_watched(study, ["run", str(config), *settings], overrides, out, watch)


def run_watched(
    study: fedmammo.StudyConfig, command: list[str], overrides: list[str] | None, out: Path | None, watch: bool
) -> None:
    """Run a study while its progress is shown, then print its tables.

    `command`: the words by which it is continued, but for `--set` and `--out`.
    """
    from contextlib import ExitStack

    from fedmammo.report import terminal
    from fedmammo.report.summary import summary

    folder = out or Path("runs") / f"{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        with ExitStack() as stack:
            listeners = [stack.enter_context(terminal.Progress(study)).update]
            if watch:
                from fedmammo.report.watch import Watch

                watched = stack.enter_context(Watch(study, folder))
                terminal.status.print(f"watch it at {watched.url}", soft_wrap=True)
                listeners.append(watched.update)

            def tell(event: dict[str, Any]) -> None:
                for listen in listeners:
                    listen(event)

            done = fedmammo.run_study(study, folder, tell)
    except KeyboardInterrupt:
        settings = [word for override in overrides or [] for word in ("--set", override)]
        again = shlex.join(["fedmammo", *command, *settings, "--out", str(folder)])
        raise Interrupted(f"interrupted; finished rounds are kept, {again} continues") from None
    summary(done)


@studies.command(epilog="Example: fedmammo show runs/first")
def show(folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]) -> None:
    """Print a finished run's tables again; nothing is computed."""
    from fedmammo.report.summary import summary

    summary(fedmammo.open_run(folder))


@studies.command(epilog="Example: fedmammo evaluate runs/first --cohort other --split test > elsewhere.csv")
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    cohort: Annotated[Path, typer.Option(help="Folder of a prepared cohort.")],
    split: Annotated[str, typer.Option(help="Split of that cohort.")],
) -> None:
    """Score the models of a finished run on another cohort; prints rows like results.csv."""
    from fedmammo.commands.evaluate import rescore
    from fedmammo.report import terminal

    with terminal.working(f"scoring {folder}") as report:
        table = rescore(folder, cohort, split, report)
    typer.echo(table.to_csv(index=False), nl=False)


@studies.command(epilog="Example: fedmammo compare runs/fedprox runs/fedavg --out difference.csv")
def compare(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    against: Annotated[Path, typer.Argument(help="Folder of another that tested the same patients.")],
    out: Annotated[Path | None, typer.Option(help="CSV of all metrics and hospitals.")] = None,
) -> None:
    """Print what a run scores minus another: two strategies, or hospitals dealt by two rules.

    Every arm is compared, the local one by its mean over hospitals, with intervals paired by patient.
    """
    from fedmammo.commands.compare import compare
    from fedmammo.disk.files import write_text
    from fedmammo.report import terminal
    from fedmammo.report.summary import comparison

    with terminal.working(f"comparing {folder}"):
        table = compare(folder, against)
    if out is not None:
        write_text(out, table.to_csv(index=False))
    terminal.table(comparison(table), f"{folder} minus {against}, all test patients (95 % interval)")


@studies.command(epilog="Example: fedmammo schema > study.schema.json")
def schema(
    of_site: Annotated[bool, typer.Option("--site", help="What a hospital's site file may say, instead.")] = False,
) -> None:
    """Print what a study's YAML file may say, as JSON schema."""
    if of_site:
        from fedmammo.hospitals.site_file import SiteFile

        content = SiteFile.model_json_schema()
    else:
        content = fedmammo.StudyConfig.model_json_schema()
    typer.echo(json.dumps(content, indent=2))
