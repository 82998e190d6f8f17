"""Tensors in and out of Flower's records."""

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message
from torch import Tensor


def pack(tensors: dict[str, Tensor]) -> ArrayRecord:
    """Put named tensors into a record, in order."""
    return ArrayRecord({name: Array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()})


def unpack(record: ArrayRecord) -> dict[str, Tensor]:
    """Take the named tensors out of a record."""
    return {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}


def size(record: ArrayRecord) -> int:
    """Return the bytes of a record's arrays, as they are sent."""
    return sum(len(array.data) for array in record.values())


def size_of_arrays(message: Message) -> int:
    """Return the bytes of the model in a message, as they are sent."""
    return size(message.content.array_records["arrays"])


def anew(message: Message) -> Message:
    """Return a message of the same content: Flower's grid takes none that was sent before."""
    return Message(message.content, message.metadata.dst_node_id, message.metadata.message_type)
