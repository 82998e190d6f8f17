"""Grids: Flower's simulation on Ray, on this machine or an existing cluster, or this process alone."""

import os
from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmammo.config import EngineConfig
from fedmammo.errors import InputError
from fedmammo.federation.client_app import app as client_app
from fedmammo.federation.inline_grid import InlineGrid


def on_grid(engine: EngineConfig, hospitals: int, run: Callable[[Grid], None]) -> None:
    """Call `run` with a grid of one node for each hospital; one Ray runtime serves the whole call.

    Raises InputError where this machine has fewer processors than one hospital asks for, and whatever `run` raises.
    """
    if engine.name == "inline":
        run(InlineGrid(client_app, hospitals))
        return
    processors = os.cpu_count() or 1
    if engine.address is None and engine.threads_per_hospital > processors:
        raise InputError(f"engine.threads_per_hospital: {engine.threads_per_hospital}, but there are {processors} here")
    _simulate(engine, hospitals, run)


def _simulate(engine: EngineConfig, hospitals: int, run: Callable[[Grid], None]) -> None:
    from flwr.simulation import run_simulation  # imports Ray

    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, _: Context) -> None:
        run(grid)

    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=hospitals,
        backend_config={
            "init_args": {"address": engine.address} if engine.address else {},
            "client_resources": {
                "num_cpus": engine.threads_per_hospital,
                "num_gpus": engine.gpus_per_hospital,
                "max_restarts": -1,  # these two pass through to Ray: a killed worker is replaced, its task repeated
                "max_task_retries": 1,
            },
        },
    )
