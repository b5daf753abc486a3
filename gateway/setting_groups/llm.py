"""The language model that answers, what it may cost, and the one that chats."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from clip_core.secret_files import SettingsOrFiles
from clip_core.setting_checks import header_value
from gateway.setting_groups.types import UrlOrEmpty


class LlmSettings(SettingsOrFiles):
    """Of answers about pictures."""

    llm_url: UrlOrEmpty = Field(
        "", description="A server that speaks OpenAI's API, for answers: `https://api.openai.com/v1`; empty: offline."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="The key that it asks for; better a secret file.")
    llm_model: str = Field("", description="Its model that answers, such as gpt-4.1-mini.")
    llm_api: Literal["chat", "responses"] = Field("chat", description="Chat completions or Responses.")
    llm_vision: bool = Field(True, description="Show it pictures; false: captions and metadata only.")
    llm_timeout_s: float = Field(60.0, gt=0, description="How long an answer may take, with all tries.")
    llm_retries: int = Field(2, ge=0, le=10, description="How often the `openai` package sends a request again.")
    llm_concurrency: int = Field(8, gt=0, description="Questions under way at that server; others wait.")
    llm_key_concurrency: int = Field(4, gt=0, description="Questions that a key may have under way.")
    llm_max_tokens: int = Field(500, ge=16, description="Tokens of an answer.")
    llm_prompt_tokens: int = Field(6000, ge=500, description="Tokens of a question with all that is shown.")
    llm_usd_per_day: float | None = Field(
        None, ge=0, description="USD a day (UTC) for answers; without a price of the model, none is given."
    )
    llm_key_usd_per_day: float | None = Field(None, ge=0, description="The same for each key.")
    llm_prices_file: Path | None = Field(
        None, description="Prices that win over gateway/assistant/provider/prices.json, in its form."
    )
    llm_cache: int = Field(1000, ge=0, description="Answers of the last day kept in memory; 0: none.")
    chat_model_url: UrlOrEmpty = Field(
        "", description="A server that answers chats without a picture, as `clipserve local-llm` does; empty: none."
    )
    chat_model: str = Field("smollm2", min_length=1, description="Its model's name, there and in requests.")

    @field_validator("llm_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        return SecretStr(header_value(value.get_secret_value().strip()))

    @model_validator(mode="after")
    def _whole_llm(self) -> LlmSettings:
        if bool(self.llm_url) != bool(self.llm_model):
            raise ValueError("llm_url and llm_model go together")
        return self
