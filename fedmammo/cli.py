"""The commands: options in, tables out, exit codes; no logic.

Exit codes: 0 done; 1 a fault of the software (see run.log); 2 bad input, nothing was written; 3 the study could not go
on, finished rounds are kept; 130 interrupted, finished rounds are kept.
"""

import json
import os
import shlex
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import click
import typer
from rich.console import Console

import fedmammo
from fedmammo.errors import FedmammoError, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Simulate a multi-hospital mammography study: centralised, local and federated, with one command.",
    epilog="Example: fedmammo run configs/quickstart.yaml\n\n"
    "Exit codes: 0 done · 1 fault of the software · 2 bad input · 3 the study could not go on · 130 interrupted",
)
data = typer.Typer(
    no_args_is_help=True, help="Prepare and look at cohorts.", epilog="Example: fedmammo data show demo/cohort"
)
sites = typer.Typer(
    no_args_is_help=True, help="Look at hospitals.", epilog="Example: fedmammo sites show configs/quickstart.yaml"
)
site = typer.Typer(
    no_args_is_help=True, help="Look at your own hospital's site.", epilog="Example: fedmammo site check site.yaml"
)
synthesis = typer.Typer(
    no_args_is_help=True,
    help="Look at synthetic images.",
    epilog="Example: fedmammo synthesis evaluate configs/cbis_ddsm_cpu.yaml images",
)
privacy = typer.Typer(
    no_args_is_help=True,
    help="Plan, show and audit what a study costs patients' privacy.",
    epilog="Example: fedmammo privacy plan configs/quickstart.yaml",
)
app.add_typer(data, name="data")
app.add_typer(sites, name="sites")
app.add_typer(site, name="site")
app.add_typer(synthesis, name="synthesis")
app.add_typer(privacy, name="privacy")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedmammo {fedmammo.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what stands before the command."""


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, a YAML file; see `configs/`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for instance federation.rounds=3."),
]


@data.command(epilog="Example: fedmammo data prepare /data/CBIS-DDSM cohort --csv /data/CBIS-DDSM/csv")
def prepare(
    source: Annotated[
        Path, typer.Argument(help="A TCIA tree, Kaggle's mirror, a folder of patches, or a table (.csv, .parquet).")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the prepared cohort; new or empty.")],
    csv: Annotated[Path | None, typer.Option(help="Folder of the case descriptions, if not in SOURCE.")] = None,
    size: Annotated[int, typer.Option(min=1, max=4096, help="Side of a patch in pixels.")] = 128,
    margin: Annotated[float, typer.Option(min=0, max=10, help="Around a lesion, as a share of its side.")] = 0.2,
    strict: Annotated[
        bool, typer.Option(help="A patient in train and test goes to test as a whole, or leaves train to quarantine.")
    ] = True,
    licence: Annotated[str | None, typer.Option(help="Licence of your own images, for the cohort card.")] = None,
    citation: Annotated[str | None, typer.Option(help="Citation of your own images, for the cohort card.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that read.")] = os.cpu_count() or 1,
) -> None:
    """Turn mammograms into a cohort: patches, a manifest, and what could not be read with its reason.

    The same command continues a preparation that was interrupted.
    """
    from fedmammo.cohort.prepare import prepare as prepare_cohort
    from fedmammo.report import terminal

    try:
        with terminal.preparing(source) as report:
            cohort = prepare_cohort(source, out, csv, size, margin, strict, licence, citation, processes, report)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {out}.unfinished keeps what was read, the same command continues") from None
    terminal.cohort(cohort)


@data.command(epilog="Example: fedmammo data join cohort north=cohorts/north south=cohorts/south")
def join(
    out: Annotated[Path, typer.Argument(help="Folder of the joined cohort; new or empty.")],
    cohorts: Annotated[list[str], typer.Argument(metavar="NAME=COHORT...", help="Prepared cohorts, by hospital.")],
) -> None:
    """Join the cohorts of several hospitals into one, with a column `hospital`."""
    from fedmammo.cohort.join import join as join_cohorts
    from fedmammo.report import terminal

    named = dict(cohort.partition("=")[::2] for cohort in cohorts)
    if len(named) < len(cohorts) or not all(named.values()):
        raise InputError(f"{' '.join(cohorts)}: expected NAME=COHORT, every name once")
    with terminal.working(f"joining {len(named)} cohorts"):
        cohort = join_cohorts(out, {name: Path(folder) for name, folder in named.items()})
    terminal.cohort(cohort)


class PhantomLesions(StrEnum):
    """What `data phantom` draws."""

    MASS = "mass"
    CALCIFICATION = "calcification"
    BOTH = "both"


@data.command(epilog="Example: fedmammo data phantom tree --patients 100 --seed 1")
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder of the tree; new or empty.")],
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed draws the same patients.")] = 0,
    difficulty: Annotated[float, typer.Option(min=0, max=1, help="0 is easy, 1 is hard.")] = 0.5,
    lesions: Annotated[PhantomLesions, typer.Option(help="Kinds of lesions.")] = PhantomLesions.MASS,
    processes: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = os.cpu_count() or 1,
) -> None:
    """Draw patients by rule, and write them as a classic TCIA tree: DICOM files, masks, crops and CSVs."""
    from fedmammo.phantom.patients import LESIONS
    from fedmammo.phantom.tree import write_tree
    from fedmammo.report import terminal

    kinds = LESIONS if lesions is PhantomLesions.BOTH else (lesions.value,)
    with terminal.working(f"drawing {patients} patients") as show:
        write_tree(
            out, patients, seed, difficulty, kinds, processes, lambda done: show(f"drew {done} of {patients} patients")
        )
    typer.echo(f"{out}: {patients} drawn patients; next: fedmammo data prepare {out} COHORT")


@data.command(epilog="Example: fedmammo data show cohort")
def show(folder: Annotated[Path, typer.Argument(metavar="COHORT", help="Folder of a prepared cohort.")]) -> None:
    """Show how many patients and images a cohort holds, of what kind, and what is in quarantine."""
    from fedmammo.cohort.store import Cohort
    from fedmammo.report import terminal

    terminal.cohort(Cohort.open(folder))


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


@privacy.command("plan", epilog="Example: fedmammo privacy plan configs/quickstart.yaml --out plan.json")
def plan_privacy(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the plans, as JSON; <study>-privacy-plan.json if not told.")
    ] = None,
) -> None:
    """Say what a study will cost patients' privacy, before anything runs: for each arm and setting with a budget."""
    from fedmammo.commands.privacy import plan_page, write_plans
    from fedmammo.report import terminal

    study = fedmammo.load_study(config, overrides or ())
    with terminal.working(f"planning {study.name}"):
        page = plan_page(study)
    path = out or Path(f"{study.name}-privacy-plan.json")
    write_plans(path, study)
    terminal.page(page)
    typer.echo(f"{path}: the plans, as hospitals will be asked to agree to them")


@privacy.command("show", epilog="Example: fedmammo privacy show runs/first")
def show_privacy(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or not.")],
) -> None:
    """Print the page for a privacy officer: who is protected from whom, every release and its cost, what is assumed."""
    from fedmammo.commands.privacy import show_page
    from fedmammo.report import terminal

    terminal.page(show_page(folder))


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


@app.command(epilog="Example: fedmammo run configs/quickstart.yaml --set federation.rounds=3 --out runs/first")
def run(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; an unfinished run of the same study goes on there.")
    ] = None,
) -> None:
    """Run a study: all arms, settings and seeds; then compare them.

    The same command with the same --out continues after the last finished round.
    """
    from fedmammo.report import terminal

    study = fedmammo.load_study(config, overrides or ())
    folder = out or Path("runs") / f"{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        with terminal.Progress(study) as progress:
            done = fedmammo.run_study(study, folder, progress.update)
    except KeyboardInterrupt:
        settings = [word for override in overrides or [] for word in ("--set", override)]
        command = shlex.join(["fedmammo", "run", str(config), *settings, "--out", str(folder)])
        raise Interrupted(f"interrupted; finished rounds are kept, {command} continues") from None
    terminal.comparison(done.folder)


class Interrupted(FedmammoError):
    """The user pressed Ctrl-C."""

    exit_code = 130


@app.command(epilog="Example: fedmammo evaluate runs/first --cohort other --split test > elsewhere.csv")
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


@app.command(epilog="Example: fedmammo compare runs/fedprox runs/fedavg > difference.csv")
def compare(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    against: Annotated[Path, typer.Argument(help="Folder of another that tested the same patients.")],
) -> None:
    """Print what a run scores minus another, as CSV: two strategies, or hospitals dealt by two rules.

    Models of the centralised and the federated arm are compared, with intervals paired by patient.
    """
    from fedmammo.commands.compare import compare
    from fedmammo.report import terminal

    with terminal.working(f"comparing {folder}"):
        table = compare(folder, against)
    typer.echo(table.to_csv(index=False), nl=False)


@app.command(epilog="Example: fedmammo schema > study.schema.json")
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


def main() -> None:
    """Run a command; a foreseen fault is one line on standard error and an exit code."""
    os.umask(0o077)  # what a run or a hospital writes is its owner's alone to read
    try:
        raise SystemExit(app(prog_name="fedmammo", standalone_mode=False))
    except click.UsageError as error:  # its text is empty where it is the help that was shown
        if text := error.format_message():
            _say(f"{text.rstrip('.')}; see {error.ctx.command_path if error.ctx else 'fedmammo'} --help")
        raise SystemExit(InputError.exit_code) from None
    except FedmammoError as error:
        _say(str(error))
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        _say(f"{error}; name another place, or make this one fit")
        raise SystemExit(InputError.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(Interrupted.exit_code) from None


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(
        f"fedmammo: {text}", markup=False, style="red"
    )
