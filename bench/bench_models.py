#!/usr/bin/env python3
"""Whole models: this executor, dense and with zeros, against ONNX Runtime and, where its wheel is installed, DeepSparse. Prints Markdown tables.

    bench_models.py [--models DIR] [--only NAME,NAME] [--sparsities 0,.5,.7,.8,.9] [--seconds 3] [--python PYTHON] [--deepsparse PYTHON] [-o FILE]

Every cell is one `oneshot bench --against ...`: both sides run the same file, inputs, processors and number of threads in rounds that alternate. A cell is the
ratio of the medians (above 1: oneshot is faster) and the quartiles of the rounds' ratios. Sparse files are made by `oneshot --sparsity S`: by magnitude, each layer
alike, first and depthwise layers dense, the last ones, which the default keeps dense too, included. ONNX Runtime runs the sparse file; zeros make no difference to it.

--python names a Python with onnxruntime; --deepsparse one with deepsparse (Python 3.8 to 3.11: python3 -m venv VENV; VENV/bin/pip install deepsparse==1.8.0, with the
old numpy, onnx and protobuf that it asks for). DeepSparse is slow in the first runs after a pause, so give it rounds of a second or more: --seconds 20.
Models that are not in the folder are left out, and named. MiniLM is the export of sentence-transformers/all-MiniLM-L6-v2 as minilm.onnx.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
ONESHOT = os.environ.get("ONESHOT", str(TOP / "build/oneshot"))
MINILM, LLAMA = ["--shape", "seq=128"], ["--shape", "seq=256"]
# (title, file, options), and the settings (threads, batch) of each table
DENSE = [("resnet50", "resnet50.onnx", []), ("resnet18", "resnet18.onnx", []), ("yolov8n", "yolov8n.onnx", []), ("yolox_nano", "yolox_nano.onnx", []),
         ("mobilenetv2", "mobilenetv2.onnx", []), ("squeezenet", "squeezenet_sparse.onnx", []), ("MiniLM, sequence 128", "minilm.onnx", MINILM),
         ("llama 260k, sequence 256", "stories260k_llama.onnx", LLAMA)]
DENSE_SETTINGS = [(1, 1), (2, 1), (2, 16)]
SPARSE = [("resnet50", "resnet50.onnx", [], [(1, 1), (2, 1), (2, 16)]), ("resnet18", "resnet18.onnx", [], [(1, 1)]),
          ("MiniLM, sequence 128", "minilm.onnx", MINILM, [(1, 1), (2, 16)]), ("yolov8n", "yolov8n.onnx", [], [(1, 1)]),
          ("mobilenetv2", "mobilenetv2.onnx", [], [(1, 1)])]


class Failed(Exception):
    pass


def oneshot(*arguments):
    done = subprocess.run([ONESHOT, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    return done.stdout


class Runner:
    def __init__(self, arguments, work):
        self.arguments, self.work, self.machine, self.log = arguments, work, "", []

    def bench(self, model, options, threads, batch, runtime, python):
        figures = json.loads(oneshot("bench", "--model", model, "--threads", threads, "--batch", batch, *options, "--against", runtime, "--python", python,
                                     "--seconds", self.arguments.seconds, "--warmup", self.arguments.warmup, "--json", "-"))
        self.machine = f"{figures['cpu']}, {figures['isa']}, oneshot {figures['version']}"
        self.log.append({"model": str(model), **figures})
        return figures

    def cell(self, *setting):
        """(figures or None, words)"""
        runtime = setting[4]
        try:
            figures = self.bench(*setting)
        except Failed as problem:
            print(f"{setting[0]} {setting[2:5]}: {problem}", file=sys.stderr)
            return None, "-"
        other = figures[runtime]
        return figures, f"{other['ratio']:.2f} ({other['ratio_25']:.2f} to {other['ratio_75']:.2f})"

    def sparse_file(self, source, sparsity):
        target = self.work / f"{source.stem}.{sparsity}.onnx"
        if not target.exists():
            plan = json.loads(oneshot("--model", source, "--sparsity", sparsity, "--dry-run", "--json", "-"))
            last = [option for layer in plan["layers"] if layer.get("reason") == "last weighted layer" for option in ("--include", layer["layer"])]
            oneshot("--model", source, "--sparsity", sparsity, *last, "-o", target, "--quiet")
        return target


def row(cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def dense_table(run, models):
    lines = [row(["dense, ratio to ONNX Runtime"] + [f"{t} thread{'s' * (t > 1)}, batch {b}" for t, b in DENSE_SETTINGS] +
                 ["start ms, ours and theirs", "memory MB"]), row(["---"] * (len(DENSE_SETTINGS) + 3))]
    for title, path, options in models:
        cells, start, memory = [title], "-", "-"
        for threads, batch in DENSE_SETTINGS:
            figures, words = run.cell(path, options, threads, batch, "onnxruntime", run.arguments.python)
            cells.append(words)
            if figures and (threads, batch) == DENSE_SETTINGS[0]:
                sides = figures, figures["onnxruntime"]
                start = " ".join(f"{1e3 * (s['seconds_to_load'] + s['seconds_to_plan'] + s['seconds_to_first_run']):.0f}" for s in sides)
                memory = " ".join(f"{s['peak_memory_bytes'] / 1e6:.0f}" if s["peak_memory_bytes"] else "?" for s in sides)
        lines.append(row(cells + [start, memory]))
    return lines


def sparse_table(run, models, sparsities, runtime, python):
    lines = [row([f"sparse, ratio to {runtime}"] + [f"{100 * s:g} %" for s in sparsities]), row(["---"] * (len(sparsities) + 1))]
    for title, path, options, settings in models:
        for threads, batch in settings:
            cells = [f"{title}, batch {batch}, {threads} thread{'s' * (threads > 1)}"]
            for s in sparsities:
                cells.append(run.cell(run.sparse_file(path, s), options, threads, batch, runtime, python)[1])
            lines.append(row(cells))
    return lines


def present(arguments, entries):
    found = []
    for title, name, *rest in entries:
        path = pathlib.Path(arguments.models) / name
        if arguments.only and not any(word in name for word in arguments.only.split(",")):
            continue
        if path.is_file():
            found.append((title, path, *rest))
        else:
            print(f"left out, not in {arguments.models}: {name}", file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=os.environ.get("ONESHOT_MODELS", str(TOP / "build/models")))
    parser.add_argument("--only", help="names that the file names hold")
    parser.add_argument("--sparsities", default=".5,.7,.8,.9")
    parser.add_argument("--seconds", default="3")
    parser.add_argument("--warmup", default="0.5")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--deepsparse", help="a Python that has deepsparse")
    parser.add_argument("--tables", default="dense,sparse")
    parser.add_argument("--json", help="all figures, a list")
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    sparsities = [float(s) for s in arguments.sparsities.split(",")]
    lines = []
    with tempfile.TemporaryDirectory() as work:
        run = Runner(arguments, pathlib.Path(work))
        if "dense" in arguments.tables:
            lines += dense_table(run, present(arguments, DENSE)) + [""]
        if "sparse" in arguments.tables:
            lines += sparse_table(run, present(arguments, SPARSE), sparsities, "onnxruntime", arguments.python) + [""]
            if arguments.deepsparse:
                lines += sparse_table(run, present(arguments, SPARSE), sparsities, "deepsparse", arguments.deepsparse) + [""]
        versions = {f"{r} {f[r]['version']}" for f in run.log for r in ("onnxruntime", "deepsparse") if r in f}
        lines.append(f"{run.machine}, {', '.join(sorted(versions))}, {time.strftime('%Y-%m-%d')}, "
                     f"load {os.getloadavg()[0]:.1f}; {arguments.seconds} s a side in each cell.")
        if arguments.json:
            pathlib.Path(arguments.json).write_text(json.dumps(run.log, indent=1) + "\n")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.output:
        pathlib.Path(arguments.output).write_text(text)


if __name__ == "__main__":
    main()
