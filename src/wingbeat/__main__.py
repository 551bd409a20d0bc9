"""``python -m wingbeat``: the command line, where the script is not on the path."""

from wingbeat.cli import main

if __name__ == "__main__":
    main()
