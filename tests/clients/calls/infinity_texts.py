"""infinity_client, with and without the prefix /v1: texts, pictures by modality, health."""

import asyncio

from infinity_client import AuthenticatedClient, Client
from infinity_client.api.default import embeddings, health
from infinity_client.models import OpenAIEmbeddingInputImage, OpenAIEmbeddingInputText
from infinity_client.models.open_ai_embedding_input_image_modality import OpenAIEmbeddingInputImageModality
from reference import KEY, PICTURE, TEXTS, URL, same

for prefix in ("", "/v1"):
    with AuthenticatedClient(base_url=URL + prefix, token=KEY) as client:
        answer = embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=TEXTS))
        same([entry.embedding for entry in answer.data], TEXTS)
        body = OpenAIEmbeddingInputImage(
            input_=[PICTURE], model="demo", modality=OpenAIEmbeddingInputImageModality.IMAGE
        )
        answer = embeddings.sync(client=client, body=body)
        same([entry.embedding for entry in answer.data], [{"image": PICTURE}])
    assert health.sync(client=Client(base_url=URL + prefix))["unix"] > 0


async def asynchronously() -> None:
    async with AuthenticatedClient(base_url=URL, token=KEY) as client:
        answer = await embeddings.asyncio(client=client, body=OpenAIEmbeddingInputText(input_="a", model="demo"))
        same([entry.embedding for entry in answer.data], ["a"])


asyncio.run(asynchronously())
