"""voyageai: pairs of text and picture, dictionaries, plain texts, more than 256 of them, errors."""

import asyncio

import numpy as np
import voyageai
from PIL import Image
from reference import KEY, PICTURE, TEXTS, URL, refused, same, vectors

client = voyageai.Client(api_key=KEY, base_url=f"{URL}/v1")
answer = client.multimodal_embed([["a", Image.new("RGB", (8, 8), "red")], ["b"]], model="demo", input_type="query")
assert len(answer.embeddings) == 2
same(answer.embeddings[1:], ["b"])
content = [{"type": "text", "text": "a"}, {"type": "image_base64", "image_base64": PICTURE}]
answer = client.multimodal_embed([{"content": content}], model="demo")
both = vectors(["a", {"image": PICTURE}]).sum(axis=0)
np.testing.assert_allclose(answer.embeddings[0], both / np.linalg.norm(both), atol=1e-6)
answer = client.multimodal_embed([[text] for text in TEXTS], model="demo")
same(answer.embeddings, TEXTS)
same(client.embed(TEXTS, model="demo", input_type="document").embeddings, TEXTS)
with refused(voyageai.error.APIError, "output_dtype"):
    client.multimodal_embed([["a"]], model="demo", output_dtype="int8")


async def asynchronously() -> None:
    client = voyageai.AsyncClient(api_key=KEY, base_url=f"{URL}/v1")
    same((await client.multimodal_embed([["a"]], model="demo")).embeddings, ["a"])


asyncio.run(asynchronously())
