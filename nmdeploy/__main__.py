"""``nmdeploy``, or ``python -m nmdeploy``: the command line, as a process of its own."""

from __future__ import annotations

import atexit
import gc

from nmdeploy.cli import main


def run() -> None:
    """Run the command of this process."""
    atexit.register(gc.freeze)  # all objects go with the process: nobody has to search for cycles among them
    main(prog_name="nmdeploy")


if __name__ == "__main__":
    run()
