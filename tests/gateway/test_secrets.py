"""Nothing that is secret gets into a log line or an answer, whatever is done with it."""

from __future__ import annotations

import logging

from clip_core.logs import JsonFormatter, TextFormatter
from gateway.keys.key_store import KeyStore, digest
from tests.waiting import until

TOKEN = "signature-of-an-image-url"


def ours_of(caplog) -> list[logging.LogRecord]:
    """A request is logged just after its answer has left."""
    return [record for record in caplog.records if record.name.startswith("gateway")]


def test_no_secret_in_any_log_or_answer(stack_of, tmp_path, caplog):
    store = KeyStore(tmp_path / "keys.db")
    narrow, _ = store.create("narrow", ("search",))
    revoked, key = store.create("revoked", ("embed",))
    store.revoke(key.id)
    stack = stack_of(keys_file=store.path, api_keys="environment-key", fetch_urls=True, requests_per_minute=30)
    secrets = [
        narrow[12:],
        narrow[12:].replace("_", "%5F"),
        revoked[12:],
        "environment-key",
        "guessed-key",
        TOKEN,
        digest(narrow).hex(),
    ]
    answers = []
    with caplog.at_level(logging.DEBUG):
        for given in (narrow, revoked, "environment-key", "guessed-key"):
            for headers in ({"Authorization": f"Bearer {given}"}, {"X-API-Key": given}):
                body = {"input": [{"image": f"http://127.0.0.1/a.png?sig={TOKEN}"}]}
                answers.append(stack.post(f"/v1/embeddings?key={given}", body, headers=headers))
                answers.append(stack.client.get(f"/v1/collections/none?token={given}", headers=headers))
                misplaced = {**headers, "X-Request-Id": f"mine-{given}"} if given in (narrow, revoked) else headers
                answers.append(stack.client.get("/v1/collections/none", headers=misplaced))
                for path in (f"items/{given}", f"items/{given.replace('_', '%5F')}", given) if given == narrow else ():
                    answers.append(stack.client.get(f"/v1/collections/none/{path}", headers=headers))
                    answers.append(stack.client.get(f"/{path}?{given}", headers=headers))
                    answers.append(stack.client.get(f"/v1/jobs?{given}", headers={"X-API-Key": "environment-key"}))
        ours = until(lambda: ours_of(caplog) if len(ours_of(caplog)) >= len(answers) else [])
    assert {answer.status_code for answer in answers} == {400, 401, 403, 404}
    lines = [form.format(record) for record in ours for form in (TextFormatter("gateway"), JsonFormatter("gateway"))]
    said = "\n".join([*lines, *(answer.text + str(answer.headers) for answer in answers)])
    assert [secret for secret in secrets if secret in said] == []
