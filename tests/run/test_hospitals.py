"""What a run knows of its hospitals, by hand."""

from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.study import parse
from fedmammo.run.folder import RunFolder, round_row, write_rounds
from fedmammo.run.hospitals import of_hospitals


def test_patients_are_means_over_deployments_and_distances_those_of_all_splits(
    phantom_study: dict[str, Any], tmp_path: Path
) -> None:
    """A hospital named 007 stays so; one that nobody asked, and images that are generated, count for nothing."""
    study = parse({**phantom_study, "seeds": [0, 1], "arms": ["local", "federated"]}, "test")
    folder, deployments = RunFolder(tmp_path), list(study.deployments)
    for one in deployments:
        rows = [round_row(one.place, "train", number, "007") | {"patients": 10 + 2 * one.seed} for number in (1, 2)]
        rows += [round_row(one.place, "generator", 1, "007") | {"patients": 99}]
        rows += [round_row(one.place, "train", number, "B", "away") for number in (1, 2)]
        write_rounds(folder.folder(one), rows)
    assert of_hospitals(folder, deployments).patients == {"local": {"007": 11.0}, "federated": {"007": 11.0}}
    assert of_hospitals(folder, deployments).distances == {}
    pd.DataFrame(
        {
            "draw": [0, 0, 0, 3],
            "hospital": ["007", "007", "B", "007"],
            "split": ["train", "all", "all", "all"],
            "label_distance": [0.9, 0.1, 0.2, 0.3],
            "density_distance": [None] * 4,
        }
    ).to_csv(tmp_path / "holdings.csv", index=False)
    found = of_hospitals(folder, deployments).distances
    assert found == {"label distance": {(0, "007"): 0.1, (0, "B"): 0.2, (3, "007"): 0.3}}
