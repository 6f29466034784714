"""What `import neurornn` costs beside `import torch, xarray`: medians of fresh processes, interleaved.

python benchmarks/import_time.py [repeats]
"""

import os
import pathlib
import platform
import statistics
import subprocess
import sys

STATEMENTS = ("import torch, xarray", "import neurornn")


def processor() -> str:
    information = pathlib.Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0].split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def seconds(statement: str) -> float:
    """Return the process's CPU seconds, which other work on the machine disturbs less than the clock."""
    code = f"import time; {statement}; print(time.process_time())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout)


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for statement in STATEMENTS:
        seconds(statement)  # Fills the file cache and writes the bytecode.
    times = {statement: [] for statement in STATEMENTS}
    for _ in range(repeats):
        for statement in STATEMENTS:
            times[statement].append(seconds(statement))
    base, own = (statistics.median(times[statement]) for statement in STATEMENTS)
    ratios = [b / a for a, b in zip(*times.values(), strict=True)]
    print(f"{processor()}; Python {platform.python_version()}; CPU seconds, median of {repeats}, interleaved")
    for statement, value in zip(STATEMENTS, (base, own), strict=True):
        print(f"{statement:<22} {value:.3f}")
    print(f"ratio                  {own / base:.3f} (pairwise {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
