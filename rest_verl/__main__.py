"""The command `rest-verl`, also as `python -m rest_verl`: the command of one interpreter."""

import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a word and with status 130, while it still imports as well."""
    try:
        from rest_verl.cli import app

        app(prog_name="rest-verl")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
