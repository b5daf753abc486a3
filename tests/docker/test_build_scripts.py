"""The programs of docker/ that need no engine: the health check, the bill of materials, what is left out."""

from __future__ import annotations

import importlib.util
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
TLS = DOCKER.parent / "tests" / "gateway" / "tls"


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, DOCKER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)  # dataclasses look themselves up
        spec.loader.exec_module(module)
    return module


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(b"not ready: index")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_health_check(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = program("health_check.py").main
    assert check(f"{address}/healthz") == 0
    assert check(f"{address}/readyz") == 1
    assert "answered 503: not ready: index" in capsys.readouterr().out


def test_health_check_of_a_port_that_speaks_tls(capsys: pytest.CaptureFixture[str]) -> None:
    """As the gateway does with a certificate; the image asks by http://."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    check = program("health_check.py").main
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            asked = f"http://127.0.0.1:{server.server_port}"
            assert [check(f"{asked}/healthz"), check(f"{asked}/readyz")] == [0, 1]
        finally:
            server.shutdown()
            thread.join()
    assert "does not answer" in capsys.readouterr().out


def test_health_check_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert program("health_check.py").main("http://127.0.0.1:1/healthz") == 1
    assert "does not answer" in capsys.readouterr().out


METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\n{licence}\n\nLicense: of the text, which is none\n"


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: a long text\nClassifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("License: Apache 2.0", "Apache 2.0"),
        ("Summary: says nothing", "unknown: see its METADATA"),
    ],
)
def test_licences_of_python_packages(tmp_path: Path, licence: str, told: str) -> None:
    folder = tmp_path / "a_b-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA.format(name="A_b", licence=licence))
    (found,) = program("build/finish.py").python_packages(tmp_path)
    assert (found.name, found.version, found.licence) == ("a-b", "1.2", told)
    assert found.to_dict()["purl"] == "pkg:pypi/a-b@1.2"


def test_debian_packages_that_are_installed(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: tini\nStatus: install ok installed\nVersion: 0.19.0-1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    )
    finish = program("build/finish.py")
    found = list(finish.debian_packages(status))
    assert [(each.name, each.version) for each in found] == [("tini", "0.19.0-1")]
    assert finish.sbom(found)["components"][0]["purl"] == "pkg:deb/debian/tini@0.19.0-1"


def test_what_is_left_out_is_no_module_that_is_used() -> None:
    """`pyarrow.lib` is linked to substrait's library; flight and S3 have libraries of their own."""
    assert not [pattern for pattern in program("build/install.py")._UNUSED if "substrait" in pattern]


def test_symbols_are_stripped_of_what_still_loads_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, stripped = program("build/install.py"), list[str]()
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    stripped_ones = ("uvloop/loop.cpython-311-x86_64-linux-gnu.so", "pyarrow/libarrow.so.2600")
    for name in (*stripped_ones, "uvloop.libs/libuv.so", "numpy/core.cpython-311.so", "numpy.libs/libopenblas.so.0"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: stripped.extend(command[2:]))
    install.strip_symbols()
    assert stripped == [str(packages / name) for name in stripped_ones]


def test_of_aws_the_store_and_what_gives_it_credentials_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, data = program("build/install.py"), "lib/python3.11/site-packages/botocore/data"
    for name in ("s3/2006-03-01/service-2.json.gz", "sts/2011-06-15/service-2.json.gz", "ec2/2016/service-2.json.gz"):
        (tmp_path / data / name).parent.mkdir(parents=True)
        (tmp_path / data / name).touch()
    (tmp_path / data / "endpoints.json").touch()
    monkeypatch.setattr(install, "VENV", tmp_path)
    install.remove_unused()
    assert {path.name for path in (tmp_path / data).iterdir()} == {"s3", "sts", "endpoints.json"}
