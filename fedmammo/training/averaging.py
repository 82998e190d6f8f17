"""The mean of a model over its last rounds (Polyak and Juditsky 1992, doi 10.1137/0330046), kept as rounds go by."""

from torch import Tensor


def running_mean(
    before: dict[str, Tensor], model: dict[str, Tensor], number: int, rounds: int, averaged: int
) -> dict[str, Tensor]:
    """Return the mean of the models so far that count; nothing where the last one is used, or none counts yet.

    Args:
        before: the mean after the round before.
        model: after round `number`, from 1.
        number: of the round.
        rounds: how many there are.
        averaged: over how many last ones the mean is.
    """
    count = number - max(0, rounds - averaged)
    if averaged == 1 or count < 1:
        return before
    return {name: (before or model)[name].lerp(tensor, 1 / count) for name, tensor in model.items()}
