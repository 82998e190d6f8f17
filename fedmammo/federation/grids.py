"""Grids: Flower's simulation on Ray, on this machine or an existing cluster, or this process alone."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmammo.config.sections import EngineConfig
from fedmammo.errors import InputError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.federation.ray import python_path, start_ray

PULL_SECONDS = 0.01  # between looks for replies; Flower's own is a tenth of a second, longer than a round of heads


def on_grid(engine: EngineConfig, hospitals: Path, nodes: int, run: Callable[[Grid], None]) -> None:
    """Call `run` with a grid of nodes; one Ray runtime serves the whole call.

    `hospitals`: the folder of the simulated hospitals, in which each node finds its own site file. Raises whatever
    `run` raises.
    """
    if engine.name == "inline":
        run(InlineGrid(app_of(hospitals), nodes))
        return
    _simulate(engine, hospitals, nodes, run)


def check_fits(engine: EngineConfig) -> None:
    """Refuse what is not there: Ray would wait for it for ever.

    Raises InputError where nothing answers at the cluster's address, and, without one, where one hospital asks for more
    threads or GPUs than this machine has.
    """
    if engine.name == "ray" and engine.address is not None:
        host, _, port = engine.address.rpartition(":")
        try:
            socket.create_connection((host, port), timeout=10).close()
        except (OSError, UnicodeError) as error:
            raise InputError(
                f"engine.address: no Ray cluster answers at {engine.address}; set host:port of one, or leave it out"
            ) from error
        return
    here = {"threads": os.cpu_count() or 1}
    if engine.name == "ray":
        here["gpus"] = torch.cuda.device_count()
    for kind, there_are in here.items():
        wanted = getattr(engine, f"{kind}_per_hospital")
        if wanted > there_are:
            raise InputError(f"engine.{kind}_per_hospital: {wanted:g}, but this machine has {there_are}; set less")


def _simulate(engine: EngineConfig, hospitals: Path, nodes: int, run: Callable[[Grid], None]) -> None:
    from flwr.simulation import run_simulation  # imports Ray
    from flwr.superlink.grid.inmemory_grid import InMemoryGrid

    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, _: Context) -> None:
        if isinstance(grid, InMemoryGrid):
            grid.pull_interval = PULL_SECONDS
        run(grid)

    start_ray(engine, hospitals, runtime_env=python_path())
    run_simulation(
        server_app=server_app,
        client_app=app_of(hospitals.resolve()),
        num_supernodes=nodes,
        backend_config={
            "client_resources": {
                "num_cpus": engine.threads_per_hospital,
                "num_gpus": engine.gpus_per_hospital,
                "max_restarts": -1,  # these two pass through to Ray: a killed worker is replaced, its task repeated
                "max_task_retries": 1,
            },
        },
    )
