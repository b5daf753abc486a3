"""The bodies and answers of OpenAI's chat completions and Responses, as far as a captioner takes part in them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gateway.schemas.base import PIXEL, example

_IGNORED = "Other fields of OpenAI's are ignored, but for those that a captioner can't follow, such as `tools`."
CHAT_STREAM = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"demo",'
    '"choices":[{"index":0,"delta":{"content":"a red"},"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
RESPONSES_STREAM = (
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,'
    '"item_id":"msg_1","output_index":0,"content_index":0,"delta":"a red","logprobs":[]}\n\n'
)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class ChatRequest(_Open):
    model_config = example(
        {
            "model": "demo",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is in this picture?"},
                        {"type": "image_url", "image_url": {"url": PIXEL}},
                    ],
                }
            ],
        },
        extra="allow",
    )
    model: str = Field(description=f"A served model that has a captioner. {_IGNORED}")
    messages: list[dict[str, Any]] = Field(
        description="The last question is about the last pictures. A last message of the assistant is how to begin."
    )
    response_format: dict[str, Any] | None = Field(None, description="text, json_object or json_schema.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Words of the answer.")
    max_tokens: int | None = Field(None, ge=1, description="The same by its older name.")
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


class ChatCompletion(_Open):
    model_config = example(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "demo",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "a red circle"}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9},
        },
        extra="allow",
    )
    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class ResponseRequest(_Open):
    model_config = example(
        {
            "model": "demo",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is in this picture?"},
                        {"type": "input_image", "image_url": PIXEL},
                    ],
                }
            ],
        },
        extra="allow",
    )
    model: str = Field(description=f"A served model that has a captioner. {_IGNORED}")
    input: list[dict[str, Any]] = Field(description="Messages, the last of them the question.")
    text: dict[str, Any] | None = Field(None, description="`format`: text, json_object or json_schema.")
    max_output_tokens: int | None = Field(None, ge=1, description="Words of the answer.")
    stream: bool | None = None


class ResponseObject(_Open):
    model_config = example(
        {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": "demo",
            "status": "completed",
            "output": [
                {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "a red circle", "annotations": []}],
                }
            ],
        },
        extra="allow",
    )
    id: str
    object: str
    created_at: int
    model: str
    status: str
    output: list[dict[str, Any]]
