"""The form that a collection has in Milvus: its name there, its fields, and what it was created with.

    id        VarChar, primary key
    vector    FloatVector, with an index for inner products (of unit vectors, they are cosines)
    metadata  JSON, the text that was acknowledged
    source    VarChar, JSON text or empty
    seq       Int64, the order of writing (`sequence.py`)
    terms     Array of Int64, what filters ask for equality and presence (`terms.py`)
    ranges    JSON, what filters ask for order
    partial   Bool, whether `terms` and `ranges` hold less than the metadata

Settings are JSON in the schema's description, which Milvus never changes.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from clip_core.errors import InvalidRequest
from index_service.engines.base import METRICS
from index_service.milvus.rpc import messages
from index_service.record.records import MAX_ID, CollectionInfo

SCHEMA_VERSION = 1
MAX_TEXT_BYTES, MAX_JSON_BYTES = 65_535, 65_536  # of a VarChar, of a JSON field
MAX_TERMS = 4096  # of an Array
ENGINES = ("auto", "exact", "hnsw")
_KEY = "clipserve"
_ESCAPES = {"_": "_u", "-": "_h"}  # Milvus' names have no hyphen; no hex digit, as the engine's names end in those
_INFO = ("model", "fingerprint", "dim", "engine", "recall_target", "metric", "created")


class Names:
    """Names in Milvus that begin with `prefix`: collections, hidden ones, aliases and their targets before, holds."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pattern = re.compile(rf"{re.escape(prefix)}_store_([caphw])_(\w+)")

    def collection(self, name: str) -> str:
        """Of a collection that callers know as `name`."""
        return self._named("c", name)

    def hidden(self, name: str) -> str:
        """Of a collection that nobody knows yet."""
        return self._named("h", name)

    def alias(self, name: str) -> str:
        """Of an alias that callers know as `name`."""
        return self._named("a", name)

    def previous(self, name: str) -> str:
        """Of the alias that leads to where `name` led before."""
        return self._named("p", name)

    def hold(self, until: str) -> str:
        """Of an alias that holds writes back (`catalogue/holds.py`)."""
        return self._named("w", until)

    def _named(self, kind: str, name: str) -> str:
        return f"{self._prefix}_store_{kind}_" + "".join(_ESCAPES.get(char, char) for char in name)

    def read(self, there: str) -> tuple[str, str] | None:
        """The kind and the name that callers know; None for what isn't ours."""
        parts = self._pattern.fullmatch(there)
        if parts is None:
            return None
        return parts[1], re.sub("_[uh]", lambda found: "_" if found[0] == "_u" else "-", parts[2])


def check_engine(info: CollectionInfo) -> None:
    """Raises InvalidRequest for engines that only the embedded store has."""
    if info.engine not in ENGINES:
        message = f"in the store milvus `engine` is one of {', '.join(ENGINES)}"
        raise InvalidRequest(message, param="factory" if ":" in info.engine else "engine")


def create_request(there: str, info: CollectionInfo, shards: int = 1) -> Any:
    """Of an empty collection, called `there` in Milvus."""
    milvus, schema = messages(), messages("schema")
    types = schema.DataType
    fields = [
        _field(100, "id", types.VarChar, {"max_length": 4 * MAX_ID}, is_primary_key=True),
        _field(101, "vector", types.FloatVector, {"dim": info.dim}),
        _field(102, "metadata", types.JSON),
        _field(103, "source", types.VarChar, {"max_length": MAX_TEXT_BYTES}),
        _field(104, "seq", types.Int64),
        _field(105, "terms", types.Array, {"max_capacity": MAX_TERMS}, element_type=types.Int64),
        _field(106, "ranges", types.JSON),
        _field(107, "partial", types.Bool),
    ]
    about = schema.CollectionSchema(name=there, description=described(info), autoID=False, fields=fields)
    return milvus.CreateCollectionRequest(
        collection_name=there, schema=about.SerializeToString(), shards_num=shards, consistency_level="Session"
    )


def _field(number: int, name: str, type_: int, params: dict[str, Any] | None = None, **more: Any) -> Any:
    pairs = [messages("common").KeyValuePair(key=key, value=str(value)) for key, value in (params or {}).items()]
    return messages("schema").FieldSchema(fieldID=number, name=name, data_type=type_, type_params=pairs, **more)


def index_request(there: str, info: CollectionInfo, m: int, ef_construction: int) -> Any:
    """The index of the vectors: none for the engine `exact`, else HNSW."""
    params: dict[str, str] = {"metric_type": "IP", "index_type": "FLAT"}
    if info.engine != "exact":
        built = orjson.dumps({"M": min(m, 64), "efConstruction": ef_construction}).decode()
        params = {"metric_type": "IP", "index_type": "HNSW", "params": built}
    pairs = [messages("common").KeyValuePair(key=key, value=value) for key, value in params.items()]
    return messages().CreateIndexRequest(collection_name=there, field_name="vector", extra_params=pairs)


def described(info: CollectionInfo) -> str:
    """Settings → the schema's description."""
    about = {name: getattr(info, name) for name in _INFO}
    return orjson.dumps({_KEY: SCHEMA_VERSION, **about, "metadata": orjson.Fragment(info.metadata)}).decode()


def read_info(name: str, schema: Any, key: int) -> CollectionInfo | None:
    """The settings in a schema that Milvus describes, with Milvus' own number `key` of the collection.

    None for one that isn't ours, or is of another version.
    """
    try:
        about = orjson.loads(schema.description)
        if about.pop(_KEY) != SCHEMA_VERSION or about["metric"] not in METRICS:
            return None
        metadata = orjson.dumps(about.pop("metadata"))
        info = CollectionInfo(name=name, metadata=metadata, store="milvus", key=key, **about)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    dims = [pair.value for field in schema.fields if field.name == "vector" for pair in field.type_params]
    return info if str(info.dim) in dims else None
