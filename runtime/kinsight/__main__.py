"""`python -m kinsight` is the command `kinsight`."""

from kinsight.cli import main

if __name__ == "__main__":
    main()
