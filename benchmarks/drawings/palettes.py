"""Colour values that people take for a colour's name: published palettes, as their own pages give them."""

from __future__ import annotations

from benchmarks.drawings.drawing import Rgb

_HEX = {
    "css": "red ff0000 blue 0000ff green 008000 yellow ffff00 orange ffa500 purple 800080 pink ffc0cb brown a52a2a "
    "cyan 00ffff lime 00ff00",
    "matplotlib": "red d62728 blue 1f77b4 green 2ca02c orange ff7f0e purple 9467bd pink e377c2 brown 8c564b "
    "cyan 17becf",
    "material": "red f44336 pink e91e63 purple 9c27b0 blue 2196f3 cyan 00bcd4 green 4caf50 yellow ffeb3b orange ff9800 "
    "brown 795548",
    "office": "red ff0000 orange ffc000 yellow ffff00 green 00b050 blue 0070c0 purple 7030a0",
    "tailwind": "red ef4444 orange f97316 yellow eab308 lime 84cc16 green 22c55e cyan 06b6d4 blue 3b82f6 purple a855f7 "
    "pink ec4899",
    "xkcd": "red e50000 blue 0343df green 15b01a yellow ffff14 orange f97306 purple 7e1e9c pink ff81c0 brown 653700 "
    "cyan 00ffff lime aaff32",
}
_GROUNDS = (
    "ffffff ffffff ffffff ffffff fafafa f5f5dc eeeeee d9d9d9 808080 333333 000000 fff8e1 e3f2fd e8f5e9 fce4ec 0d1b2a"
)


def _rgb(text: str) -> Rgb:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _read(text: str) -> dict[str, Rgb]:
    words = text.split()
    return {name: _rgb(value) for name, value in zip(words[::2], words[1::2], strict=True)}


PALETTES = {name: _read(text) for name, text in _HEX.items()}
GROUNDS = tuple(_rgb(text) for text in _GROUNDS.split())
LINES: tuple[Rgb, ...] = ((0, 0, 0), (255, 255, 255), (64, 64, 64), (120, 120, 120))
