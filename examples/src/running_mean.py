"""A class: the instance lives in the runner, so what its constructor loads is loaded once."""


class RunningMean:
    def __init__(self, name: str) -> None:
        print(f"making {name}")  # where a model would be loaded: only the first call prints this
        self.name = name
        self.values: list[float] = []

    def add(self, *values: float) -> float:
        self.values.extend(values)
        return self.mean

    def report(self) -> dict[str, object]:
        return {"name": self.name, "count": len(self.values), "mean": self.mean}

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)
