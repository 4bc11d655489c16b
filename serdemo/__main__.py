"""`python -m serdemo`, the same as `serdemo`."""

from serdemo.cli import main

if __name__ == "__main__":
    main()
