"""Settings: what a deployment learns from, and under which privacy budget; a study tells them by name."""

from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

Kind = Literal["real", "synthetic", "augmented", "pretrained"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_BUDGET = "-epsilon-"
SettingName = Annotated[str, Field(pattern=rf"^({'|'.join(KINDS)})({_BUDGET}[0-9]+(\.[0-9]+)?)?$")]
"""`real`, or `real-epsilon-6`: the same with every hospital's privacy budget at 6."""


class Setting(NamedTuple):
    """What is learned from, and the privacy budget of each hospital: none where it trains without privacy."""

    kind: Kind
    epsilon: float | None

    @classmethod
    def of(cls, name: str) -> "Setting":
        """Read the name of a setting, such as `real` or `pretrained-epsilon-6`. Raises ValueError for another name."""
        kind, _, budget = name.partition(_BUDGET)
        if kind not in KINDS:
            raise ValueError(f"nobody knows a setting {name}")
        return cls(kind, float(budget) if budget else None)
