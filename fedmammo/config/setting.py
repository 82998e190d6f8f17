"""Settings: what a deployment learns from, and under which privacy budget; a study tells them by name."""

import re
from typing import Annotated, Literal, NamedTuple, cast, get_args

from pydantic import Field

Kind = Literal["real", "synthetic", "augmented", "pretrained", "public"]
WITHOUT_IMAGES: tuple[Kind, ...] = ("real", "public")  # settings that need no synthetic images
KINDS: tuple[Kind, ...] = get_args(Kind)
_BUDGET, _AS = "-epsilon-", "-as"
NAME = rf"^({'|'.join(KINDS)})(({_AS})?{_BUDGET}([0-9]+(\.[0-9]+)?))?$"
SettingName = Annotated[str, Field(pattern=NAME)]
"""`real`; `real-epsilon-6`, with every hospital's privacy budget at 6; `real-as-epsilon-6`, what that does but without
a budget, its overrides included: what the budget costs is the difference. `public`: what a study begins with, before
any patient."""


class Setting(NamedTuple):
    """What is learned from, and how.

    Attributes:
        kind: what is learned from.
        epsilon: the privacy budget of each hospital; none where it trains without privacy.
        like: the setting with a budget whose overrides this one without takes over, if any.
    """

    kind: Kind
    epsilon: float | None
    like: str = ""

    @classmethod
    def of(cls, name: str) -> "Setting":
        """Read the name of a setting, such as `real` or `pretrained-epsilon-6`. Raises ValueError for another name."""
        found = re.fullmatch(NAME, name)
        if found is None:
            raise ValueError(f"nobody knows a setting {name}")
        kind, _, like, budget, _ = found.groups()
        if like:
            return cls(cast(Kind, kind), None, f"{kind}{_BUDGET}{budget}")
        return cls(cast(Kind, kind), float(budget) if budget else None)

    @property
    def of_patients(self) -> bool:
        """Whether a classifier learns from patients."""
        return self.kind not in ("synthetic", "public")
