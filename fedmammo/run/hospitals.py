"""What a run knows of its hospitals: how many patients each trained on, and how far each is from the others."""

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.evaluation.evaluate import OfHospitals
from fedmammo.run.folder import RunFolder

DISTANCES = ("label_distance", "density_distance")  # columns of holdings.csv, of the rows of all splits


def of_hospitals(folder: RunFolder, finished: Iterable[Deployment]) -> OfHospitals:
    """Return what the evaluation is told of hospitals.

    Patients are means over seeds, draws and folds of what a hospital declared in each arm. Distances are known to a
    simulation's dealer alone; hospitals that hold real patients tell none.
    """
    counted: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for one in finished:
        rounds = pd.read_csv(folder.folder(one) / "rounds.csv", usecols=["stage", "hospital", "patients"])
        counted[one.arm_name].append(rounds[rounds["stage"] == "train"].drop_duplicates("hospital"))
    patients = {}
    for arm, tables in counted.items():
        means = pd.concat(tables).groupby("hospital")["patients"].mean().dropna()
        patients[arm] = {str(name): float(mean) for name, mean in means.items()}
    path, distances = folder.path / "holdings.csv", {}
    if path.exists():
        table = pd.read_csv(path)
        whole = table[table["split"] == ALL].set_index(["draw", "hospital"])
        for name in DISTANCES:
            known = whole[name].dropna()
            if len(known):
                places = ((int(draw), str(who)) for draw, who in known.index.to_list())
                distances[name.replace("_", " ")] = dict(zip(places, known.astype(float), strict=True))
    return OfHospitals({arm: sizes for arm, sizes in patients.items() if sizes}, distances)
