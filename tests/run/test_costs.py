"""What a deployment costs each hospital: sums over rounds, means over deployments, by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from fedmammo.config.study import parse
from fedmammo.run.costs import costs_of
from fedmammo.run.folder import RunFolder, round_row, write_rounds


def test_costs_are_sums_over_rounds_and_means_over_deployments(phantom_study: dict[str, Any], tmp_path: Path) -> None:
    study = parse({**phantom_study, "seeds": [0, 1], "arms": ["federated"]}, "test")
    folder, deployments = RunFolder(tmp_path), list(study.deployments)
    for seed, one in enumerate(deployments):
        rows = [round_row(one.place, "train", number, "007") for number in (1, 2, 3)]
        for row in rows:
            row |= {"simulated_seconds": 1800.0 * (seed + 1), "bytes_up": 500_000, "bytes_down": 2_000_000}
        rows[2] |= {"status": "failed: gone", "bytes_up": 0}
        hidden = round_row(one.place, "train", 1, "None")
        write_rounds(folder.folder(one), [*rows, hidden])
    found = costs_of(folder, deployments).set_index("hospital")
    first, second = found.loc["007"], found.loc["None"]
    assert first["arm"] == "federated"
    assert first[["rounds", "missed"]].tolist() == [3, 1]
    assert first["simulated_hours"] == (3 * 0.5 + 3 * 1.0) / 2
    assert first[["megabytes_up", "megabytes_down"]].tolist() == [1, 6]
    assert np.isnan(second["simulated_hours"])
