"""langchain-openai, without its tokenizer, which it would download."""

import asyncio

from langchain_openai import OpenAIEmbeddings
from reference import KEY, TEXTS, URL, same

embeddings = OpenAIEmbeddings(model="demo", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False)
same(embeddings.embed_documents(TEXTS), TEXTS)
same([embeddings.embed_query("a")], ["a"])
same(asyncio.run(embeddings.aembed_documents(["a", "b"])), ["a", "b"])
