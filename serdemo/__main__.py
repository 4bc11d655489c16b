"""`python -m serdemo`, the same as `serdemo`."""

from __future__ import annotations

from collections.abc import Sequence

from serdemo.cli.exits import exit_on_error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of `arguments`, by default the one that was given; a missing library ends in one
    sentence too."""
    with exit_on_error():
        from serdemo.cli.main import main as run

        run(arguments)


if __name__ == "__main__":
    main()
