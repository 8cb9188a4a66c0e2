"""``python -m nmdeploy``: the command line."""

from nmdeploy.cli import main

main(prog_name="nmdeploy")
