"""What every answer has in common: envelope, ids, limits, keys, metrics, the page and the pictures."""

from __future__ import annotations

import logging
import re
import socket

import httpx
import pytest

from tests.waiting import until

KEYS = {"api_keys": "first, second"}
SEARCH = {"collection": "demo", "text": "cat"}


def envelope(answer: httpx.Response) -> dict:
    body = answer.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", "/v1/search", None, 405, "method_not_allowed"),
        ("POST", "/healthz", None, 405, "method_not_allowed"),
        ("POST", "/v1/search", b"{", 400, "invalid_json"),
        ("POST", "/v1/search", b"", 400, "invalid_json"),
        ("POST", "/v1/search", b"[]", 400, "invalid_request"),
        ("POST", "/v1/search", b'"\xff"', 400, "invalid_json"),
        ("GET", "/ui/nothing.js", None, 404, "not_found"),
        ("GET", "/v1/collections/a.b", None, 400, "invalid_request"),
    ],
)
def test_errors_have_the_envelope(stack, method, path, content, status, code):
    answer = stack.client.request(method, path, content=content)
    assert answer.status_code == status
    assert envelope(answer)["code"] == code
    assert answer.headers["x-request-id"]
    assert status != 405 or {"GET": "POST", "POST": "GET"}[method] in answer.headers["allow"]


def test_bad_multipart_has_the_envelope(stack):
    headers = {"Content-Type": "multipart/form-data"}
    answer = stack.client.post("/v1/search", content=b"x", headers=headers)
    assert answer.status_code == 400
    envelope(answer)


def test_a_broken_neighbour_is_not_quoted(stack):
    stack.index.collections = None  # the fake fails with a 500 in plain text
    answer = stack.client.get("/v1/collections")
    assert answer.status_code == 503
    assert envelope(answer)["code"] == "index_unavailable"


async def test_bug_in_the_gateway_is_a_500_envelope(caplog):
    from gateway.metrics import GatewayMetrics
    from gateway.middleware.telemetry import TelemetryMiddleware

    async def app(*_: object) -> None:
        raise RuntimeError("a secret detail")

    wrapped = TelemetryMiddleware(app, GatewayMetrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="http://x") as client:
        answer = await client.get("/")
    assert answer.status_code == 500
    assert envelope(answer)["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "a secret detail" in caplog.text


def access(caplog) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "gateway.access"]


def test_client_that_leaves_is_no_failure(stack, caplog):
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with caplog.at_level(logging.INFO):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        until(lambda: 499 in [record.status for record in access(caplog)])
    assert "unforeseen" not in caplog.text


def test_a_body_that_is_too_large(stack_of):
    """Declared, streamed, and as a form."""
    client = stack_of(max_body_bytes=1000).client
    form = b'--B\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    posts = ("/v1/search", "/v1/collections/demo/items", "/v1/classify")
    answers = [client.post(path, content=iter([b"x" * 100] * 20)) for path in posts]
    answers.append(client.put("/v1/collections/demo", content=iter([b"x" * 100] * 20)))
    answers.append(client.post("/v1/search", content=b"x" * 1001))
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answers.append(client.post("/v1/search", content=iter([form, *[b"x" * 500] * 5]), headers=headers))
    for answer in answers:
        assert (answer.status_code, envelope(answer)["code"]) == (413, "request_too_large"), answer.request.url


@pytest.mark.parametrize("given", ["abc-123", "x" * 128])
def test_request_id_is_kept_and_passed_on(stack, given):
    stack.fill("cat")
    answer = stack.post("/v1/search", SEARCH, headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given
    assert stack.torchserve.request_ids[-1] == given
    stack.client.get("/v1/collections", headers={"X-Request-Id": given})
    assert stack.index.request_ids[-1] == given


@pytest.mark.parametrize("given", ["x" * 129, "a b", ""])
def test_bad_request_id_is_replaced(stack, given):
    answer = stack.client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_server_timing_and_log_line(stack, caplog):
    stack.fill("cat")
    with caplog.at_level(logging.INFO, "gateway.access"):
        answer = stack.post("/v1/search", SEARCH, headers={"X-Request-Id": "r1"})
        lines = until(lambda: [each for each in access(caplog) if each.request_id == "r1"])
    assert re.fullmatch(
        r"(admission;dur=[\d.]+, )?queue;dur=[\d.]+, encode;dur=1\.50, search;dur=0\.50, total;dur=[\d.]+",
        answer.headers["server-timing"],
    )
    (line,) = lines
    assert (line.method, line.path, line.status) == ("POST", "/v1/search", 200)
    assert line.ms > 0


def test_metrics(stack_of):
    stack = stack_of()
    stack.post("/v1/search", SEARCH)
    stack.client.get("/v1/collections/x")
    stack.client.get("/whatever/1")
    stack.client.get("/ui/app.js")
    last = 'route="/ui/{path:path}",status="200"} 1.0'  # a request is counted just after its answer has left
    until(lambda: last in stack.client.get("/metrics").text)
    text = stack.client.get("/metrics").text
    for line in (
        'requests_total{method="POST",route="/v1/search",status="404"} 1.0',
        'requests_total{method="GET",route="/v1/collections/{name}",status="404"} 1.0',
        'requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'requests_total{method="GET",route="/ui/{path:path}",status="200"} 1.0',
        'request_seconds_count{route="/v1/search"} 1.0',
    ):
        assert f"clipserve_gateway_{line}" in text


def test_what_a_layer_refuses_is_counted_by_its_route(stack_of):
    stack, key = stack_of(**KEYS), {"X-API-Key": "first"}
    stack.post("/v1/search", SEARCH)
    stack.client.head("/v1/collections/x")
    stack.client.get("/v1/collections/x/items/delete")
    stack.client.get("/whatever/1")
    last = 'route="unmatched",status="401"} 1.0'
    until(lambda: last in stack.client.get("/metrics", headers=key).text)
    text = stack.client.get("/metrics", headers=key).text
    for line in (
        'method="POST",route="/v1/search"',
        'method="HEAD",route="/v1/collections/{name}"',
        'method="GET",route="/v1/collections/{name}/items/{item_id:path}"',
        'method="GET",route="unmatched"',
    ):
        assert f'clipserve_gateway_requests_total{{{line},status="401"}} 1.0' in text
    assert stack.client.get("/v1/stats", headers=key).json()["requests"]["total"] == 3


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no"}, {"X-API-Key": "first, second"}])
def test_without_an_accepted_key(stack_of, headers):
    answer = stack_of(**KEYS).post("/v1/search", SEARCH, headers=headers)
    assert answer.status_code == 401
    assert envelope(answer)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer first"}, {"authorization": "bearer second"}, {"X-API-Key": "first"}]
)
def test_with_a_key(stack_of, headers):
    stack = stack_of(**KEYS)
    assert stack.post("/v1/embeddings", {"input": "a"}, headers=headers).status_code == 200


def test_what_is_open_and_what_is_not(stack_of):
    client = stack_of(**KEYS).client
    for path in ("/", "/healthz", "/readyz", "/dashboard", "/docs", "/openapi.json", "/ui/app.js", "/favicon.ico"):
        assert client.get(path).status_code == 200, path
    for path in ("/metrics", "/v1/models", "/v1/stats", "/v1/collections", "/images/demo/a.png", "/nothing"):
        assert client.get(path).status_code == 401, path
    assert stack_of(**KEYS, metrics_open=True).client.get("/metrics").status_code == 200


def test_models(stack):
    (model,) = stack.client.get("/v1/models").json()["data"]
    assert (model["id"], model["object"], model["dimensions"]) == ("demo", "model", 16)
    assert model["limits"]["max_body_bytes"] == 32 * 1024 * 1024
    assert model["fingerprint"] == "fp-demo"


def test_openapi_says_when_keys_are_needed(stack, stack_of):
    assert "security" not in stack.client.get("/openapi.json").json()
    assert stack_of(**KEYS).client.get("/openapi.json").json()["security"]


def test_page_and_its_assets(stack):
    for path in ("/", "/dashboard", "/docs"):
        answer = stack.client.get(path)
        assert answer.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", answer.text)
        assert not re.search(r"https?://", answer.text)
        for asset in re.findall(r'(?:src|href)="(/ui/[^"]+)"', answer.text):
            assert stack.client.get(asset).status_code == 200, asset


def test_an_asset_that_has_not_changed_is_not_sent_again(stack):
    for path in ("/", "/dashboard", "/docs", "/favicon.ico", "/ui/app.js"):
        first = stack.client.get(path)
        again = stack.client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        for name in ("cache-control", "content-security-policy", "referrer-policy"):
            assert again.headers[name] == first.headers[name]


@pytest.mark.parametrize(
    "path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "a%00b", "", "grid", "x" * 5000]
)
def test_assets_lie_in_their_folder(stack, path):
    answer = stack.client.get(f"/ui/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_pictures(stack_of, pictures):
    client = stack_of(image_roots=f"demo={pictures}").client
    answer = client.get("/images/demo/sub/a%20b.png")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == b"\x89PNG picture"


@pytest.mark.parametrize(
    "path",
    [
        "demo/../secret.png",
        "demo/..%2fsecret.png",
        "demo/%2e%2e/secret.png",
        "demo/sub/..%2f..%2fsecret.png",
        "demo//etc/passwd",
        "demo/%2fetc%2fpasswd",
        "demo/link.png",
        "demo/page.svg",
        "demo/sub",
        "demo/none.png",
        "demo/%00.png",
        "demo/" + "x" * 5000,
        "other/sub/a%20b.png",
    ],
)
def test_no_way_out_of_the_folder(stack_of, pictures, path):
    client = stack_of(image_roots={"demo": pictures}).client
    answer = client.send(
        httpx.Request("GET", httpx.URL(str(client.base_url)).copy_with(raw_path=f"/images/{path}".encode()))
    )
    assert answer.status_code == 404
    envelope(answer)
