"""What every strategy has: parameters that are a part of the study's schema, a class in Flower, limits."""

from typing import TYPE_CHECKING, Any, ClassVar

from fedmammo.config.schema import Section

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAvg as FlowerStrategy

    from fedmammo.config.study import StudyConfig


class BaseStrategy(Section):
    """How the server combines the models of a round.

    A subclass gives `name` the name of its class in Flower; its other fields are that class's parameters.
    """

    state: ClassVar[tuple[str, ...]] = ()  # attributes of Flower's object that must survive a restart
    name: str

    @property
    def fewest(self) -> int:
        """The fewest hospitals whose models can be combined; a round with fewer answers ends the study."""
        return 1

    def refuses(self, study: "StudyConfig", hospitals: int) -> str | None:
        """Say in one line why the strategy cannot serve a study; none where it can.

        Args:
            study: the study as one deployment runs it (`StudyConfig.for_cell`).
            hospitals: how many it has.
        """
        if hospitals >= self.fewest:
            return None
        given = ", ".join(f"{name}: {value}" for name, value in self.model_dump().items())
        return f"{{{given}}} needs {self.fewest} hospitals or more, the study has {hospitals}"

    def parameters(self, study: "StudyConfig") -> dict[str, Any]:
        """Return what Flower's class is made with."""
        return self.model_dump(exclude={"name"})

    def make(self, study: "StudyConfig") -> "FlowerStrategy":
        """Build Flower's strategy. All hospitals take part; a missing one never blocks a round."""
        import flwr.serverapp.strategy as flower  # only the server needs Flower; the schema is read without it

        return getattr(flower, self.name)(min_train_nodes=1, min_available_nodes=1, **self.parameters(study))
