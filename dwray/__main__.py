"""``python -m dwray`` is the command ``dwray``."""

from dwray.cli import main

if __name__ == "__main__":
    main()
