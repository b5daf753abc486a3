"""How many tokens a prompt will have, before it is sent: pictures by their rule, text by a ratio that is learned.

Tokenizers differ by model, so the ratio of bytes to tokens starts at 4 and follows what the provider counts.
"""

from __future__ import annotations

from gateway.assistant.provider.image_tokens import ImageRule
from gateway.assistant.provider.prompt import Prompt, TokenUse

_BYTES_A_TOKEN = 4.0
_LEAST, _MOST = 1.0, 8.0
_EACH_MESSAGE = 4  # tokens around a message
_WEIGHT = 0.3  # of the newest call in the ratio


class TokenEstimates:
    """Of one model."""

    def __init__(self, rule: ImageRule) -> None:
        self.rule = rule
        self.bytes_a_token = _BYTES_A_TOKEN

    def of(self, prompt: Prompt) -> TokenUse:
        """The output is taken to be as long as it may be."""
        images = sum(map(self.rule.tokens, prompt.pictures()))
        text = sum(map(self.text, prompt.texts())) + 2 * _EACH_MESSAGE
        return TokenUse(input=text + images, output=prompt.max_tokens, images=images)

    def text(self, text: str) -> int:
        return round(len(text.encode()) / self.bytes_a_token)

    def learn(self, prompt: Prompt, counted: TokenUse) -> None:
        """From what the provider counted, less what its pictures cost by the rule."""
        size = sum(len(text.encode()) for text in prompt.texts())
        images = counted.images or sum(map(self.rule.tokens, prompt.pictures()))
        tokens = counted.input - images - 2 * _EACH_MESSAGE
        if tokens <= 0 or not size:
            return
        seen = min(_MOST, max(_LEAST, size / tokens))
        self.bytes_a_token += _WEIGHT * (seen - self.bytes_a_token)
