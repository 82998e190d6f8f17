"""State between rounds, for whoever trains: one file for each of the last two rounds, of tensors of several kinds."""

from pathlib import Path

from torch import Tensor

from fedmammo.disk.files import read_tensors, write_tensors

OWN_MODEL = "own-model.safetensors"
KEPT, PASSING = "round", "passing"  # what the files of a round are called


def load_state(folder: Path, before: int) -> dict[str, Tensor]:
    """Return the state that the last finished round before this one left; empty where there is none."""
    if before > 1:
        files = (file for kind in (KEPT, PASSING) for file in folder.glob(f"{kind}-*.safetensors"))
        rounds = {int(file.stem.rpartition("-")[2]): file for file in files}
        earlier = [number for number in rounds if number < before]
        if earlier:
            return read_tensors(rounds[max(earlier)])[0]
    return {}


def commit_state(folder: Path, number: int, state: dict[str, Tensor], keep: bool = True, flush: bool = True) -> None:
    """Keep the state after a round, and those that a server that was stopped may ask for again.

    `keep`: whether the server keeps a checkpoint of this round: then the state lasts until there are two such rounds
    more, else until the next one. `flush`: whether it must survive a power cut.
    """
    write_tensors(_state_file(folder, number, keep), state, flush=flush)
    if keep:
        for file in (*sorted(folder.glob(f"{KEPT}-*"))[:-2], *folder.glob(f"{PASSING}-*")):
            file.unlink(missing_ok=True)


def keep_own_model(folder: Path, model: dict[str, Tensor]) -> None:
    """Keep a hospital's own model, where it does not leave. `folder`: of the deployment at the hospital."""
    write_tensors(folder / OWN_MODEL, model)


def own_model(folder: Path) -> dict[str, Tensor]:
    """Read a hospital's own model; empty where there is none."""
    path = folder / OWN_MODEL
    return read_tensors(path)[0] if path.exists() else {}


def join_kinds(**kinds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join tensors of several kinds under names `kind/name`."""
    return {f"{kind}/{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}


def of_kind(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return one kind of what `join_kinds` joined, under their own names; empty where there are none."""
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _state_file(folder: Path, number: int, keep: bool) -> Path:
    return folder / f"{KEPT if keep else PASSING}-{number:05d}.safetensors"
