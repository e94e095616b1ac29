"""Open many forged and damaged kits: each must be one clean error, or the original.

    python benchmarks/mutated_kits.py [--mutants 10000]

Runs ``tests/runtime/kit/test_kit_attacks.py`` with more mutants than the tests take, and writes
``results/mutated-kits.json``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from publish import publish

from rs_toolkit.environment import machine

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the attacks, and write down how many mutants there were and whether all were right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    mutants = parser.parse_args().mutants
    test = next((ROOT / "tests" / "runtime").rglob("test_kit_attacks.py"))
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-n", "0", str(test), "-k", "mutants"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "RS_MUTANTS": str(mutants)},
        capture_output=True,
        text=True,
    )
    last = done.stdout.strip().splitlines()[-1]
    result = {
        "mutants_at_least": mutants,
        "passed": done.returncode == 0,
        "pytest": last,
        "seconds": round(time.monotonic() - start, 1),
        "machine": machine(),
    }
    verdict = "all were" if result["passed"] else "NOT all were"
    publish(
        "mutated-kits",
        result,
        f"# Mutated kits\n\nAt least {mutants} forged and damaged kits: {verdict} one clean error "
        f"or the original ({result['seconds']} s, {result['machine']['cpu']}).\n",
    )
    if not result["passed"]:
        sys.exit(done.stdout[-3000:])


if __name__ == "__main__":
    main()
