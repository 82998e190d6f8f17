"""`fedmammo deploy canary`: a study's shortest form over the real links, with drawn patients, and what they took."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.commands.run import run
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.run.folder import LINKS

COLUMNS = ["hospital", "stage", "messages", "seconds", "bytes down", "bytes up"]


def canary(config: StudyConfig, on_event: Callable[[dict[str, Any]], None]) -> pd.DataFrame:
    """Run a study's shortest form (`shortest`).

    Returns for each hospital and stage: messages, seconds of the slowest, bytes down and up. Raises StudyError where a
    hospital cannot do it.
    """
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "canary", on_event)
        return taken(pd.read_csv(Path(folder) / "canary" / LINKS))


def shortest(config: StudyConfig) -> StudyConfig:
    """Return a study's shortest form, for drawn patients: one round of a federation in its first setting.

    Raises InputError for a study that is not one at real hospitals.
    """
    if not config.at_sites:
        raise InputError("hospitals.assignment: a canary flies to real hospitals; give a study with {by: site}")
    content = config.model_dump(mode="json")
    first = next(iter(config.settings))
    content |= {"arms": {"federated": {}}, "settings": {first: config.settings[first]}, "seeds": [0]}
    content["federation"] |= {"rounds": 1, "averaged_rounds": 1}
    content["hospitals"]["schedule"] = []
    content["evaluation"] |= {"folds": 0, "folds_over": None, "test": "test", "every": 0}
    content["evaluation"]["primary"]["setting"] = ""
    content["engine"]["link"]["patients"] = "drawn"
    return parse(content, "canary")


def taken(links: pd.DataFrame) -> pd.DataFrame:
    """Sum up what messages took, by hospital, and by stage in the order in which they ran."""
    groups = links.sort_values("hospital", kind="stable").groupby(["hospital", "stage"], sort=False)
    table = groups.agg(
        messages=("seconds", "size"), seconds=("seconds", "max"), down=("bytes_down", "sum"), up=("bytes_up", "sum")
    )
    return table.reset_index().set_axis(COLUMNS, axis="columns")
