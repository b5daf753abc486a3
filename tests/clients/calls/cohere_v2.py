"""cohere.ClientV2: texts below and above the vendor's own limit of 96, pictures, mixtures, formats, errors."""

import asyncio

import cohere
import numpy as np
from reference import KEY, PICTURE, TEXTS, URL, refused, same, vectors

client = cohere.ClientV2(base_url=URL, api_key=KEY)
for texts in (TEXTS[:96], TEXTS):
    answer = client.embed(model="demo", input_type="search_document", texts=texts, embedding_types=["float"])
    same(answer.embeddings.float_, texts)
answer = client.embed(model="demo", input_type="image", images=[PICTURE], embedding_types=["float"])
same(answer.embeddings.float_, [{"image": PICTURE}])
content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
answer = client.embed(
    model="demo", input_type="search_query", inputs=[{"content": content}], embedding_types=["float", "ubinary"]
)
both = vectors(["a", {"image": PICTURE}]).sum(axis=0)
np.testing.assert_allclose(answer.embeddings.float_[0], both / np.linalg.norm(both), atol=1e-6)
assert answer.embeddings.ubinary[0] == np.packbits(both > 0).tolist()
with refused(cohere.NotFoundError, "'embed-v4.0' is not served"):
    client.embed(model="embed-v4.0", input_type="search_query", texts=["a"])


async def asynchronously() -> None:
    client = cohere.AsyncClientV2(base_url=URL, api_key=KEY)
    answer = await client.embed(model="demo", input_type="search_query", texts=["a"], embedding_types=["float"])
    same(answer.embeddings.float_, ["a"])


asyncio.run(asynchronously())
