"""State between rounds, for whoever trains: one file for each of the last two rounds, of tensors of several kinds."""

from pathlib import Path

from torch import Tensor

from fedmammo.disk.files import read_tensors, write_tensors


def load_state(folder: Path, before: int) -> dict[str, Tensor]:
    """Return the state that the last finished round before this one left; empty where there is none."""
    rounds = [number for number in _rounds(folder) if number < before]
    return read_tensors(_state_file(folder, max(rounds)))[0] if rounds else {}


def commit_state(folder: Path, number: int, state: dict[str, Tensor]) -> None:
    """Keep the state after a round, and that of the round before, which a server that was stopped may ask again."""
    write_tensors(_state_file(folder, number), state)
    for old in sorted(_rounds(folder))[:-2]:
        _state_file(folder, old).unlink(missing_ok=True)


def join_kinds(**kinds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join tensors of several kinds under names `kind/name`."""
    return {f"{kind}/{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}


def of_kind(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return one kind of what `join_kinds` joined, under their own names; empty where there are none."""
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _rounds(folder: Path) -> list[int]:
    return [int(file.stem.removeprefix("round-")) for file in folder.glob("round-*.safetensors")]


def _state_file(folder: Path, number: int) -> Path:
    return folder / f"round-{number:05d}.safetensors"
