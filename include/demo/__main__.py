"""`make demo`. Exit code 0 if the clusters themselves show that the member is joined, 1 if not.

2 if the demonstration could not begin, 128 plus the signal's number if it was interrupted before its end.
"""

from __future__ import annotations

import sys

from include.demo import interruption


def main() -> int:
    """Run the demonstration and return the exit code."""
    try:
        interruption.install()
        # Only now: the Kubernetes client alone takes a second, in which Ctrl-C is to mean the same.
        from include.demo import demonstration  # noqa: PLC0415

        return demonstration.main()
    except interruption.Interrupted as interrupted:
        print("Stopped before the end.", file=sys.stderr)
        return 128 + interrupted.number


if __name__ == "__main__":
    # Lines have to appear as they are printed, also into a pipe.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
