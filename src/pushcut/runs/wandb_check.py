"""Whether W&B can take a run: a key and a server, or its offline mode, asked before it starts."""

from __future__ import annotations

import netrc
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from pushcut.errors import UserError

WITHOUT_SERVER = ("offline", "dryrun", "disabled")
"""Values of WANDB_MODE that need neither key nor server here."""

CONNECT_S = 10.0
"""How long a server may take to answer."""

BUSY = "did not respond in time"
"""W&B's own process was slow, which says nothing of the server."""


def check_wandb(wandb: Any) -> None:
    """UserError where a run could not be opened; in a terminal W&B may ask for a key first.

    Args:
        wandb: The package.
    """
    if os.environ.get("WANDB_MODE", "").lower() in WITHOUT_SERVER:
        return
    login = getattr(wandb, "login", None)
    if login is None:
        if not has_key():
            raise refusal("no API key is configured")
        return
    try:
        if not login(verify=False):
            return  # offline by its settings, or by what the user has just answered
        connect()
        login(verify=True)
    except Exception as error:  # it raises what its connection raises
        reason = " ".join(str(error).split()) or type(error).__name__
        if BUSY not in reason:
            raise refusal(reason) from None


def refusal(reason: str, folder: Path | str = "RUN") -> UserError:
    """What to do without a server."""
    return UserError(
        f"W&B cannot be reached ({reason}): type `wandb login`, or set WANDB_MODE=offline and "
        f"upload later with `wandb sync {folder}/wandb/offline-run-*`"
    )


def server() -> tuple[str, int]:
    """Host and port of W&B's server, or of the one that is hosted elsewhere."""
    url = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    return url.hostname or "", url.port or (80 if url.scheme == "http" else 443)


def connect() -> None:
    """OSError where the server takes no connection; behind a proxy nobody can tell."""
    if not getproxies():
        host, port = server()
        try:
            socket.create_connection((host, port), timeout=CONNECT_S).close()
        except OSError as error:
            raise OSError(f"{host}:{port}: {error.strerror or error}") from None


def has_key() -> bool:
    """Whether a key is where W&B looks for it: its variables, or netrc."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    places = [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in [Path(os.environ["NETRC"])] if os.environ.get("NETRC") else places:
        try:
            if netrc.netrc(str(file)).authenticators(server()[0]):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
