"""What a sync refuses to do."""

from __future__ import annotations

from clipserve_client.errors import ClientError


class SyncRunning(ClientError):
    """Another process syncs this source with this collection."""
