"""JSON that fits a schema, by a captioner: an enum's likeliest value, a number by counting, a text by a caption.

Schemas are those that strict structured output takes: objects, arrays, enums, strings, numbers, booleans, and null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_core.errors import InvalidRequest
from gateway.assistant.chat.answering import PictureChat
from gateway.assistant.offline.scenes import Thing

Json = dict[str, Any]
_DEEPEST, _MOST_FIELDS, _MOST_VALUES = 5, 32, 64
_LONGEST = 1000
_PARAM = "response_format"


class StructuredAnswer:
    """Of one picture and one question. `thing` is what the question is about, if that is known."""

    def __init__(self, chat: PictureChat, thing: Thing) -> None:
        self._chat, self._thing = chat, thing
        self._fields = 0

    async def of(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value that the schema allows. Raises InvalidRequest for a schema that asks for more, or is none."""
        self._fields += 1
        if not isinstance(schema, dict):
            raise InvalidRequest(f"the schema of {name[:40] or 'the answer'!r} is no object", param=_PARAM)
        if depth > _DEEPEST or self._fields > _MOST_FIELDS:
            raise InvalidRequest(
                f"the schema is deeper than {_DEEPEST} or has more than {_MOST_FIELDS} fields", param=_PARAM
            )
        if len(name) > _LONGEST:
            raise InvalidRequest(f"a field's name has at most {_LONGEST} characters", param=_PARAM)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return await self._one_of(schema["enum"], name)
        for form in ("anyOf", "oneOf", "allOf"):
            if forms := schema.get(form):
                return await self.of(forms[0] if isinstance(forms, list) else forms, name, depth + 1)
        return await self._of_type(_type(schema), schema, name, depth)

    async def _of_type(self, kind: str, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        if kind == "object":
            fields = schema.get("properties") or {}
            if not isinstance(fields, dict):
                raise InvalidRequest("a schema's `properties` are an object", param=_PARAM)
            return {key: await self.of(each, key, depth + 1) for key, each in fields.items()}
        if kind == "array":
            return [await self.of(schema.get("items") or {"type": "string"}, name, depth + 1)]
        if kind == "boolean":
            return await self._chat.says_yes(name)
        if kind in ("integer", "number"):
            return _within(await self._chat.number(self._thing), schema)
        if kind == "string":
            most = schema.get("maxLength")
            return (await self._chat.text())[: most if isinstance(most, int) and most >= 0 else _LONGEST]
        if kind == "null":
            return None
        raise InvalidRequest(f"the schema's type {kind[:40]!r} is none that a captioner fills", param=_PARAM)

    async def _one_of(self, values: Any, name: str) -> Any:
        if not isinstance(values, list) or not 1 <= len(values) <= _MOST_VALUES:
            raise InvalidRequest(f"an enum has 1 to {_MOST_VALUES} values", param=_PARAM)
        said = [value if isinstance(value, str) else f"{name} {value}" for value in values]
        if max(map(len, said)) > _LONGEST:
            raise InvalidRequest(f"an enum's values have at most {_LONGEST} characters", param=_PARAM)
        return values[await self._chat.choose(said, self._thing)]


def _type(schema: Mapping[str, Any]) -> str:
    kind: Any = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    return str(kind)


def _within(number: int, schema: Mapping[str, Any]) -> int:
    bounds: Sequence[Any] = (schema.get("minimum"), schema.get("maximum"))
    low, high = (each if isinstance(each, int | float) and not isinstance(each, bool) else None for each in bounds)
    number = number if low is None else max(number, int(low))
    return number if high is None else min(number, int(high))
