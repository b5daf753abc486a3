"""Data folders written by every version so far still load, and hold what was put into them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from clip_core.wire import FloatArray
from index_service.collection.registry import Registry
from index_service.record.schema import SCHEMA_VERSION
from index_service.record.store import Store
from index_service.settings import IndexSettings

GOLDEN = Path(__file__).parents[1] / "golden" / "index"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir())
EYE: FloatArray = np.eye(4, dtype=np.float32)


def test_there_is_one_of_every_version() -> None:
    assert [f"v{version}" for version in range(1, SCHEMA_VERSION + 1)] == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_data_folder_loads(version: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / version, tmp_path / "data")
    for _ in range(2):  # the second time it is of this version
        store = Store(tmp_path / "data" / "index.sqlite3")
        registry = Registry(store, IndexSettings())
        registry.load()
        made = ["empty", "shapes"] if version < "v3" else ["empty", "shapes", "weights"]
        assert [collection.info.name for collection in registry.all()] == made
        shapes = registry.get("shapes")
        assert shapes.describe()["segment"]["rows"] == (0 if version == "v1" else 8)  # the stored segment is taken
        assert (shapes.info.recall_target, shapes.info.metadata) == (0.9, b'{"a":1}')
        assert [id_ for id_, _ in shapes.page("", 100)] == ["i0", "i1", "i3", "i4", "i5", "i6", "i7"]
        assert shapes.get("i1").metadata == b'{"n":100}'
        assert shapes.get("i3").metadata == b'{"n": 3, "name": "Gr\\u00f6\\u00dfe"}'
        rows = shapes.view.search(EYE[3:], 3, None, True)[1]
        assert {shapes.view.rows.ids[row] for row in rows[0]} == {"i1", "i3", "i7"}
        assert registry.get("empty").view.live == 0
        if version != "v1":
            assert registry.aliases() == {"figures": "shapes"}
            assert shapes.get("i7").source == b'{"text":"seven"}'
        assert {registry.get(name).info.metric for name in made[:2]} == {"cosine"}
        if version >= "v3":
            weights = registry.get("weights")
            assert (weights.info.metric, weights.view.rows.main.engine) == ("dot", "certified")
            (scores, found), _ = weights.view.certify(2 * EYE[:1], 5, None)
            assert [weights.view.rows.ids[row] for row in found[0]] == ["w4", "w0", "w3", "w1", "w2"]
            assert scores[0].tolist() == [8, 6, 4, 0, 0]
            assert np.frombuffer(weights.get("w3").vector, "<f4").tolist() == [2, 2, 0, -1e9]
        registry.close()
