"""Arguments that several commands take, and what an interrupted one ends with."""

from pathlib import Path
from typing import Annotated

import typer

from fedmammo.errors import FedmammoError

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, a YAML file; see `configs/`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for instance federation.rounds=3."),
]


class Interrupted(FedmammoError):
    """The user pressed Ctrl-C."""

    exit_code = 130
