"""Plays an environment in another interpreter, for tests of isolated ones; numpy only."""

import sys
from multiprocessing.connection import Connection


def main() -> None:
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
            channel.send((error, None))
        else:
            channel.send((None, result))


if __name__ == "__main__":
    main()
