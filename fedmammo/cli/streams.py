"""Standard streams as a command needs them, whatever it was started with."""

import io
import os
import sys

from rich.console import Console


def mend_streams() -> None:
    """Open standard streams that are closed, and replace signs that a stream's encoding does not have.

    Else the next file that is opened becomes standard output, and a finished study ends in an error because a terminal
    knows no accents.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    Console.on_broken_pipe = _enough  # type: ignore[method-assign, assignment]  # also of typer's help


def _enough(console: Console) -> None:
    """End well where whoever reads has seen enough, as `head` has: rich calls that a failure."""
    console.quiet = True
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise SystemExit(0)
