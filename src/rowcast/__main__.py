"""``python -m rowcast``: the command line."""

from rowcast.cli import main

main()
