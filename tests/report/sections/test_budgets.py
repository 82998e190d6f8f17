"""The section on budgets, on runs that are made up."""

from pathlib import Path

import pandas as pd

from fedmammo.report.sections import budgets
from fedmammo.run.results import Run
from tests.report.made_up import made_up


def test_budgets_of_variants_alone_have_no_chart(tmp_path: Path) -> None:
    """A study of variants, whose plain arm it does not run: charts know none of its arms."""
    study = made_up(tmp_path, settings=("real", "real-epsilon-6"))
    assert budgets.blocks(Run(tmp_path, study))
    results = pd.read_csv(tmp_path / "results.csv", dtype=str, keep_default_na=False)
    results.assign(arm="federated-" + results["arm"]).to_csv(tmp_path / "results.csv", index=False)
    assert budgets.blocks(Run(tmp_path, study)) == []
