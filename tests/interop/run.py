#!/usr/bin/env python3
"""Interoperability: what oneshot writes and computes, judged by onnx.checker, ONNX Runtime and NumPy. The last line is "N passed, N failed, N skipped".

    run.py [WORD]...        only checks whose title contains all the words

Models: those of examples/, those that made.py makes, the real ones in $ONESHOT_MODELS and the models of ONNX's backend tests in $ONESHOT_NODE_TESTS.
"""
import itertools
import multiprocessing
import os
import pathlib
import sys
import tempfile
import traceback

import checks
import edges
import execution
import loops
import made
import operators
import runtime

TOP = pathlib.Path(__file__).resolve().parents[2]
EVERYTHING = "--include *"                          # small models: lifts the defaults that keep first, last and small layers dense
PRUNINGS = ["--sparsity 0.5", "--sparsity 0.8 --scope global", "--sparsity 0.7 --scope erk", "--sparsity 0.7 --scope lamp", "--sparsity 0.5 --pattern 2:4",
            "--sparsity 0.5 --pattern 4:8", "--sparsity 0.6 --pattern 4x1", "--sparsity 0.6 --pattern 1x4", "--sparsity 0.6 --pattern 16x1 --regroup"]
STORAGE = ["--format sparse", "--format dense", "--external-data", "--inline"]
HALVES = ("resnet18", "mobilenetv2", "squeezenet_sparse", "yolov8n", "ultraface_rfb", "resnet20_cifar10")
SIZES = {"stories260k_llama": range(1, 40, 3)}
BATCH = 100                                         # round trips in one task


def real_models():
    folder = pathlib.Path(os.environ.get("ONESHOT_MODELS") or "/nonexistent")
    return sorted(folder.rglob("*.onnx")) if folder.is_dir() else []


def backend_models():
    folder = pathlib.Path(os.environ.get("ONESHOT_NODE_TESTS") or "/nonexistent")
    return sorted(folder.rglob("*.onnx")) if folder.is_dir() else []


def tasks(made_models):
    """(title, check, arguments after the source and the work folder, sources)"""
    example, real, backend = TOP / "examples/digits.onnx", real_models(), backend_models()
    own = [example, *made_models]
    for source in own:
        for options in PRUNINGS:
            yield f"prune {source.name} {options}", checks.pruned, (f"{options} {EVERYTHING}", options == PRUNINGS[0]), [source]
    for source in [m for m in real if m.parent.name != "ezkl"]:
        for options in PRUNINGS[:2] + PRUNINGS[4:7:2]:
            yield f"prune {source.name} {options}", checks.pruned, (options, options == PRUNINGS[0]), [source]
    for source in [m for m in real if m.parent.name == "ezkl"] + [m for m in backend if m.parent.parent.name != "node"][::5]:
        yield f"prune {source.parent.name}/{source.name}", checks.pruned, (f"{PRUNINGS[0]} {EVERYTHING}", False), [source]
    for source in own + [m for m in real if m.parent.name != "ezkl"]:
        yield f"store {source.name}", checks.conversion, STORAGE, [source]
    for title, model, inputs, tolerance in itertools.chain(operators.cases(), edges.cases(), loops.cases()):
        yield f"run {title}", execution.case, (model, inputs, tolerance), [None]
    for source in (m for m in backend if m.parent.name == "light"):
        yield f"run {source.name}", execution.random_inputs, (1e-4,), [source]
    for source in [example] + [m for m in real if m.stem in HALVES]:
        yield f"run {source.name} in float16", execution.in_halves, (1e-2,), [source]
    for source in (m for m in real if m.stem in SIZES):
        yield f"run {source.name} in several sizes", execution.sizes, (SIZES[source.stem], 1e-4), [source]
    everything = own + real + backend
    for i in range(0, len(everything), BATCH):
        yield f"round trip {i} to {min(i + BATCH, len(everything)) - 1}", checks.round_trip, (), everything[i:i + BATCH]
    yield "bench against ONNX Runtime", checks.benchmark, (), [example]
    yield "bench against ONNX Runtime in two streams", checks.benchmark, ("--threads", "2", "--streams", "2", "--batch", "3"), [example]
    yield "accuracy of the example, dense", checks.accuracy, ("--sparsity 0", TOP / "examples/samples", TOP / "examples/labels.txt", 0.99), [example]
    yield "accuracy of the example at 50 %", checks.accuracy, ("--sparsity 0.5", TOP / "examples/samples", TOP / "examples/labels.txt", 0.96), [example]


def perform(task):
    """[(title, outcome, words)] of one task."""
    title, check, arguments, sources = task
    done = []
    for source in sources:
        name = title if len(sources) == 1 else f"{check.__name__} {source}"
        try:
            with tempfile.TemporaryDirectory() as work:
                check(source, pathlib.Path(work), *arguments)
            done.append((name, "passed", ""))
        except checks.Skipped as reason:
            done.append((name, "skipped", str(reason)))
        except (AssertionError, checks.CommandFailed) as error:
            done.append((name, "failed", str(error)))
        except Exception:
            done.append((name, "failed", traceback.format_exc()))
    return done


def main():
    if not os.access(runtime.COMMAND, os.X_OK):
        sys.exit(f"{runtime.COMMAND} is not there: make builds it")
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for name, found in (("ONESHOT_MODELS", real_models()), ("ONESHOT_NODE_TESTS", backend_models())):
        if not found:
            print(f"skipped: no models in {name}={os.environ.get(name, '')}")
            count["skipped"] += 1
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Pool() as pool:
        chosen = [t for t in tasks(made.write_all(pathlib.Path(folder))) if all(word in t[0] for word in sys.argv[1:])]
        for done in pool.imap_unordered(perform, chosen):
            for name, outcome, words in done:
                count[outcome] += 1
                if outcome == "failed":
                    print(f"FAILED: {name}\n    {words}", flush=True)
                elif outcome == "skipped":
                    print(f"skipped: {name}: {words}", flush=True)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
