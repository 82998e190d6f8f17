"""What the terminal and the page of a plan say alike. Numbers come from tables alone."""

import pandas as pd

from fedmammo.commands.plan import Planned
from fedmammo.config.arm import ALL
from fedmammo.evaluation.intervals import POWER
from fedmammo.planning.development import NOT_SAID, side_by_side
from fedmammo.planning.privacy import SAYS
from fedmammo.report.part import Part

SHOWN = {"tested_at": "tested at", "basis": "from", "patients": "patients", "half_width": "95 % ±",
         "detectable": "smallest", "power_superior": "power", "patients_superior": "needed",
         "note": "note"}  # fmt: skip
POWERS = {"basis": "from", "patients": "patients", "half_width": "95 % ±", "detectable": "smallest",
          "power_superior": "superior", "power_non_inferior": "non-inferior"}  # fmt: skip
BY_PATIENTS = {"tested_at": "tested at", **POWERS, "planned": "planned"}
NEEDS = {"place": "at", "for_developing": "training", "parameters_borne": "parameters borne",
         "needed_developing": "to develop", "because_of_developing": "for", "for_validating": "tested",
         "needed_validating": "to validate", "because_of_validating": "for "}  # fmt: skip
COSTS = {"arm": "arm", "setting": "setting", "hospital": "hospital", "rounds": "rounds", "steps": "steps",
         "simulated_hours": "hours", "megabytes_up": "MB up", "megabytes_down": "MB down"}  # fmt: skip
BUDGETS = {"arm": "arm", "setting": "setting", "hospital": "hospital", "stage": "stage", "patients": "patients",
           "noise_multiplier": "noise", "steps": "steps", "signal_to_noise": "signal to noise",
           "refuses": "refuses"}  # fmt: skip
ASSUMED = {"name": "name", "value": "value", "source": "source", "pilot": "in the pilot", "meaning": "of what"}
SURE = 0.999  # power from which on more patients are not told of
OTHERWISE = (
    "every number in rows marked `assumed`, and all of Riley's criteria, rest on these; change one with --assume"
)
HOURS = (
    "estimated for the first draw and fold, of training alone, by each hospital's profile (images and megabits per "
    "second) and the sizes of what is trained; generators and more than FedAvg sends come on top"
)
NOISE = (
    "noise moves a model from draw to draw: for a comparison under a budget assume a larger deviation_of_seeds, or "
    "take a run under that budget as pilot"
)
NO_COSTS = "not estimated: take out --no-timing"
NO_BUDGET = (
    "none: no setting has a budget, and patients are promised nothing; add one such as real-epsilon-6 to settings"
)


def parts_of(planned: Planned) -> list[Part]:
    """Return what the terminal prints."""
    tables = planned.tables
    power = tables["power"][tables["power"]["tested_at"] == ALL]
    power = power[(power["power_superior"] < SURE) | power["planned"]]
    return [
        Part(f"plan of {planned.study.name}", [planned.compared, *planned.answer]),
        Part("how sure the study will be", sure(planned), shown(tables["plan"], SHOWN)),
        Part("more or fewer patients, over all hospitals", [], shown(power, POWERS)),
        Part("Riley's criteria", needs(planned), shown(side_by_side(tables["development"]), NEEDS)),
        Part("what taking part costs", costs(planned), shown(_of_the_arm(planned, "costs"), COSTS)),
        Part("privacy", privacy(planned), shown(_of_the_arm(planned, "privacy"), BUDGETS)),
        Part("assumed", [OTHERWISE], shown(tables["assumptions"], ASSUMED)),
    ]


def _of_the_arm(planned: Planned, name: str) -> pd.DataFrame | None:
    """Return a table's rows of the arm that ought to be better, if the study has it; settings alike, costs once."""
    if name not in planned.tables:
        return None
    table, arm = planned.tables[name], planned.study.evaluation.primary.arm
    own = table[table["arm"] == arm] if arm in set(table["arm"]) else table
    return own.drop_duplicates([key for key in own if key != "setting"]) if name == "costs" else own


def shown(table: pd.DataFrame | None, columns: dict[str, str]) -> pd.DataFrame | None:
    """Return columns of a table under their headings; those that are empty everywhere are left out."""
    if table is None:
        return None
    told = {name: heading for name, heading in columns.items() if not table[name].isin(["", None]).all()}
    part = table[[*told]].dropna(axis=1, how="all")
    return part.rename(columns=told)


def sure(planned: Planned) -> list[str]:
    """Say what the columns of plan.csv and power.csv are."""
    margin = planned.study.evaluation.primary.margin
    return [
        f"95 % ±: half of the interval's width; smallest: true difference shown with {100 * POWER:g} % power; power "
        f"and needed patients: to show {margin:+g} as superior"
    ]


def needs(planned: Planned) -> list[str]:
    """Say what Riley's criteria rest on."""
    values = planned.tables["assumptions"].set_index("name")["value"]
    return [
        f"assumed: a C statistic of {values['auroc']:.3g} and {values['parameters']:g} parameters; net benefit at a "
        f"probability of {planned.threshold:g}",
        NOT_SAID,
    ]


def costs(planned: Planned) -> list[str]:
    """Say what costs rest on."""
    return [HOURS, *planned.computing] if "costs" in planned.tables else [NO_COSTS]


def privacy(planned: Planned) -> list[str]:
    """Say what budgets mean, in words, and who would refuse."""
    if "privacy" not in planned.tables:
        return [NO_BUDGET, *planned.refusals]
    rows = planned.tables["privacy"].drop_duplicates(["setting", "epsilon"])
    lines = [
        f"{row['setting']}: epsilon {row['epsilon']:.3g} at delta {row['delta']:g}, {row['protection']}: the best "
        f"attack that is wrong on 1 % of other patients finds at most {row['best_attack']:.0%} of those who took part"
        for _, row in rows.iterrows()
    ]
    return [*lines, SAYS, NOISE, *planned.refusals]
