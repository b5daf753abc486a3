"""`clipserve local-llm`: a small language model on this machine, for chats without a picture."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def local_llm(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On loopback.")] = 8095,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute; more than idle cores make it slow.")] = 1,
    context: Annotated[int, typer.Option(min=256, max=8192, help="Tokens of a chat, with its answer.")] = 2048,
) -> None:
    """Serve SmolLM2-135M until Ctrl-C (`make setup-local-llm` installs it).

    Example: clipserve local-llm, and CLIPSERVE_GATEWAY_CHAT_MODEL_URL=http://127.0.0.1:8095/v1 for the gateway
    """
    from scripts.local_llm.command_line import installed, server_command

    python, model = installed()
    command = server_command(python, model, port, threads, context)
    os.execv(command[0], command)
