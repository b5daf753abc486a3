"""OpenAI's two forms of a conversation → what a captioner can work with: pictures, the last words, a schema.

Chat: https://platform.openai.com/docs/api-reference/chat/create. Responses:
https://platform.openai.com/docs/api-reference/responses/create. Fields that change nothing here are ignored, as other
servers do; those that would change the answer's form are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.errors import InvalidRequest
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source

Json = dict[str, Any]
_MOST_MESSAGES, _MOST_PICTURES = 64, 16
_REFUSED = ("tools", "functions", "audio", "previous_response_id", "conversation", "logprobs", "prompt")
_SPEAKERS = ("system", "developer", "user", "assistant")
_RULERS = ("system", "developer")
_TEXTS = ("text", "input_text", "output_text")


@dataclass(frozen=True)
class Conversation:
    """`text` is the last of the user; `prefix` is how the answer is to begin (a last message of the assistant).

    For a model of words: `system` is what systems and developers say, `transcript` all that was said. `where` names the
    messages in errors.
    """

    model: str
    text: str
    pictures: tuple[Source, ...]
    prefix: str
    system: str
    transcript: str
    where: str
    schema: Mapping[str, Any] | None = None
    any_json: bool = False
    most_tokens: int | None = None
    stream: bool = False
    with_usage: bool = False


@dataclass(frozen=True)
class _Message:
    speaker: str
    texts: tuple[str, ...]
    pictures: tuple[Source, ...]


def parse_chat(body: Json, parser: InputParser) -> Conversation:
    """Raises BadInput that names the field."""
    _check(body)
    if body.get("n") not in (None, 1):
        raise InvalidRequest("`n` is 1: there is one answer", param="n")
    options = body.get("stream_options")
    return Conversation(
        _model(body),
        *_read(body.get("messages"), "messages", parser),
        *_format(body.get("response_format"), "response_format"),
        _tokens(body, "max_completion_tokens", "max_tokens"),
        _flag(body, "stream"),
        isinstance(options, dict) and options.get("include_usage") is True,
    )


def parse_responses(body: Json, parser: InputParser) -> Conversation:
    """Raises BadInput that names the field."""
    _check(body)
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    text = body.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return Conversation(
        _model(body),
        *_read(messages, "input", parser, _text(body, "instructions")),
        *_format(form, "text.format"),
        _tokens(body, "max_output_tokens"),
        _flag(body, "stream"),
        True,
    )


def _check(body: Json) -> None:
    for name in _REFUSED:
        if body.get(name):
            raise InvalidRequest(f"`{name}` is not for a captioner: leave it out", param=name)


def _model(body: Json) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("`model` is the name of a served model", param="model")
    return model


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"`{name}` is a string", param=name)
    return value or ""


def _flag(body: Json, name: str) -> bool:
    value = body.get(name)
    if value not in (None, True, False):
        raise InvalidRequest(f"`{name}` is true or false", param=name)
    return value is True


def _tokens(body: Json, *names: str) -> int | None:
    for name in names:
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidRequest(f"`{name}` is a whole number from 1", param=name)
            return value
    return None


def _read(
    given: object, param: str, parser: InputParser, instructions: str = ""
) -> tuple[str, tuple[Source, ...], str, str, str, str]:
    """The user's last words, the pictures that they are about, how the answer begins, and all for a model of words."""
    messages = list(_messages(given, param, parser))
    system = "\n".join([instructions, *(text for each in messages if each.speaker in _RULERS for text in each.texts)])
    said = [each for each in messages if each.speaker not in _RULERS]
    prefix = " ".join(messages.pop().texts) if messages and messages[-1].speaker == "assistant" else ""
    asked = [each for each in messages if each.speaker == "user"]
    if not asked:
        raise InvalidRequest("there is no message of the user", param=param)
    pictures = next((each.pictures for each in reversed(asked) if each.pictures), ())
    if len(pictures) > _MOST_PICTURES:
        raise InvalidRequest(f"there are {len(pictures)} pictures; at most {_MOST_PICTURES}", param=param)
    return " ".join(asked[-1].texts).strip(), pictures, prefix, system.strip(), _transcript(said), param


def _transcript(said: Sequence[_Message]) -> str:
    """One message as it is; of several, who says what."""
    if len(said) == 1:
        return "\n".join(said[0].texts)
    return "\n".join(f"{each.speaker.capitalize()}: {' '.join(each.texts)}" for each in said)


def _messages(given: object, param: str, parser: InputParser) -> Iterator[_Message]:
    if not isinstance(given, list) or not 1 <= len(given) <= _MOST_MESSAGES:
        raise InvalidRequest(f"`{param}` is a list of 1 to {_MOST_MESSAGES} messages", param=param)
    for place, message in enumerate(given):
        at = f"{param}[{place}]"
        speaker = message.get("role") if isinstance(message, dict) else None
        if not isinstance(message, dict) or speaker not in _SPEAKERS:
            raise InvalidRequest(f"a message has a `role` of {', '.join(_SPEAKERS)}", param=at)
        yield _message(str(speaker), message.get("content"), f"{at}.content", parser)


def _message(speaker: str, content: object, param: str, parser: InputParser) -> _Message:
    if isinstance(content, str):
        return _Message(speaker, (content,), ())
    if not isinstance(content, list):
        raise InvalidRequest("`content` is a string or a list of parts", param=param)
    texts, pictures = list[str](), list[Source]()
    for place, part in enumerate(content):
        at = f"{param}[{place}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image_url", "input_image"):
            pictures.append(_picture(part, at, parser))
        else:
            raise InvalidRequest(
                "a part is a text or a picture: `text`, `image_url`, `input_text`, `input_image`", param=at
            )
    return _Message(speaker, tuple(texts), tuple(pictures))


def _picture(part: Json, at: str, parser: InputParser) -> Source:
    """Chat has an object with a `url`, Responses the URL itself."""
    given, param = part.get("image_url"), f"{at}.image_url"
    if isinstance(given, dict):
        given, param = given.get("url"), f"{param}.url"
    return Source("image", parser.image(given, param), param)


def _format(given: object, param: str) -> tuple[Mapping[str, Any] | None, bool]:
    """The schema, and whether any JSON will do."""
    if given is None:
        return None, False
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or kind not in ("text", "json_object", "json_schema"):
        raise InvalidRequest("the format's `type` is text, json_object or json_schema", param=f"{param}.type")
    if kind != "json_schema":
        return None, kind == "json_object"
    named: Any = given.get("json_schema", given)
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise InvalidRequest("a json_schema has a `schema`", param=param)
    return schema, False


def first_words(text: str, most: int | None) -> tuple[str, bool]:
    """So many words of it, and whether that is all."""
    words: Sequence[str] = text.split(" ")
    if most is None or len(words) <= most:
        return text, True
    return " ".join(words[:most]), False
