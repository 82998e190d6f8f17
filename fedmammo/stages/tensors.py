"""Whether tensors that arrived are those that were expected; nobody uses others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedmammo.privacy.reasons import RefusalError


def unlike(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], sums: bool = False) -> str | None:
    """Say how tensors differ from those that are wanted in names, shapes and types, or are not finite; None if neither.

    `sums`: whether they are sums in integers, which the server adds up.
    """
    if found.keys() != wanted.keys():
        missing, other = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        return f"tensor {missing[0]} is missing" if missing else f"tensor {other[0]} was not asked for"
    for name, tensor in found.items():
        kind = torch.int64 if sums else wanted[name].dtype
        if tensor.shape != wanted[name].shape:
            return f"tensor {name} has shape {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
        if tensor.dtype != kind:
            return f"tensor {name} is of type {str(tensor.dtype)[6:]} instead of {str(kind)[6:]}"
        if not torch.isfinite(tensor).all():
            return f"tensor {name} is not finite"
    return None


def check_arrived(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise RefusalError where a model that arrived at a hospital is not the deployment's."""
    why = unlike(found, wanted)
    if why is not None:
        raise RefusalError(f"refused: what arrived is no model of this deployment: {why}")
