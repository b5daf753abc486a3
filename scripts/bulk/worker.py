"""One process that encodes shards: reads, decodes, runs the towers, writes."""

from __future__ import annotations

import errno
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from clip_core.encode.encoded import Encoded
from clip_core.errors import ClipServeError
from clip_core.inputs.request import Item, Part
from clip_core.wire import FloatArray
from clipserve_client.sources.entries import SourceError
from scripts.bulk.chunks import InBackground, chunks
from scripts.bulk.job import BulkJob
from scripts.bulk.model import Loaded
from scripts.bulk.output.layouts import BadItems, EncodedItem, open_layout
from scripts.bulk.output.place import write_text
from scripts.bulk.output.run_folder import Output
from scripts.bulk.output.thumbnails import Thumbnails
from scripts.bulk.reading.items import Bad, Raw
from scripts.bulk.reading.shard_reader import ShardReader
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Done, Shard

_MOST_TRIES = 3
_HALF = "the rest of the item is embedded: "
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)  # of the output


class ShardWorker:
    """Raises BadModel at once when the archive does not compute the vectors that it was built with."""

    def __init__(self, job: BulkJob) -> None:
        self._job, self._output = job, Output.at(job.out, job.out_storage)
        self._model = Loaded(job.archive, job.threads, job.batch)
        self._thumbnails = Thumbnails(job.thumbnails, job.out_storage, job.threads) if job.thumbnails else None
        self._reader = ShardReader(self._output, job.storage, job.embed, texts=job.texts)

    def run(self, shard: Shard) -> Done:
        """Never raises: what goes wrong is in the result. A shard that was done is not done again."""
        began = time.monotonic()
        tries = self._tried(shard)
        if tries > _MOST_TRIES:
            why = f"reading it ended its process {_MOST_TRIES} times"
            return Done(shard.number, shard.version, error=why, again=True)
        try:
            done = self._encode(shard, began)
            write_text(self._output.place, self._output.done(shard), done.json())
        except Away as error:
            done = Done(shard.number, shard.version, error=error.message, again=True)
        except OSError as error:
            fatal = error.errno in _FATAL
            what = f"{error.filename or self._job.out} can't be written: {error.strerror or error}"
            done = Done(shard.number, shard.version, error=what, again=True, fatal=fatal)
        except Exception as error:  # of whatever kind: one shard ends no run
            done = Done(shard.number, shard.version, error=f"{type(error).__name__}: {error}", again=True)
        with suppress(OSError):
            self._output.place.remove(self._output.tries(shard))
        return done

    def _tried(self, shard: Shard) -> int:
        """How often it was begun; a file, since a process that is killed remembers nothing."""
        place, name = self._output.place, self._output.tries(shard)
        try:
            before = place.read(name) or b""
            write_text(place, name, "." * (len(before) + 1))
        except OSError:
            return 1
        return len(before) + 1

    def _encode(self, shard: Shard, began: float) -> Done:
        job, error, rows, codes, version = self._job, "", 0, Counter[str](), shard.version
        written = open_layout(job.layout, self._output.place, shard, self._model.encoders.spec.dim, job.embed)
        bad = BadItems(self._output.place, self._output.bad(shard))
        try:
            try:
                with closing(InBackground(chunks(self._reader.items(shard), job.batch))) as chunked:
                    for chunk in chunked:
                        good, refused = self._rows(chunk)
                        written.add(good)
                        bad.add([(shard.name, *each) for each in refused])
                        rows += len(good)
                        codes.update(each.code for each in refused)
            except Away:
                raise
            except SourceError as damage:
                error = damage.message
                code = damage.why if damage.why == "vanished" else "damaged"
                version += " gone" * (code == "vanished")  # the next run looks again
                bad.add([(shard.name, shard.path, code, error)])
                codes[code] += 1
            written.close()
            bad.close()
        except BaseException:
            written.abandon()
            bad.abandon()
            raise
        seconds = round(time.monotonic() - began, 3)
        return Done(shard.number, version, rows, codes.total(), seconds, dict(codes), error)

    def _rows(self, chunk: Sequence[Raw | Bad]) -> tuple[list[EncodedItem], list[Bad]]:
        """In the order of the chunk."""
        raw = [item for item in chunk if isinstance(item, Raw)]
        wants = [self._wanted(item) for item in raw]
        images = self._vectors(
            [_part("image", item.content, image) for item, (image, _) in zip(raw, wants, strict=True)]
        )
        texts = self._vectors([_part("text", item.text, text) for item, (_, text) in zip(raw, wants, strict=True)])
        made = iter(zip(raw, images, texts, strict=True))
        rows, bad, pictures = list[EncodedItem](), list[Bad](), list[bytes]()
        for item in chunk:
            if isinstance(item, Bad):
                bad.append(item)
                continue
            of, *encoded = next(made)
            image, text = (None if isinstance(each, ClipServeError) else each for each in encoded)
            bad += self._faults(of, encoded)
            if image is not None or text is not None:
                rows.append(_row(of, image, text))
            if image is not None and of.content is not None:
                pictures.append(of.content)
        if self._thumbnails is not None:
            self._thumbnails.keep(pictures)
        return rows, bad

    def _faults(self, item: Raw, encoded: Sequence[FloatArray | ClipServeError | None]) -> list[Bad]:
        """Why it has no vector; or why it has only one, where it should have two."""
        faults = [Bad(item.id, each.code, each.message) for each in encoded if isinstance(each, ClipServeError)]
        faults += [item.fault] if item.fault is not None else []
        if any(not isinstance(each, ClipServeError) and each is not None for each in encoded):
            return [fault._replace(message=f"{_HALF}{fault.message}") for fault in faults]
        missing = Bad(item.id, "nothing to embed", f"it has nothing to embed as {self._job.embed}")
        return faults[:1] or [missing]

    def _wanted(self, item: Raw) -> tuple[bool, bool]:
        """Whether its picture, and whether its text is encoded."""
        embed = self._job.embed
        return embed != "text" and item.content is not None, embed != "image" and item.text is not None

    def _vectors(self, parts: Sequence[Part | None]) -> Iterator[FloatArray | ClipServeError | None]:
        items = [Item((part,)) for part in parts if part is not None]
        encoded = iter(self._model.encoders.encode(items, cut_long_texts=[True] * len(items)) if items else [])
        for part in parts:
            result = next(encoded) if part is not None else None
            yield result.vector if isinstance(result, Encoded) else result


def _part(kind: str, value: str | bytes | None, wanted: bool) -> Part | None:
    return Part(kind, value) if wanted and value is not None else None


def _row(item: Raw, image: FloatArray | None, text: FloatArray | None) -> EncodedItem:
    digest = hashlib.sha256(item.content).hexdigest() if image is not None and item.content is not None else None
    return EncodedItem(item.id, image, text, item.text, digest, item.metadata)
