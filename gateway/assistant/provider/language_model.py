"""A provider with everything around it: the cache, turns, caps, and what it cost."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from clip_core.errors import (
    AssistantFailed,
    AssistantUnauthorized,
    AssistantUnavailable,
    ClipServeError,
    Overloaded,
    UnknownPrice,
)
from gateway.assistant.provider.completion_cache import CompletionCache, prompt_digest
from gateway.assistant.provider.openai_provider import OpenAiProvider
from gateway.assistant.provider.prices import Price, PriceTable
from gateway.assistant.provider.prompt import Completion, Prompt, TokenUse
from gateway.assistant.provider.spending import Reservation, Spending
from gateway.assistant.provider.token_estimates import TokenEstimates
from gateway.assistant.provider.turns_of_keys import TurnsOfKeys
from gateway.database.record import FAULTS
from gateway.keys.api_key import current_key
from gateway.trace import current_trace

_FREE = (AssistantUnauthorized, AssistantUnavailable, Overloaded)  # the provider did no work that it would bill
_log = logging.getLogger("gateway.assistant")


class LanguageModel:
    """Answers prompts for the key of the request at hand. To be closed."""

    def __init__(
        self,
        provider: OpenAiProvider,
        prices: PriceTable,
        spending: Spending,
        cache: CompletionCache,
        turns: TurnsOfKeys,
    ) -> None:
        self.name = provider.options.model
        self.estimates = TokenEstimates(prices.rule(self.name))
        self.spending = spending
        self._provider, self._prices, self._cache, self._turns = provider, prices, cache, turns
        self.prices_as_of = prices.date_of(self.name)
        if spending.caps.set():
            known = f"are of {self.prices_as_of}" if self.prices_as_of else "are not known, so nothing is asked"
            _log.warning("the cap on answers is kept by prices of %s, which %s", self.name, known)

    async def close(self) -> None:
        await self._provider.close()
        self.spending.close()

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises as `stream` does."""
        async with aclosing(self.stream(prompt, streamed=False)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
        raise AssistantFailed("the language model gave no answer")

    async def stream(self, prompt: Prompt, *, streamed: bool = True) -> AsyncGenerator[str | Completion, None]:
        """Pieces of text, last the whole.

        Raises BudgetSpent, UnknownPrice or Overloaded before anything is sent, and what OpenAiProvider raises.
        """
        digest = prompt_digest(self.name, prompt)
        kept = self._cache.get(digest)
        if kept is not None:
            yield kept.text
            yield kept
            return
        price = self._price()
        async with (
            self._turns.turn(current_key().id, self._provider.options.timeout_s),
            aclosing(self._billed(prompt, price, streamed)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, Completion):
                    self._cache.put(digest, piece)
                yield piece

    def expected_usd(self, prompt: Prompt) -> float | None:
        """What an answer costs at most, by the estimate; None without a price."""
        price = self._prices.price(self.name)
        return None if price is None else price.cost(self.estimates.of(prompt))

    def _price(self) -> Price | None:
        price = self._prices.price(self.name)
        if price is None and self.spending.caps.set():
            raise UnknownPrice(
                f"there is no price of {self.name!r}, so no cap on spending can be kept: give it a row in the file of "
                "CLIPSERVE_GATEWAY_LLM_PRICES_FILE"
            )
        return price

    async def _billed(
        self, prompt: Prompt, price: Price | None, streamed: bool
    ) -> AsyncGenerator[str | Completion, None]:
        key, estimated = current_key().id, self.estimates.of(prompt)
        reserved = await self._reserve(key, price.cost(estimated) if price else 0.0)
        use = estimated  # where the provider's count never comes
        try:
            async with aclosing(self._provider.stream(prompt, streamed=streamed)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        use = self._counted(prompt, piece, estimated)
                        cost = price.cost(use) if price else None
                        piece = replace(piece, use=use, cost_usd=cost, estimated=estimated)
                    yield piece
        except ClipServeError as error:
            use = _billed_of(error, estimated)
            if isinstance(error, AssistantFailed):
                error.cost_usd = price.cost(use) if price else 0.0
            raise
        finally:
            await self._settle(reserved, price.cost(use) if price else 0.0, use)
            current_trace().progress()

    async def _reserve(self, key: str, usd: float) -> Reservation:
        """Nothing is asked that can't be counted where there is a cap."""
        try:
            return await self.spending.reserve(key, usd)
        except FAULTS as error:
            _log.warning("what was spent on answers can't be read: %s", error)
            message = (
                "what was spent on answers can't be read, so no cap on spending can be kept: see the gateway's log"
            )
            raise AssistantUnavailable(message) from error

    def _counted(self, prompt: Prompt, completion: Completion, estimated: TokenUse) -> TokenUse:
        if not completion.use.input:  # this provider counts nothing
            return TokenUse(estimated.input, self.estimates.text(completion.text), images=estimated.images)
        self.estimates.learn(prompt, completion.use)
        return completion.use

    async def _settle(self, reserved: Reservation, usd: float, use: TokenUse) -> None:
        """Counting never spoils an answer."""
        try:
            await self.spending.settle(reserved, usd, use.input + use.output)
        except FAULTS as error:
            _log.warning("what an answer cost could not be written down: %s", error)


def _billed_of(error: ClipServeError, estimated: TokenUse) -> TokenUse:
    """Of an answer that failed: what the provider counted, nothing where it did no work, else what was expected."""
    if isinstance(error, _FREE):
        return TokenUse()
    if isinstance(error, AssistantFailed) and isinstance(error.use, TokenUse):
        return error.use
    return estimated
