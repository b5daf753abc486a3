"""`python health_check.py URL`: exit code 0 when it answers 200. It needs no shell, no curl and none of our packages.

The gateway may speak TLS, with a certificate for other names than this machine's: it is not checked. An http:// URL
whose port speaks TLS is asked by https://.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 4.0


def main(url: str) -> int:
    """0 when it answers 200."""
    fault = ask(url)
    if fault and url.startswith("http://") and ask(url.replace("http://", "https://", 1)) == "":
        return 0
    print(fault, end="\n" if fault else "")
    return 1 if fault else 0


def ask(url: str) -> str:
    """What is wrong; "" when it answers 200."""
    unchecked = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=unchecked))
    try:
        with opener.open(url, timeout=_TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code}: {error.read(1000).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
