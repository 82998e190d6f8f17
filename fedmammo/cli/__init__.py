"""The commands: options in, tables out, exit codes; no logic.

Exit codes: 0 done; 1 a fault of the software (see run.log); 2 bad input, nothing was written; 3 the study could not go
on, finished rounds are kept; 130 interrupted, finished rounds are kept.
"""

import os
import sys
from typing import Annotated

import click
import typer
from rich.console import Console

import fedmammo
from fedmammo.cli.arguments import Interrupted
from fedmammo.cli.data import data
from fedmammo.cli.deploy import deploy
from fedmammo.cli.hospitals import site, sites
from fedmammo.cli.models import models
from fedmammo.cli.phantom import phantom
from fedmammo.cli.plan import planning
from fedmammo.cli.privacy import privacy
from fedmammo.cli.reports import reports
from fedmammo.cli.streams import mend_streams
from fedmammo.cli.studies import studies
from fedmammo.cli.synthesis import synthesis
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
app.add_typer(studies)
app.add_typer(planning)
app.add_typer(reports)
app.add_typer(models)
app.add_typer(data, name="data")
app.add_typer(sites, name="sites")
app.add_typer(site, name="site")
app.add_typer(deploy, name="deploy")
app.add_typer(synthesis, name="synthesis")
app.add_typer(privacy, name="privacy")
app.add_typer(phantom, name="phantom")


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


def main() -> None:
    """Run a command; a foreseen fault is one line on standard error and an exit code."""
    mend_streams()
    os.umask(0o077)  # what a run or a hospital writes is its owner's alone to read
    try:
        raise SystemExit(app(prog_name="fedmammo", standalone_mode=False))
    except SystemExit:
        if hasattr(sys.stdout, "wrapped"):  # typer's, where whoever reads has seen enough, as `head` has: no failure
            raise SystemExit(0) from None
        raise
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
