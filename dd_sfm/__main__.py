"""The dd-sfm command, also as python -m dd_sfm."""

import sys


def main() -> None:
    """Entry point of the ``dd-sfm`` script: stopped while its modules are loaded, it ends as it does later on."""
    try:
        from dd_sfm.cli.app import main as run_command

        run_command()
    except KeyboardInterrupt:
        print("dd-sfm: stopped; repeat the command to start again", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
