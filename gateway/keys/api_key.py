"""What an API key may do, and whose key the request at hand came with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields

from clip_core.errors import CollectionForbidden, InvalidRequest, ScopeMissing

SCOPES = ("embed", "search", "write", "admin")


@dataclass(frozen=True)
class KeyLimits:
    """A key's own limits; None leaves that one to the gateway's settings."""

    requests_per_minute: int | None = None
    items_per_minute: int | None = None
    megapixels_per_minute: int | None = None
    concurrency: int | None = None

    def over(self, defaults: KeyLimits) -> KeyLimits:
        """These, with the defaults where nothing is set."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        return KeyLimits(**{**asdict(defaults), **own})

    @classmethod
    def of(cls, values: Mapping[str, int]) -> KeyLimits:
        """From a record that may come from another version: unknown names are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. `collections` None means all; times are seconds since the epoch."""

    id: str
    name: str = ""
    scopes: tuple[str, ...] = SCOPES
    collections: tuple[str, ...] | None = None
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    limits: KeyLimits = KeyLimits()

    def state(self, now: float | None = None) -> str:
        """active, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= (now or time.time()) else "active"

    def check_scope(self, scope: str | None) -> None:
        """None is what any key may do, and `admin` may do everything. Raises ScopeMissing."""
        if scope is not None and scope not in self.scopes and "admin" not in self.scopes:
            raise ScopeMissing(f"this API key lacks the scope `{scope}`; it has {', '.join(self.scopes) or 'none'}")

    def may_use(self, collection: str) -> bool:
        return self.collections is None or collection in self.collections

    def check_collection(self, collection: str) -> None:
        """Raises CollectionForbidden, in the same words whether or not there is such a collection."""
        if not self.may_use(collection):
            raise CollectionForbidden(
                f"this API key may not use the collection {collection[:64]!r}", param="collection"
            )


ANONYMOUS = ApiKey("anonymous")
_current: ContextVar[ApiKey] = ContextVar("gateway_key", default=ANONYMOUS)


def current_key() -> ApiKey:
    """The key of the request being answered; without keys, and outside of any request, one that may do everything."""
    return _current.get()


def set_current_key(key: ApiKey) -> None:
    """For the rest of this request's context."""
    _current.set(key)


def current_key_id() -> str | None:
    """To find the key again with later; None: a call without a key."""
    key = _current.get()
    return None if key is ANONYMOUS else key.id


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Raises InvalidRequest that names the first unknown one."""
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None or not scopes:
        raise InvalidRequest(f"a key's scopes are some of {', '.join(SCOPES)}, not {unknown or 'none'}")
    return scopes
