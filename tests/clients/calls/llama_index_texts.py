"""llama-index-embeddings-openai, with a model's name that OpenAI doesn't have."""

import asyncio

from llama_index.embeddings.openai import OpenAIEmbedding
from reference import KEY, TEXTS, URL, same

embeddings = OpenAIEmbedding(model_name="demo", api_base=f"{URL}/v1", api_key=KEY, embed_batch_size=256)
same(embeddings.get_text_embedding_batch(TEXTS), TEXTS)
same([embeddings.get_query_embedding("a")], ["a"])
same([asyncio.run(embeddings.aget_text_embedding("a"))], ["a"])
