"""`python -m spd_core COMMAND`: see `cli/main.py`."""

from spd_core.cli.main import main

if __name__ == "__main__":
    main()
