"""What this machine lacks for a measurement."""

from __future__ import annotations


class NotHereError(Exception):
    """A program, an engine, an image or an archive is missing; the message says which, and how to get it."""
