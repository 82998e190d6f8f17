"""The study as a Flower server app: `flwr run` starts it with `config` and `out` in its run configuration."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmammo.config.study import load
from fedmammo.run.folder import RunFolder
from fedmammo.study import check, run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the run configuration names, in the folder that it names."""
    config = load(Path(str(context.run_config["config"])))
    _, digests = check(config)
    with RunFolder(Path(str(context.run_config["out"]))).opened(config, digests) as folder:
        run(config, folder, grid, report=print)
