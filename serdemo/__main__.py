"""`python -m serdemo`, the same as `serdemo`."""

from __future__ import annotations

from serdemo.cli.exits import exit_on_error


def main() -> None:
    """Run the command that was given; a missing library ends in one sentence too."""
    with exit_on_error():
        from serdemo.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
