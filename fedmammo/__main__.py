"""`python -m fedmammo`: the commands, where the program `fedmammo` is not on the path."""

from fedmammo.cli import main

main()
