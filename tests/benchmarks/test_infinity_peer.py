"""The peer of the gateway's benchmark reads texts as open_clip does, and bars without a figure do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gateway.command import BARS
from benchmarks.gateway.infinity import batch_sizes
from benchmarks.gateway.infinity_peer import transformers_names, write_tokenizer
from benchmarks.lib.reports import judge
from scripts.tune.load import at_rate
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, serving


def test_the_peers_tokens_are_open_clips(tmp_path: Path) -> None:
    import open_clip
    from transformers import CLIPTokenizer

    write_tokenizer(tmp_path)
    theirs, ours = CLIPTokenizer.from_pretrained(tmp_path), open_clip.get_tokenizer("ViT-B-32")
    for text in ("a photo of a dog", "two people riding bicycles along a river at sunset"):
        tokens = ours([text])[0]
        assert theirs(text)["input_ids"] == tokens[: int(tokens.argmax()) + 1].tolist()


def test_the_peers_weights_give_open_clips_vectors(checkpoint: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu"}
    vision = small | {"hidden_size": 64, "intermediate_size": 256, "patch_size": 8, "image_size": 32}
    text = small | {"hidden_size": 32, "intermediate_size": 128, "eos_token_id": 49407}
    theirs = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=32)).eval()
    theirs.load_state_dict(transformers_names(load_file(checkpoint / "open_clip_model.safetensors")))
    ours = open_clip.create_model(f"local-dir:{checkpoint}").eval()

    tokens, pictures = open_clip.get_tokenizer("ViT-B-32")(["a dog", "a red car"]), torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        for mine, other in (
            (ours.encode_text(tokens), theirs.text_projection(theirs.text_model(tokens).pooler_output)),
            (ours.encode_image(pictures), theirs.visual_projection(theirs.vision_model(pictures).pooler_output)),
        ):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_the_log_tells_whether_requests_were_batched() -> None:
    log = "DEBUG [🧠] Inference on batch_size=16\nINFO GET /health\nDEBUG [🧠] Inference on batch_size=9\n"
    assert batch_sizes(log) == {"batches": 2, "mean": 12.5, "largest": 16}
    assert batch_sizes("INFO nothing") == {}


def test_what_was_not_measured_does_not_hold() -> None:
    rows = judge({"gateway_cost_p50_ms": 1.0, "soak_errors": 1.0}, BARS)
    assert [row["name"] for row in rows] == list(BARS)
    assert {row["name"] for row in rows if row["holds"]} == {"gateway_cost_p50_ms"}
    assert [row["value"] for row in rows if row["name"] == "images_per_s_over_infinity"] == [None]


@pytest.mark.parametrize(("failure", "good"), [(None, 50), ("queue_full", 0)])
def test_an_open_loop_sends_what_it_was_told(failure: str | None, good: int) -> None:
    fake = FakeTorchServe(FakeIndex(), failure=failure, delay_s=0.3)
    with serving(fake.app()) as url:
        load = at_rate(f"{url}/predictions/clip_text", [{"input": [{"text": "a"}]}], 100, 0.5)
    assert (len(load.latencies), load.errors) == (good, 50 - good)
    assert load.seconds >= 0.5
    assert not failure or fake.busiest > 10
