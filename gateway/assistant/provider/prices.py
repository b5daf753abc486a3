"""What tokens cost: a dated table (`prices.json`), and a file of the same form whose models win."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.assistant.provider.image_tokens import ImageRule
from gateway.assistant.provider.prompt import TokenUse

_TABLE = Path(__file__).with_name("prices.json")
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")  # gpt-4o-mini-2024-07-18 costs what gpt-4o-mini does


class PricesError(ValueError):
    """A file of prices that is none."""


@dataclass(frozen=True)
class Price:
    """USD for a million tokens of input, of input that the provider's cache knew, and of output."""

    input: float
    cached: float
    output: float

    def cost(self, use: TokenUse) -> float:
        """In USD."""
        fresh = max(0, use.input - use.cached)
        return (fresh * self.input + use.cached * self.cached + use.output * self.output) / 1e6


@dataclass(frozen=True)
class PriceTable:
    """`as_of` is a date: prices change."""

    as_of: str
    prices: dict[str, Price]
    images: dict[str, ImageRule]
    dates: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path | None = None) -> PriceTable:
        """Raises PricesError that says what is wrong with the file."""
        table = _read(_TABLE)
        return table if file is None else table.under(_read(file))

    def under(self, other: PriceTable) -> PriceTable:
        """With the other's models, where both have one."""
        prices, images = {**self.prices, **other.prices}, {**self.images, **other.images}
        return PriceTable(other.as_of, prices, images, {**self.dates, **other.dates})

    def date_of(self, model: str) -> str | None:
        """When its price was noted; None without one."""
        return self.dates.get(model) or self.dates.get(_DATE.sub("", model))

    def price(self, model: str) -> Price | None:
        """None for a model that is not in the table."""
        return self.prices.get(model) or self.prices.get(_DATE.sub("", model))

    def rule(self, model: str) -> ImageRule:
        """How the model's pictures are counted; as tiles where it is not known."""
        return self.images.get(model) or self.images.get(_DATE.sub("", model)) or ImageRule()


def _read(file: Path) -> PriceTable:
    try:
        given: Any = orjson.loads(file.read_bytes())
        models = {str(name): dict(row) for name, row in given["models"].items()}
        images = {name: ImageRule(**row.pop("images", {})) for name, row in models.items()}
        prices = {name: Price(**{key: _usd(value) for key, value in row.items()}) for name, row in models.items()}
        as_of = str(given["as_of"])
        return PriceTable(as_of, prices, images, dict.fromkeys(prices, as_of))
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise PricesError(
            f"{file} is no table of prices such as gateway/assistant/provider/prices.json: {error}"
        ) from error


def _usd(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError(f"{value!r} is no price in USD")
    return float(value)
