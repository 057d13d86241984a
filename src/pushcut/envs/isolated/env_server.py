"""Plays an environment for ``remote.RemoteEnv``, in the interpreter of its simulator; numpy only.

``env_server CHANNEL_FD``. Requests are pickled ``(method, arguments)``, replies
``(error or None, result)``; ``None`` ends it.
"""

from __future__ import annotations

import pickle
import sys
from multiprocessing.connection import Connection


def main() -> None:
    """Entry point of the process."""
    channel = Connection(int(sys.argv[1]))
    env = None
    while (request := channel.recv()) is not None:
        method, arguments = request
        try:
            if method == "build":
                env, result = arguments[0].build(), None
            else:
                result = getattr(env, method)(*arguments)
        except Exception as error:
            channel.send((_that_travels(error), None))
        else:
            channel.send((None, result))


def _that_travels(error: Exception) -> Exception:
    """The error, or its text where the other interpreter could not read it."""
    try:
        pickle.loads(pickle.dumps(error))
    # An exception's own constructor may raise anything.
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
