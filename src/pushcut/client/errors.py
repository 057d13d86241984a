"""What can go wrong between a robot and its policy server."""

from __future__ import annotations

from pushcut.errors import UserError


class ConnectionLostError(UserError):
    """The server is not there, or went away; connecting again may help."""


class ServerRefusedError(UserError):
    """The server answered with words instead of actions: they say what would have worked."""
