"""As much of a Kubernetes API server as helm and kubectl ask for: discovery, objects, and what may not change.

No controller runs: a Deployment makes no pods. Objects are kept as they were sent.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.charts.protobuf_secrets import secret

Object = dict[str, Any]
Key = tuple[str, str, str, str]  # group and version, namespace, plural, name
KINDS = {
    "v1": {
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "services": "Service",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
        "namespaces": "Namespace",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "batch/v1": {"cronjobs": "CronJob"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
}
_MAY_CHANGE = {  # of a StatefulSet's spec
    "replicas",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
}
_PATH = re.compile(r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?")


class ApiError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class ApiServer(ThreadingHTTPServer):
    """On loopback. `objects` is what was stored; `refused` are paths that answer 500."""

    daemon_threads = True

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.refused: set[str] = set()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def add(self, group: str, plural: str, namespace: str, name: str, **content: Any) -> None:
        self._store((group, namespace, plural, name), {"metadata": {"name": name}, **content})

    def names(self, plural: str) -> list[str]:
        return sorted(name for _, _, found, name in self.objects if found == plural)

    def get(self, plural: str, name: str) -> Object:
        (found,) = [each for key, each in self.objects.items() if key[2:] == (plural, name)]
        return found

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes, kind: str) -> tuple[int, Object]:
        """Raises ApiError."""
        if path in self.refused:
            raise ApiError(500, "InternalError", f"{path} is refused")
        if (found := _discovery(path)) is not None:
            return 200, found
        for group in KINDS:
            match = _PATH.fullmatch(path.removeprefix(_prefix(group))) if path.startswith(_prefix(group)) else None
            if match and match["plural"] in KINDS[group]:
                namespace, name = match["namespace"] or "", match["name"] or ""
                key = group, namespace, match["plural"], name
                with self.lock:
                    return self._objects(method, key, query, body, kind)
        raise ApiError(404, "NotFound", f"there is no {path}")

    def _objects(
        self, method: str, key: Key, query: dict[str, list[str]], body: bytes, kind: str
    ) -> tuple[int, Object]:
        group, namespace, plural, name = key
        if method == "POST":
            made = _sent(body)
            key = group, namespace, plural, made["metadata"]["name"]
            if key in self.objects:
                raise ApiError(409, "AlreadyExists", f"{plural} {key[3]!r} already exists")
            return 201, self._store(key, made)
        if not name:
            return 200, self._list(key, query)
        if method == "PATCH" and kind.startswith("application/apply-patch"):
            return 200, self._store(key, _sent(body))
        if key not in self.objects:
            raise ApiError(404, "NotFound", f"{plural} {name!r} not found")
        if method == "PUT":
            return 200, self._store(key, _sent(body))
        if method == "PATCH":
            return 200, self._store(key, _merged(self.objects[key], _sent(body)))
        return 200, self.objects.pop(key) if method == "DELETE" else self.objects[key]

    def _list(self, key: Key, query: dict[str, list[str]]) -> Object:
        group, namespace, plural, _ = key
        pairs = [pair.split("=", 1) for pair in query.get("labelSelector", [""])[0].split(",") if "=" in pair]
        items = [
            each
            for (of, where, kind, _), each in self.objects.items()
            if (of, kind) == (group, plural)
            and namespace in ("", where)
            and all(each["metadata"].get("labels", {}).get(name) == value for name, value in pairs)
        ]
        return {"kind": f"{KINDS[group][plural]}List", "apiVersion": group, "metadata": {}, "items": items}

    def _store(self, key: Key, sent: Object) -> Object:
        group, namespace, plural, name = key
        before = self.objects.get(key)
        if before is not None:
            _check_unchanged(plural, before, sent)
        own = {"name": name, "uid": str(uuid.uuid4()), "resourceVersion": str(len(self.objects) + 1)}
        place = {"namespace": namespace} if namespace else {}
        sent = {"apiVersion": group, "kind": KINDS[group][plural], **sent}
        sent["metadata"] = {**own, **place, **sent["metadata"]}
        self.objects[key] = sent
        return sent


def _check_unchanged(plural: str, before: Object, sent: Object) -> None:
    """What a real server refuses: a new selector, and most of a StatefulSet's spec."""
    old, new = before.get("spec", {}), sent.get("spec", {})
    fixed = {"selector"} if plural == "deployments" else set()
    if plural == "statefulsets":
        fixed = (set(old) | set(new)) - _MAY_CHANGE
    if plural == "persistentvolumeclaims":
        fixed = {"accessModes", "storageClassName"}
    changed = sorted(name for name in fixed if old.get(name) != new.get(name))
    if changed:
        raise ApiError(422, "Invalid", f"spec.{changed[0]}: Forbidden: updates are forbidden")


def _merged(old: Object, change: Object) -> Object:
    """RFC 7386."""
    found = dict(old)
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = _merged(found[name], value)
        else:
            found[name] = value
    return found


def _sent(body: bytes) -> Object:
    if body.startswith(b"k8s\x00"):
        return secret(body)
    try:
        found: Object = json.loads(body)
    except ValueError:
        found = yaml.safe_load(body)
    return found


def _prefix(group: str) -> str:
    return "/api/v1" if group == "v1" else f"/apis/{group}"


def _discovery(path: str) -> Object | None:
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [{"groupVersion": each, "version": each.split("/")[1]} for each in KINDS if "/" in each]
        groups = [
            {"name": each["groupVersion"].split("/")[0], "versions": [each], "preferredVersion": each}
            for each in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for group, kinds in KINDS.items():
        if path == _prefix(group):
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            resources = [
                {"name": plural, "singularName": kind.lower(), "namespaced": kind != "Namespace", "kind": kind}
                | {"verbs": verbs}
                for plural, kind in kinds.items()
            ]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or ""
        try:
            code, sent = self.server.answer(self.command, parts.path, parse_qs(parts.query), body, kind)
        except ApiError as error:
            code = error.code
            sent = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
            sent |= {"reason": error.reason, "message": str(error)}
        content = json.dumps(sent).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def api_server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def kubeconfig(server: ApiServer) -> str:
    address = f"http://127.0.0.1:{server.server_port}"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": address}}],
            "users": [{"name": "tests", "user": {}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": "search"}}],
            "current-context": "tests",
        }
    )
