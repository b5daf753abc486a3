"""Columns of a Parquet file → lists of Python values, however odd a column's type or a value in it is."""

from __future__ import annotations

from datetime import date
from typing import Any

Column = dict[str, Any]


class OddValue:
    """Stands for a value that is no metadata: text that is not UTF-8, or what pyarrow itself can't convert."""

    def __repr__(self) -> str:
        return "an odd value"


def is_plain(kind: Any) -> bool:
    """Whether values of this Arrow type can be metadata: texts, numbers, booleans, dates and times."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_plain(kind.value_type)
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_timestamp, types.is_date)
    return is_string(kind) or any(check(kind) for check in plain)


def holds_texts(kind: Any) -> bool:
    """Whether values of this Arrow type can be texts; a column without any value may hold whatever is missing."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return holds_texts(kind.value_type)
    checks = (types.is_null, types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return is_string(kind) or any(check(kind) for check in checks)


def holds_pictures(kind: Any) -> bool:
    """The same of pictures: bytes, base64 or URLs, or structs with `bytes`."""
    return holds_texts(kind) or (is_struct(kind) and kind.get_field_index("bytes") >= 0)


def is_string(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def plain_column(column: Any) -> list[Any]:
    """Of texts with their bytes where they are not UTF-8; of structs only the field `bytes`, as bytes."""
    from pyarrow import ArrowException, types

    kind = column.type
    try:
        if types.is_struct(kind):
            return _bytes_of(column)
        if types.is_dictionary(kind):
            return plain_column(column.dictionary_decode())
        if types.is_timestamp(kind):
            column = _microseconds(column)
        return _texts(column) if is_string(kind) else [_number(value) for value in column.to_pylist()]
    except (ArrowException, ValueError, OverflowError, TypeError):
        return [_value(column, row) for row in range(len(column))]


def is_struct(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind))


def as_json(value: Any) -> Any:
    """Dates and times in ISO 8601; any other value as it is."""
    return value.isoformat() if isinstance(value, date) else value  # a datetime is a date


def _microseconds(column: Any) -> Any:
    """Of timestamps: more digits Python has not."""
    import pyarrow

    return column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)


def _bytes_of(column: Any) -> list[Any]:
    if column.type.get_field_index("bytes") < 0:
        return [None] * len(column)
    inside = plain_column(column.field("bytes"))
    return [value if valid else None for value, valid in zip(inside, column.is_valid().to_pylist(), strict=True)]


def _texts(column: Any) -> list[Any]:
    import pyarrow

    return [_text(value) for value in column.cast(pyarrow.large_binary()).to_pylist()]


def _text(value: bytes | None) -> str | bytes | None:
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _number(value: Any) -> Any:
    """NumPy's float16 as Python's float."""
    return value.item() if hasattr(value, "item") else value


def _value(column: Any, row: int) -> Any:
    from pyarrow import ArrowException

    try:
        return column[row].as_py()
    except (ArrowException, ValueError, OverflowError, TypeError):
        return OddValue()
