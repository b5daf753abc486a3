"""The table of cosines: a line a model, a column a precision that some model has."""

from __future__ import annotations

from benchmarks.encoders.parity import Row, report, tables


def row(model: str, precision: str, image: float, text: float) -> Row:
    weights = "trained" if model == "demo" else "random"
    cosines = {"image_cosine": image, "text_cosine": text}
    return {"model": model, "weights": weights, "pairs": 8, "precision": precision, **cosines}


ROWS = [row("demo", "fp32", 1.0, 1.0), row("demo", "int8", 0.9997, 0.9998), row("vit", "fp32", 0.99, 1.0)]


def test_tables() -> None:
    assert tables(ROWS).splitlines() == [
        "| model (weights, pairs) | fp32 | int8 |",
        "| --- | --- | --- |",
        "| demo (trained, 8) | 1.00000 / 1.00000 | 0.99970 / 0.99980 |",
        "| vit (random, 8) | 0.99000 / 1.00000 |  |",
    ]


def test_the_bars_are_of_fp32() -> None:
    assert [(bar["name"], bar["holds"]) for bar in report(ROWS)["bars"]] == [("demo", True), ("vit", False)]
