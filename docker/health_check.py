"""`python health_check.py URL`: exit code 0 when it answers 200. It needs no shell, no curl and none of our packages.

The gateway may speak TLS, with a certificate for other names than this machine's: it is not checked.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 4.0


def main(url: str) -> int:
    unchecked = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=unchecked))
    try:
        with opener.open(url, timeout=_TIMEOUT_S):
            return 0
    except urllib.error.HTTPError as error:
        print(f"{url} answered {error.code}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        print(f"{url} does not answer: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
