#!/usr/bin/env python3
"""The whole command against what else could be done with the file: `cp` and fsync, a NumPy script, onnxsim. Prints a Markdown table.

    bench_command.py [--model M.onnx] [--sparsity 0.8] [--rounds 9]

Every candidate is a process of its own, started afresh in each round, in turn, so that what else the machine does hits all of them. Time is from start to
end of the process; memory is the largest resident set that the kernel reports for it. The page cache is warm: a first round is not counted.
oneshot syncs its output to disk, so `cp` is followed by `sync FILE`; the Python scripts do not sync, which favours them.
onnxsim is left out when this Python does not have it (pip install onnxsim).
"""
import argparse
import importlib.util
import os
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"


def candidates(model, target, sparsity):
    python = sys.executable
    found = {
        "`cp` and `sync`": ["/bin/sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", model, target],
        "oneshot": [os.environ.get("ONESHOT", str(BUILD / "oneshot")), "--model", model, "--sparsity", sparsity, "-o", target, "--force", "--quiet"],
        "oneshot, 1 thread": [os.environ.get("ONESHOT", str(BUILD / "oneshot")), "--model", model, "--sparsity", sparsity, "-o", target, "--force", "--quiet",
                              "--threads", "1"],
        "NumPy and onnx": [python, str(HERE / "prune_numpy.py"), model, target, sparsity],
    }
    if importlib.util.find_spec("onnxsim"):
        found["onnxsim.apply_magnitude_pruning"] = [python, str(HERE / "prune_onnxsim.py"), model, target, sparsity]
    return found


def measure(command):
    """Seconds and peak resident bytes of one run."""
    with open(os.devnull, "w") as null:
        start = time.monotonic()
        child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null.fileno(), 1)])
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"{' '.join(command)}\nended with status {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(pathlib.Path(os.environ.get("ONESHOT_MODELS", BUILD / "models")) / "resnet50.onnx"))
    parser.add_argument("--sparsity", default="0.8")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not pathlib.Path(arguments.model).is_file():
        sys.exit(f"{arguments.model} is not there: name a model with --model")

    with tempfile.TemporaryDirectory(dir=BUILD) as work:
        target = pathlib.Path(work) / "out.onnx"
        commands = candidates(arguments.model, str(target), arguments.sparsity)
        runs = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name, command in commands.items():
                for old in pathlib.Path(work).iterdir():
                    old.unlink()
                result = measure(command)
                if number:
                    runs[name].append(result)

    size = os.path.getsize(arguments.model)
    median = {name: statistics.median(t for t, _ in found) for name, found in runs.items()}
    print(f"{pathlib.Path(arguments.model).name}, {size / 1e6:.1f} MB, sparsity {arguments.sparsity}, {arguments.rounds} rounds, {os.cpu_count()} CPUs, "
          f"load {os.getloadavg()[0]:.1f} at the end\n")
    print("| | median ms | fastest to slowest | to `cp` | to oneshot | peak MB | to the file |\n|---|---|---|---|---|---|---|")
    for name, found in runs.items():
        times, peak = [1000 * t for t, _ in found], max(p for _, p in found)
        print(f"| {name} | {1000 * median[name]:.0f} | {min(times):.0f} to {max(times):.0f} | {median[name] / median['`cp` and `sync`']:.2f} | "
              f"{median[name] / median['oneshot']:.1f} | {peak / 1e6:.0f} | {peak / size:.2f} |")


if __name__ == "__main__":
    main()
