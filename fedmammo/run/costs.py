"""costs.csv: what a deployment of each arm and setting costs each hospital in time and traffic."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from fedmammo.config.deployment import Deployment
from fedmammo.run.folder import DEPLOYMENTS, GANS, RunFolder

COSTS = ["arm", "setting", "hospital", "rounds", "missed", "simulated_hours", "megabytes_up", "megabytes_down"]


_TEXTS = dict.fromkeys(("arm", "setting", "hospital", "status"), str)
_UNITS = {"rounds": 1, "missed": 1, "simulated_seconds": 3600, "bytes_up": 1e6, "bytes_down": 1e6}


def costs_of(folder: RunFolder, finished: Iterable[Deployment]) -> pd.DataFrame:
    """Return a row for each arm, setting and hospital: sums over rounds, means over deployments.

    A GAN that several deployments share counts where its rounds are told of. Hours that a budget hides are missing.
    """
    deployments = list(finished)
    repeats = Counter((one.arm_name, one.setting_name) for one in deployments)
    gans = sorted(folder.path.glob(f"{DEPLOYMENTS}/{GANS}/rounds.csv"))
    paths = [*(folder.folder(one) / "rounds.csv" for one in deployments), *gans]
    rounds = pd.concat(map(_read, paths), ignore_index=True)
    place = pd.MultiIndex.from_frame(rounds[["arm", "setting"]])
    rounds = rounds[place.isin(list(repeats))].assign(rounds=1, missed=~rounds["status"].str.match("ok|void"))
    sums = rounds.groupby(["arm", "setting", "hospital"], sort=False)[list(_UNITS)].sum(min_count=1)
    deployed = [repeats[arm, setting] for arm, setting, _ in sums.index]
    each = sums.astype(float).div(deployed, axis=0) / pd.Series(_UNITS)
    return each.reset_index().set_axis(COSTS, axis=1)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=_TEXTS, keep_default_na=False, na_values={"simulated_seconds": [""]})
