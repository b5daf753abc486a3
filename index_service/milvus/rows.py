"""Items ↔ the columns of Milvus' messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clip_core.errors import TooLarge
from clip_core.wire import FloatArray
from index_service.milvus.rpc import messages
from index_service.milvus.schema import MAX_JSON_BYTES, MAX_TEXT_BYTES
from index_service.milvus.terms import terms_of
from index_service.record.records import StoredItem

_FIELDS_DATA, _VECTORS, _FLOAT_VECTOR, _FLOATS = 5, 4, 2, 1  # numbers of fields in Milvus' messages
ITEM_FIELDS = ("id", "vector", "metadata", "source")
_MESSAGE_ROWS, _MESSAGE_BYTES = 5000, 24 << 20  # of one message: Milvus takes 64 MB
_ROW_BYTES, _FILTERED = 1024, 3  # of an item beside its fields; of its metadata and what filters ask of it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_sizes(item: StoredItem) -> None:
    """Raises TooLarge for what a field of Milvus can't hold."""
    for name, text, most in (
        ("metadata", item.metadata, MAX_JSON_BYTES),
        ("source", item.source or b"", MAX_TEXT_BYTES),
    ):
        if len(text) > most:
            message = f"`{name}` of {item.id!r} has {len(text)} bytes, at most {most} go into Milvus"
            raise TooLarge(message, param=name)


def in_messages(items: Sequence[StoredItem]) -> Iterator[slice]:
    """The items that go into one message each."""
    start = size = 0
    for place, item in enumerate(items):
        own = len(item.vector) + _FILTERED * len(item.metadata) + len(item.source or b"") + _ROW_BYTES
        if place > start and (place - start == _MESSAGE_ROWS or size + own > _MESSAGE_BYTES):
            yield slice(start, place)
            start, size = place, 0
        size += own
    if items:
        yield slice(start, len(items))


def upsert_request(there: str, items: Sequence[StoredItem], vectors: FloatArray, seqs: Sequence[int]) -> bytes:
    """An UpsertRequest to add or replace `items`, whose sizes are checked, with their `vectors` (N, D) and numbers.

    The column of the vectors is written by hand, behind the others, and copied once: protobuf would copy it four times,
    which takes longer than all else.
    """
    schema, terms = messages("schema"), [terms_of(item.metadata) for item in items]
    arrays = [schema.ScalarField(long_data=schema.LongArray(data=each.terms)) for each in terms]
    types, sources = schema.DataType, [(item.source or b"").decode() for item in items]
    columns = [
        _scalars("id", types.VarChar, string_data=schema.StringArray(data=[item.id for item in items])),
        _scalars("metadata", types.JSON, json_data=schema.JSONArray(data=[item.metadata for item in items])),
        _scalars("source", types.VarChar, string_data=schema.StringArray(data=sources)),
        _scalars("seq", types.Int64, long_data=schema.LongArray(data=seqs)),
        _scalars("terms", types.Array, array_data=schema.ArrayArray(data=arrays, element_type=types.Int64)),
        _scalars("ranges", types.JSON, json_data=schema.JSONArray(data=[each.ranges for each in terms])),
        _scalars("partial", types.Bool, bool_data=schema.BoolArray(data=[each.partial for each in terms])),
    ]
    rest = messages().UpsertRequest(collection_name=there, fields_data=columns, num_rows=len(items))
    return b"".join([rest.SerializeToString(), *_nested(_FIELDS_DATA, _vector_column(vectors))])


def _scalars(name: str, type_: int, **data: Any) -> Any:
    schema = messages("schema")
    return schema.FieldData(field_name=name, type=type_, scalars=schema.ScalarField(**data))


def _vector_column(vectors: FloatArray) -> list[bytes | memoryview]:
    """A FieldData: name, type, and a VectorField of a dimension and a FloatArray."""
    schema, raw = messages("schema"), np.ascontiguousarray(vectors, "<f4").reshape(-1).data.cast("B")
    named = schema.FieldData(field_name="vector", type=schema.DataType.FloatVector)
    dim = schema.VectorField(dim=vectors.shape[1])
    floats = _nested(_FLOAT_VECTOR, _nested(_FLOATS, [raw]))
    return [named.SerializeToString(), *_nested(_VECTORS, [dim.SerializeToString(), *floats])]


def _nested(field: int, content: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """A field of bytes, a message or packed numbers, as protobuf writes it, in parts."""
    out, length = bytearray([field << 3 | 2]), sum(map(len, content))
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    return [bytes([*out, length]), *content]


class RowColumns:
    """The columns of an answer, by the names that were asked for."""

    def __init__(self, fields: Sequence[Any]) -> None:
        self._fields = {field.field_name: field for field in fields}

    def texts(self, name: str) -> list[str]:
        """Of a VarChar."""
        return list(self._fields[name].scalars.string_data.data)

    def numbers(self, name: str) -> list[int]:
        """Of an Int64."""
        return list(self._fields[name].scalars.long_data.data)

    def flags(self, name: str) -> list[bool]:
        """Of a Bool."""
        return list(self._fields[name].scalars.bool_data.data)

    def documents(self, name: str) -> list[bytes]:
        """Of a JSON field, as it was written."""
        return list(self._fields[name].scalars.json_data.data)

    def vectors(self) -> FloatArray:
        """(N, D)."""
        field = self._fields["vector"].vectors
        flat: FloatArray = np.array(field.float_vector.data, np.float32)
        return flat.reshape(-1, field.dim)

    def has(self, name: str) -> bool:
        """Milvus leaves all columns out where no row is found."""
        return name in self._fields

    def items(self) -> list[StoredItem]:
        """Whole items, where all of `ITEM_FIELDS` were asked for."""
        if not self.has("id"):
            return []
        rows = zip(self.texts("id"), self.vectors(), self.documents("metadata"), self.texts("source"), strict=True)
        return [
            StoredItem(id_, vector.astype("<f4").tobytes(), metadata, source.encode() or None)
            for id_, vector, metadata, source in rows
        ]


def literal(text: str) -> str:
    """A text in an expression of Milvus."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_CONTROL.sub(_escaped, plain)}"'


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def ids_in(ids: Sequence[str]) -> str:
    """The expression of these items."""
    return f"id in [{','.join(map(literal, ids))}]"
