"""Changes of items' metadata without their vectors: JSON merge patches (RFC 7386), each item with its own result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from clip_core.errors import BadInput, ClipServeError, UnknownItem
from clip_core.wire import load_json
from index_service.collection.bodies import MAX_ID, check_fields, item_id, metadata_json
from index_service.metadata.filters import compile_filter
from index_service.record.store import PatchedRow, StoredMetadata

_FIELDS = frozenset(("id", "metadata"))
PatchResult = bytes | ClipServeError | None
"""The item's metadata from now on, or why it stays as it is; None: the filter keeps it out."""


class ItemPatch(NamedTuple):
    """A merge patch of one item's metadata; None removes all of it."""

    id: str
    metadata: Mapping[str, Any] | None


class PatchBatch:
    """The patches of one call. `results` has an entry for each, in order, once they are applied."""

    def __init__(
        self,
        patches: Sequence[ItemPatch | ClipServeError],
        where: bytes | None,
        max_metadata: int,
        fixed: Sequence[str] = (),
    ) -> None:
        """With `where`, items that this canonical filter doesn't let through are left as they are.

        No patch changes a `fixed` field; one that removes all metadata leaves it.
        """
        self.patches, self.max_metadata, self._fixed = patches, max_metadata, fixed
        self._lets_through = None if where is None else compile_filter(where)
        self.results: list[PatchResult] = []

    @property
    def ids(self) -> list[str]:
        """Of the items to be changed."""
        return [patch.id for patch in self.patches if isinstance(patch, ItemPatch)]

    def apply(self, documents: dict[str, bytes]) -> None:
        """Change `documents`, JSON text by id, one patch after the other."""
        self.results = [
            patch if isinstance(patch, ClipServeError) else self._result(patch, documents) for patch in self.patches
        ]

    def _result(self, patch: ItemPatch, documents: dict[str, bytes]) -> PatchResult:
        text, lets_through = documents.get(patch.id), self._lets_through
        if text is None:
            return None if lets_through else UnknownItem(f"there is no item {patch.id!r}", param="id")
        try:
            document = load_json(text)
            if lets_through is not None and not lets_through(document):
                return None
            documents[patch.id] = after = patched(document, patch.metadata, self.max_metadata, self._fixed)
        except ClipServeError as error:
            return error
        return after


def patched(
    document: Mapping[str, Any], patch: Mapping[str, Any] | None, most: int, fixed: Sequence[str] = ()
) -> bytes:
    """The document's JSON text with a merge patch applied.

    Raises TooLarge beyond `most` bytes, BadInput for another value of a `fixed` field.
    """
    kept = {name: document[name] for name in fixed if name in document}
    if patch is None:
        return metadata_json(kept, most)
    merged = merge_patch(document, patch)
    for name in fixed:
        if name in patch and (name in merged, merged.get(name)) != (name in kept, kept.get(name)):
            raise BadInput(f"`{name}` is not changed by patches", param=f"metadata.{name}")
    return metadata_json(merged, most)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes a field, and anything else replaces what was there."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def patch_of(body: Mapping[str, Any], max_metadata: int) -> Mapping[str, Any] | None:
    """The required `metadata`, which is a merge patch and as small as metadata must be."""
    if "metadata" not in body:
        raise BadInput("give `metadata`: the fields to set, and null for those to remove", param="metadata")
    patch: Mapping[str, Any] | None = body["metadata"]
    metadata_json(patch, max_metadata)
    return patch


def parse_patches(bodies: Sequence[object], max_metadata: int) -> list[tuple[str | None, ItemPatch | ClipServeError]]:
    """Each with the id that was given, for its result: an error stands where a patch can't be read."""
    return [(_given_id(body), _parsed(body, max_metadata)) for body in bodies]


def _given_id(body: object) -> str | None:
    id_ = body.get("id") if isinstance(body, dict) else None
    return id_[:MAX_ID] if isinstance(id_, str) else None


def _parsed(body: object, max_metadata: int) -> ItemPatch | ClipServeError:
    try:
        return _parse(body, max_metadata)
    except ClipServeError as error:
        return error


def _parse(body: object, max_metadata: int) -> ItemPatch:
    if not isinstance(body, dict):
        raise BadInput("a patch is an object with `id` and `metadata`")
    check_fields(body, _FIELDS)
    return ItemPatch(item_id(body.get("id")), patch_of(body, max_metadata))


def patched_rows(
    batches: Sequence[PatchBatch], read: Callable[[Sequence[str]], Sequence[StoredMetadata]]
) -> list[PatchedRow]:
    """Apply `batches` in order to what `read` gives; the rows whose text differs, by their sequence numbers."""
    before = read(list({id_: None for batch in batches for id_ in batch.ids}))
    after = {row.id: row.metadata for row in before}
    for batch in batches:
        batch.apply(after)
    return sorted(PatchedRow(row.seq, row.id, after[row.id]) for row in before if after[row.id] != row.metadata)
