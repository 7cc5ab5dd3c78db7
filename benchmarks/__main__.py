"""Runs every benchmark, one after the other: ``python -m benchmarks [NAME ...] [--quick]``.

Each is a script of its own in this folder and a process of its own, so that none warms another's caches.
"""

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main() -> int:
    wanted = [each for each in sys.argv[1:] if not each.startswith("-")]
    options = [each for each in sys.argv[1:] if each.startswith("-")]
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        sys.stderr.write(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}\n")
        return 2
    failed = []
    for name in wanted or NAMES:
        print(f"\n{name}", flush=True)
        began = time.monotonic()
        ended = subprocess.run([sys.executable, FOLDER / f"{name}.py", *options], cwd=FOLDER.parent, check=False)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
        if ended.returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
