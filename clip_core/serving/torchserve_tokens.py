"""The tokens that TorchServe asks for where token authorization is on. It makes them itself, anew at each start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

KEY_FILE = "key_file.json"
"""Where TorchServe writes them: in its working folder, readable by its own user only."""
REFUSED = "InvalidKeyException"
"""What TorchServe calls a missing, wrong or old token, with the status 400."""
_TOKEN = re.compile(r"[\w-]{1,200}={0,2}", re.ASCII)


def bearer(key_file: Path | None, api: Literal["inference", "management"]) -> dict[str, str]:
    """The header that `api` asks for, as the file says it now; none without a file, or while there is no token in it.

    https://github.com/pytorch/serve/blob/master/docs/token_authorization_api.md
    """
    try:
        token = json.loads(key_file.read_text(encoding="utf-8"))[api]["key"] if key_file else None
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {"Authorization": f"Bearer {token}"} if isinstance(token, str) and _TOKEN.fullmatch(token) else {}
