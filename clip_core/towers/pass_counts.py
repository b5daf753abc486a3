"""What the towers were given since the last report: how full their passes were, and how much of it was padding."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class PassCount:
    """Counts of one modality. `capacity` is what its passes could have held; tokens are of texts only."""

    passes: int = 0
    items: int = 0
    capacity: int = 0
    tokens: int = 0
    padding: int = 0

    def add(self, items: int, capacity: int, *, tokens: int = 0, padding: int = 0) -> None:
        """One pass of `items`, which computed `tokens`, `padding` of them for nothing."""
        self.passes += 1
        self.items += items
        self.capacity += capacity
        self.tokens += tokens
        self.padding += padding


@dataclass
class PassCounts:
    text: PassCount = field(default_factory=PassCount)
    image: PassCount = field(default_factory=PassCount)

    def take(self) -> dict[str, PassCount]:
        """The counts by modality; they start again from nothing."""
        taken = {"text": self.text, "image": self.image}
        self.text, self.image = PassCount(), PassCount()
        return taken
