"""`python -m mulgil` is the command `mulgil`."""

from mulgil.cli import main

main()
