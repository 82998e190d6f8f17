"""The study as a Flower server app: `flwr run` starts it with `config` and `out` in its run configuration."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmammo.config.study import load
from fedmammo.study import at_sites, simulate

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the run configuration names, in the folder that it names; what happens is in Flower's log.

    In a simulation nodes find their site files in the folder that FEDMAMMO_SITES names: `hospitals` in the folder of
    the run. Real hospitals have their own.
    """
    config, out = load(Path(str(context.run_config["config"]))), Path(str(context.run_config["out"]))
    if config.at_sites:
        at_sites(config, out, print, lambda run: run(grid))
    else:
        simulate(config, out, print, lambda _, __, run: run(grid))
