"""The Open Inference Protocol over gRPC: the same calls as /v2, with keys, deadlines and limits; and how it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest

from clip_core.tracing.trace_context import read_traceparent
from clip_core.wire import unit
from gateway.kserve.rpc.messages import message, read_message
from gateway.kserve.rpc.service import client_of
from gateway.kserve.tensors import packed
from scripts.stack.live_stack import free_ports
from tests.clip_core.test_tracing import PARENT
from tests.gateway.fakes import DIM, embed, picture
from tests.gateway.test_start import wait_for
from tests.gateway.test_tls import CERTIFICATE
from tests.gateway.test_tls import KEY as TLS_KEY
from tests.tracing import kept_spans
from tests.waiting import until

RAW_TEXT = {"name": "TEXT", "datatype": "BYTES", "shape": [2]}
KEY = (("authorization", "Bearer secret"),)


@dataclass
class Rpc:
    """A client of our own messages; tests/clients/ has the official ones."""

    channel: grpc.Channel
    address: str

    def __call__(self, method: str, metadata: Any = (), timeout: float = 30, **fields: Any) -> Any:
        return self.start(method, metadata, timeout, **fields).result()

    def start(self, method: str, metadata: Any = (), timeout: float | None = 30, **fields: Any) -> Any:
        call = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=lambda content: read_message(f"{method}Response", content),
        )
        return call.future(message(f"{method}Request", **fields), timeout=timeout, metadata=metadata)

    def infer(self, *words: str, **options: Any) -> Any:
        tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [len(words)]}
        raw = [packed(word.encode() for word in words)]
        return self("ModelInfer", model_name="demo", inputs=[tensor], raw_input_contents=raw, **options)


@contextlib.contextmanager
def connected(port: int) -> Iterator[Rpc]:
    address = f"127.0.0.1:{port}"
    with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        yield Rpc(channel, address)


@pytest.fixture
def rpc_of(stack_of):
    """`rpc_of(api_keys="k", …)` starts a gateway with these settings; gives it and a client of its gRPC port."""
    with contextlib.ExitStack() as entered:

        def start(**settings: Any) -> tuple[Any, Rpc]:
            (port,) = free_ports(1)
            stack = stack_of(grpc_port=port, **settings)
            return stack, entered.enter_context(connected(port))

        yield start


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), refused.value.details()


def test_raw_bytes_in_and_out(rpc_of):
    _, rpc = rpc_of()
    answer = rpc.infer("a", "ä")
    assert (answer.model_name, answer.model_version) == ("demo", "1")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("EMBEDDING", "FP32", [2, DIM])
    vectors = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(2, DIM)
    np.testing.assert_array_equal(vectors, [embed("a"), embed("ä")])


def test_typed_contents_in_and_out(rpc_of):
    _, rpc = rpc_of()
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
    answer = rpc("ModelInfer", model_name="demo", model_version="1", id="7", inputs=[tensor])
    assert answer.id == "7"
    assert not answer.raw_output_contents
    np.testing.assert_array_equal(np.float32(answer.outputs[0].contents.fp32_contents), embed("a"))


def test_pictures_and_pairs(rpc_of):
    _, rpc = rpc_of()
    file = picture("cat")
    image = {"name": "IMAGE", "datatype": "UINT8", "shape": [len(file)], "contents": {"uint_contents": file}}
    np.testing.assert_array_equal(vector(rpc("ModelInfer", model_name="demo", inputs=[image])), embed("cat"))
    tensors = [{"name": name, "datatype": "BYTES", "shape": [1]} for name in ("TEXT", "IMAGE")]
    raw = [packed([b"dog"]), packed([file])]
    answer = rpc("ModelInfer", model_name="demo", inputs=tensors, raw_input_contents=raw)
    both = np.frombuffer(answer.raw_output_contents[0], "<f4")
    np.testing.assert_allclose(both, unit(embed("dog") + embed("cat")), atol=1e-6)


def vector(answer: Any) -> np.ndarray:
    return np.float32(answer.outputs[0].contents.fp32_contents)


def test_health_and_metadata(rpc_of):
    stack, rpc = rpc_of()
    assert rpc("ServerLive").live
    assert rpc("ServerReady").ready
    assert rpc("ModelReady", name="demo").ready
    said = rpc("ServerMetadata")
    assert (said.name, list(said.extensions)) == ("clipserve", ["binary_tensor_data"])
    said = rpc("ModelMetadata", name="demo", version="1")
    assert [tensor.name for tensor in said.inputs] == ["TEXT", "IMAGE"]
    assert [list(tensor.shape) for tensor in said.outputs] == [[-1, DIM]]
    stack.index.down = True
    assert not rpc("ServerReady").ready
    assert not rpc("ModelReady", name="demo").ready


def test_a_call_goes_on_with_its_callers_trace(rpc_of):
    """Of several, gRPC itself gives the last alone."""
    _, rpc = rpc_of()
    with kept_spans() as kept:
        rpc.infer("a", metadata=(("traceparent", PARENT),))
        until(lambda: kept.named("POST /v2/models/{model}/infer"))
        parent = kept.one("POST /v2/models/{model}/infer").parent
    assert parent == read_traceparent(PARENT)


def test_errors_have_grpcs_codes(rpc_of):
    _, rpc = rpc_of(max_embedding_inputs=4, max_body_bytes=100_000)
    code = grpc.StatusCode
    assert refusal(lambda: rpc("ModelMetadata", name="other"))[0] is code.NOT_FOUND
    assert refusal(lambda: rpc("ModelMetadata", name="demo", version="2"))[0] is code.NOT_FOUND
    assert refusal(lambda: rpc("ModelReady")) == (code.INVALID_ARGUMENT, "name a model")
    assert refusal(lambda: rpc.infer("a", " ")) == (code.INVALID_ARGUMENT, "TEXT[1]: the text is empty")
    assert refusal(lambda: rpc.infer(*"abcde"))[0] is code.INVALID_ARGUMENT
    assert refusal(lambda: rpc.infer("a" * 200_000))[0] is code.RESOURCE_EXHAUSTED
    twice = {"inputs": [RAW_TEXT], "raw_input_contents": [b"", b""]}
    assert refusal(lambda: rpc("ModelInfer", model_name="demo", **twice))[0] is code.INVALID_ARGUMENT
    large = {**RAW_TEXT, "datatype": "UINT8", "contents": {"uint_contents": [256]}}
    assert refusal(lambda: rpc("ModelInfer", model_name="demo", inputs=[large]))[0] is code.INVALID_ARGUMENT
    number = {"name": "TEXT", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [0.5]}}
    assert "not 'FP32'" in refusal(lambda: rpc("ModelInfer", model_name="demo", inputs=[number]))[1]
    nonsense = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refusal(lambda: nonsense(b"\xff\xff", timeout=30))[0] is code.INVALID_ARGUMENT
    unknown = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelConfig")
    assert refusal(lambda: unknown(b"", timeout=30))[0] is code.UNIMPLEMENTED


def test_keys_by_metadata(rpc_of):
    _, rpc = rpc_of(api_keys="secret", items_per_minute=3)
    assert rpc("ServerLive").live
    assert rpc("ServerReady").ready
    for call in (rpc.infer, lambda *_: rpc("ServerMetadata"), lambda *_: rpc("ModelReady", name="demo")):
        assert refusal(lambda call=call: call("a"))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert refusal(lambda: rpc.infer("a", metadata=[("x-api-key", "wrong")]))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert rpc.infer("a", "b", "c", metadata=KEY).outputs
    assert refusal(lambda: rpc.infer("a", metadata=KEY))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_of_the_answer(rpc_of):
    _, rpc = rpc_of()
    call = rpc.start("ServerMetadata", metadata=[("x-request-id", "r7")])
    call.result()
    assert ("x-request-id", "r7") in [(name, value) for name, value in call.trailing_metadata()]


def test_a_deadline_ends_the_work(rpc_of):
    stack, rpc = rpc_of(fan_out_texts=1, fan_out_concurrency=1)
    stack.torchserve.lets_pass = 0
    assert refusal(lambda: rpc.infer("a", "b", timeout=0.5))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    gone(stack)
    assert len(stack.torchserve.calls) == 1


def test_a_caller_that_leaves_ends_the_work(rpc_of):
    stack, rpc = rpc_of(fan_out_texts=1, fan_out_concurrency=1)
    stack.torchserve.lets_pass = 0
    tensor = {**RAW_TEXT, "contents": {"bytes_contents": [b"a", b"b"]}}
    call = rpc.start("ModelInfer", model_name="demo", inputs=[tensor], timeout=None)
    until(lambda: stack.torchserve.calls)
    call.cancel()
    gone(stack)
    assert len(stack.torchserve.calls) == 1


def gone(stack: Any) -> None:
    """The gateway has no request under way but the one that asks for that; then TorchServe answers again."""
    until(lambda: "clipserve_gateway_requests_in_flight 1.0" in stack.client.get("/metrics").text)
    stack.torchserve.lets_pass = None


def test_what_strangers_send_is_not_read(rpc_of):
    """The first message of a caller without a key is longer than its window, and never arrives as a whole."""
    _, rpc = rpc_of(api_keys="secret")
    raw = [packed([b"x" * 20_000_000])]
    fields = {"model_name": "demo", "inputs": [{**RAW_TEXT, "shape": [1]}], "raw_input_contents": raw}
    assert refusal(lambda: rpc("ModelInfer", **fields))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert rpc("ModelInfer", metadata=KEY, **fields).outputs


def test_many_callers_at_once(rpc_of):
    _, rpc = rpc_of()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: rpc.infer(f"text {n}"), range(64)))
    vectors = [np.frombuffer(answer.raw_output_contents[0], "<f4") for answer in answers]
    np.testing.assert_array_equal(vectors, [embed(f"text {n}") for n in range(64)])


def test_tls(rpc_of):
    _, plain = rpc_of(tls_certificate=CERTIFICATE, tls_key=TLS_KEY, max_client_connections=8)
    trusting = grpc.ssl_channel_credentials(CERTIFICATE.read_bytes())
    with grpc.secure_channel(plain.address, trusting) as channel:
        assert Rpc(channel, plain.address)("ServerLive").live
    assert refusal(lambda: plain("ServerLive"))[0] is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("ipv6:%5B::1%5D:5000", ("::1", 5000)),
        ("ipv6:[::1]:5000", ("::1", 5000)),
        ("unix:/run/socket", None),
        ("", None),
    ],
)
def test_peers_as_addresses(peer, client):
    assert client_of(peer) == client


@pytest.fixture
def process(upstreams, tmp_path):
    """A gateway of its own, in front of the fakes: (process, HTTP port, gRPC port)."""
    fakes, urls = upstreams
    fakes.reset()
    http, port = free_ports(2)
    settings = {**urls, "port": http, "grpc_port": port, "data_dir": tmp_path / "gateway", "stop_timeout_s": 20}
    named = {f"CLIPSERVE_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    running = subprocess.Popen([sys.executable, "-m", "gateway"], env={**os.environ, **named})
    try:
        wait_for(f"http://127.0.0.1:{http}/healthz")
        yield running, fakes, port
    finally:
        running.kill()
        running.wait()


def test_a_stop_answers_what_is_under_way(process):
    running, fakes, port = process
    with connected(port) as rpc:
        assert rpc.infer("which model is served is known now").outputs
        fakes.torchserve.calls.clear()
        fakes.torchserve.lets_pass = 0
        tensor = {**RAW_TEXT, "contents": {"bytes_contents": [b"a", b"b"]}}
        call = rpc.start("ModelInfer", model_name="demo", inputs=[tensor])
        until(lambda: any(body["input"][0] == {"text": "a"} for _, body in fakes.torchserve.calls))
        running.send_signal(signal.SIGTERM)
        with connected(port) as late:
            until(lambda: is_unavailable(late))
        fakes.torchserve.lets_pass = None
        np.testing.assert_array_equal(vector(call.result()).reshape(2, DIM), [embed("a"), embed("b")])
    assert running.wait(30) == 0


def is_unavailable(rpc: Rpc) -> bool:
    try:
        rpc("ServerLive", timeout=5)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_port_that_is_taken_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        names = {"PORT": "0", "GRPC_PORT": str(port), "DATA_DIR": str(tmp_path)}
        env = {**os.environ, **{f"CLIPSERVE_GATEWAY_{name}": value for name, value in names.items()}}
        ended = subprocess.run([sys.executable, "-m", "gateway"], env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"gateway: cannot listen on 127.0.0.1:{port} (")
    assert ended.stderr.rstrip().endswith("CLIPSERVE_GATEWAY_GRPC_PORT")
    assert ended.stderr.count("\n") == 1
