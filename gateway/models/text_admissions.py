"""Whether texts are turned away at every model: then most of them are so before their bodies are parsed."""

from __future__ import annotations

from gateway.admission.controller import AdmissionController
from gateway.models.registry import Models


class TextAdmissions:
    """As one AdmissionController, for LoadShedding. A body is parsed while one model has room."""

    def __init__(self, models: Models) -> None:
        self._models = models

    @property
    def sheds(self) -> bool:
        controllers = self._controllers()
        return bool(controllers) and all(each.sheds for each in controllers)

    def check(self, caller: str) -> None:
        """Raises Overloaded."""
        for controller in self._controllers()[:1]:
            controller.check(caller)

    def _controllers(self) -> list[AdmissionController]:
        return [each.torchserve.admissions.at(each.row.text) for each in self._models.all()]
