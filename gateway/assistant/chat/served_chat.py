"""Chat completions and Responses by a captioner: a conversation → its answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from clip_core.errors import ClipServeError, InvalidRequest
from clip_core.inputs.images import from_reference
from gateway.assistant.chat.answering import PictureChat, any_json, written_json
from gateway.assistant.chat.conversation import Conversation, first_words
from gateway.assistant.chat.structured import StructuredAnswer
from gateway.assistant.chat.text_chat import TextChat
from gateway.assistant.offline.caption_reader import CaptionReader
from gateway.assistant.offline.questions import parse_question
from gateway.captions.loading import PictureLoader
from gateway.captions.wanted import MOST_CHARACTERS
from gateway.inputs.parser import renamed
from gateway.inputs.source import Source


@dataclass(frozen=True)
class ChatSaid:
    """`finish` is "stop" or "length". A captioner's tokens are counted in words, with each picture as one."""

    text: str
    finish: str
    input_tokens: int
    output_tokens: int


class ServedChat:
    """Pictures are fetched where they are URLs and fetching is on. `words` answers where there are none."""

    def __init__(self, reader: CaptionReader, loader: PictureLoader, words: TextChat | None) -> None:
        self._reader, self._loader, self._words = reader, loader, words

    async def begin(self, asked: Conversation) -> AsyncGenerator[str | ChatSaid, None]:
        """Pieces of the answer, last the whole. Raises NoCaptioner, UnknownModel and BadInput before it returns."""
        if self._words is not None and asked.model == self._words.name:
            return _told_by_words(asked, self._words)
        if not asked.pictures:
            raise InvalidRequest("there is no picture: this model answers about pictures only", param=asked.where)
        if len(asked.prefix) > MOST_CHARACTERS:
            message = f"the answer is to begin with more than {MOST_CHARACTERS} characters"
            raise InvalidRequest(message, param=asked.where)
        reader = await self._reader.of(asked.model)
        loaded = await self._loader.load(asked.pictures)
        for each in loaded:
            if isinstance(each, ClipServeError):
                raise each
        pictures = [_decoded(each) for each in loaded if isinstance(each, Source)]
        return _told(asked, _pieces(asked, PictureChat(reader, asked, pictures)))


async def _told_by_words(asked: Conversation, words: TextChat) -> AsyncGenerator[str | ChatSaid, None]:
    async with aclosing(words.pieces(asked)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                yield piece
            else:
                use = piece.use
                yield ChatSaid(piece.text, "length" if piece.cut else "stop", use.input, use.output)


def _decoded(source: Source) -> bytes:
    """Raises BadImage that names the place in the request."""
    with renamed(source.param or ""):
        return from_reference(source.value)


async def _pieces(asked: Conversation, chat: PictureChat) -> AsyncIterator[str]:
    if asked.schema is not None:
        thing = parse_question(asked.text).thing
        yield written_json(await StructuredAnswer(chat, thing).of(asked.schema))
    elif asked.any_json:
        yield any_json(await chat.text())
    else:
        async for piece in chat.pieces():
            yield piece


async def _told(asked: Conversation, pieces: AsyncIterator[str]) -> AsyncGenerator[str | ChatSaid, None]:
    """No more words than were asked for; JSON is never cut."""
    most = None if asked.schema is not None or asked.any_json else asked.most_tokens
    whole, told = "", ""
    async for piece in pieces:
        whole += piece
        shown, all_of_it = first_words(whole.strip(), most)
        if shown[len(told) :]:
            yield shown[len(told) :]
            told = shown
        if not all_of_it:
            yield _said(asked, told, "length")
            return
    yield _said(asked, told, "stop")


def _said(asked: Conversation, text: str, finish: str) -> ChatSaid:
    return ChatSaid(text, finish, len(asked.text.split()) + len(asked.pictures), len(text.split()))
