"""The ways to personalise that a study can name. To add one: its file, and its class here."""

from typing import Annotated

from pydantic import Discriminator

from fedmammo.personal.ditto import Ditto
from fedmammo.personal.fine_tuning import FineTuning
from fedmammo.personal.own_head import FedPer

Personal = Annotated[FineTuning | FedPer | Ditto, Discriminator("name")]
