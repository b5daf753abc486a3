"""The TorchServe endpoints of one model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoints:
    """Each encodes what it is named after; the last one mixtures of both."""

    text: str
    image: str
    multimodal: str

    def all(self) -> tuple[str, str, str]:
        return self.text, self.image, self.multimodal
