"""``nmdeploy``, or ``python -m nmdeploy``: the command line, as a process of its own."""

from __future__ import annotations

import atexit
import gc
import signal


def run() -> None:
    """Run the command of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules load: end without a traceback of imports
    from nmdeploy.cli.commands import main

    atexit.register(gc.freeze)  # all objects go with the process: nobody has to search for cycles among them
    main(prog_name="nmdeploy")


if __name__ == "__main__":
    run()
