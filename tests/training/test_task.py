"""An instruction survives its way through text."""

from hypothesis import given
from hypothesis import strategies as st

from fedmammo.training.task import Cell, Task

cells = st.builds(Cell, st.sampled_from(["centralized", "local"]), st.just("real"), st.integers(0), st.integers(0, 9))
tasks = st.builds(
    Task,
    st.sampled_from(["features", "train", "score"]),
    cells,
    st.integers(0),
    study=st.text(),
    run=st.text(),
    pooled=st.booleans(),
)


@given(task=tasks)
def test_a_task_as_text(task: Task) -> None:
    assert Task.from_json(task.to_json()) == task


def test_the_name_of_a_cell_is_that_of_its_files() -> None:
    assert Cell("federated", "real", 3, 0, 1).name == "federated-real-seed3-draw0-fold1"
