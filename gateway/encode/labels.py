"""Label vectors for zero-shot classification: each label's prompts, averaged, kept for the next image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cachetools import LRUCache

from clip_core.wire import FloatArray, unit
from gateway.encode.chunks import Ask
from gateway.encode.embedding import floats
from gateway.encode.encoder import Encoder
from gateway.encode.results import EncodedInputs
from gateway.inputs.source import Source

_KEPT_CHARACTERS = 4096  # of a label and its templates, so that what is kept is bounded
Key = tuple[str, str, tuple[str, ...]]


class LabelVectors:
    """Keeps `capacity` labels, least recently used out first; a label is known by fingerprint and templates too."""

    def __init__(self, capacity: int) -> None:
        self._kept: LRUCache[Key, FloatArray] = LRUCache(capacity)

    async def encode(
        self, encoder: Encoder, image: Source, labels: Sequence[str], templates: Sequence[str]
    ) -> tuple[EncodedInputs, FloatArray, FloatArray]:
        """The image's vector (D,), and the labels' (L, D), all of unit norm. Raises the first error among them."""
        served = encoder.served
        known = {
            label: vector
            for label in labels
            if served and (vector := self._get(served.fingerprint, label, templates)) is not None
        }
        encoded, vectors = await self._run(encoder, image, labels, templates, known)
        if known and served is not None and encoded.model().fingerprint != served.fingerprint:
            encoded, vectors = await self._run(encoder, image, labels, templates, {})  # another model answers since
        return encoded, vectors[0], vectors[1:]

    async def _run(
        self,
        encoder: Encoder,
        image: Source,
        labels: Sequence[str],
        templates: Sequence[str],
        known: dict[str, FloatArray],
    ) -> tuple[EncodedInputs, FloatArray]:
        missing = list(dict.fromkeys(label for label in labels if label not in known))
        texts = [Source("text", template.replace("{}", label), "labels") for label in missing for template in templates]
        encoded = await encoder.run([Ask(image), *map(Ask, texts)])
        rows = np.stack([floats(entry["embedding"]) for entry in encoded.entries()])
        if missing:
            averaged = unit(rows[1:].reshape(len(missing), len(templates), -1).mean(axis=1))
            made = dict(zip(missing, averaged, strict=True))
            self._keep(encoded.model().fingerprint, templates, made)
            known = {**known, **made}
        return encoded, np.stack([rows[0], *(known[label] for label in labels)])

    def _get(self, fingerprint: str, label: str, templates: Sequence[str]) -> FloatArray | None:
        vector: FloatArray | None = self._kept.get((fingerprint, label, tuple(templates)))
        return vector

    def _keep(self, fingerprint: str, templates: Sequence[str], made: dict[str, FloatArray]) -> None:
        for label, vector in made.items():
            if len(label) + sum(map(len, templates)) <= _KEPT_CHARACTERS:
                self._kept[fingerprint, label, tuple(templates)] = vector
