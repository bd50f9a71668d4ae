"""`python -m edgecap`, and the command `edgecap`: an interrupted start leaves no traceback."""

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from edgecap.cli.app import main as run

        return run()
    except KeyboardInterrupt:  # while the packages were imported
        print("edgecap: interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
