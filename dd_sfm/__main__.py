"""python -m dd_sfm."""

from dd_sfm.cli.app import main

main()
