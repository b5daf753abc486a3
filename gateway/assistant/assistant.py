"""The assistant, made from settings."""

from __future__ import annotations

from gateway.assistant.asking.asker import Asker
from gateway.assistant.asking.model_answers import ModelAnswers, ModelOptions
from gateway.assistant.asking.retrieval import Retrieval
from gateway.assistant.chat.text_chat import TextChat
from gateway.assistant.describing.collection_captions import CollectionCaptions
from gateway.assistant.describing.kept_captions import KeptCaptions
from gateway.assistant.describing.picture_captions import PictureCaptions
from gateway.assistant.offline.caption_reader import CaptionReader
from gateway.assistant.offline.offline_answers import OfflineAnswers
from gateway.assistant.provider.completion_cache import CompletionCache
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.openai_provider import OpenAiProvider, ProviderOptions
from gateway.assistant.provider.prices import PriceTable
from gateway.assistant.provider.spending import Spending, SpendingCaps
from gateway.assistant.provider.turns_of_keys import TurnsOfKeys
from gateway.database.postgres import Postgres
from gateway.inputs.parser import InputParser
from gateway.keys.meter import Meter
from gateway.metrics import GatewayMetrics
from gateway.pictures.pictures import Pictures
from gateway.search.searching import Searcher
from gateway.settings import GatewaySettings
from gateway.upstream.index_service import IndexServiceClient


def make_asker(
    settings: GatewaySettings,
    searcher: Searcher,
    parser: InputParser,
    pictures: Pictures,
    index: IndexServiceClient,
    reader: CaptionReader,
    model: LanguageModel | None,
    metrics: GatewayMetrics,
) -> Asker:
    """`model` is closed by its maker."""
    answers = None if model is None else ModelAnswers(model, _options(settings))
    return Asker(Retrieval(searcher, parser), pictures, index, OfflineAnswers(reader), answers, metrics)


def make_collection_captions(
    settings: GatewaySettings,
    index: IndexServiceClient,
    pictures: Pictures,
    reader: CaptionReader,
    captions: PictureCaptions | None,
    meter: Meter,
) -> CollectionCaptions:
    return CollectionCaptions(index, pictures, reader, captions, meter, at_once=_captions_at_once(settings))


def make_picture_captions(
    settings: GatewaySettings, model: LanguageModel | None, kept: KeptCaptions
) -> PictureCaptions | None:
    """`model` and `kept` are closed by their maker."""
    if model is None:
        return None
    at_once, max_pixels = _captions_at_once(settings), settings.max_image_pixels
    return PictureCaptions(model, kept, at_once=at_once, max_pixels=max_pixels)


def _captions_at_once(settings: GatewaySettings) -> int:
    """As many as one key may have under way."""
    return min(settings.llm_concurrency, settings.llm_key_concurrency)


def _options(settings: GatewaySettings) -> ModelOptions:
    return ModelOptions(
        settings.llm_prompt_tokens,
        settings.llm_max_tokens,
        settings.llm_vision,
        settings.max_image_pixels,
    )


def make_text_chat(settings: GatewaySettings) -> TextChat | None:
    """None without an address. Connects to nothing. To be closed."""
    if not settings.chat_model_url:
        return None
    options = ProviderOptions(
        settings.chat_model_url,
        "",
        settings.chat_model,
        "chat",
        settings.llm_timeout_s,
        settings.llm_retries,
    )
    turns = TurnsOfKeys(settings.llm_concurrency, settings.llm_key_concurrency)
    return TextChat(OpenAiProvider(options), turns)


def make_language_model(settings: GatewaySettings, database: Postgres | None) -> LanguageModel | None:
    """None without an address. Connects to nothing. To be closed. Raises PricesError."""
    if not settings.llm_url:
        return None
    options = ProviderOptions(
        settings.llm_url,
        settings.llm_api_key.get_secret_value(),
        settings.llm_model,
        settings.llm_api,
        settings.llm_timeout_s,
        settings.llm_retries,
    )
    caps = SpendingCaps(settings.llm_usd_per_day, settings.llm_key_usd_per_day)
    return LanguageModel(
        OpenAiProvider(options),
        PriceTable.load(settings.llm_prices_file),
        Spending(settings.data_dir / "assistant.db", caps, database),
        CompletionCache(settings.llm_cache),
        TurnsOfKeys(settings.llm_concurrency, settings.llm_key_concurrency),
    )
