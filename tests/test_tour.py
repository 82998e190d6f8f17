"""The notebook of docs/ runs from top to bottom on a run, and draws."""

from pathlib import Path

import pytest

from tests.report.made_up import made_up

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"
ROUNDS = (
    "arm,setting,seed,draw,fold,stage,round,hospital,status,simulated_seconds,bytes_up,bytes_down,loss,epsilon_spent,"
    "patients\n"
    "federated,real,0,0,0,train,1,hospital_1,ok,1.0,10,10,0.5,,\n"
)


@pytest.mark.long
def test_the_tour_runs(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    made_up(tmp_path / "demo" / "run")
    (tmp_path / "demo" / "run" / "rounds.csv").write_text(ROUNDS)
    notebook = nbformat.read(TOUR, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    drawn = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("vega-embed" in output.get("data", {}).get("text/html", "") for output in drawn) == 4
