"""Tensors in and out of Flower's records."""

from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from fedmammo.privacy.answer import Answer


def pack(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Put named tensors into a record, in order."""
    return ArrayRecord({name: Array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()})


def unpack(record: ArrayRecord) -> dict[str, Tensor]:
    """Take the named tensors out of a record."""
    return {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}


def size(record: ArrayRecord) -> int:
    """Return the bytes of a record's arrays, as they are sent."""
    return sum(len(array.data) for array in record.values())


def as_reply(answer: Answer, to: Message) -> Message:
    """Return the message that a strategy of Flower combines: one record of tensors, one of numbers."""
    numbers = MetricRecord(dict(answer.numbers))
    return Message(RecordDict({"arrays": pack(answer.tensors), "metrics": numbers}), reply_to=to)
