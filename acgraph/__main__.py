"""``python -m acgraph``: the same as the command ``acgraph``."""

from acgraph.cli.main import main

if __name__ == "__main__":
    main()
