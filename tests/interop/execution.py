"""`oneshot run` against ONNX Runtime on the same model and inputs."""
import numpy as np
import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from runtime import feeds, oneshot, session


def to_arrays(value):
    """An output as a list of arrays: sequences and maps are taken apart."""
    if isinstance(value, list):
        return [a for v in value for a in to_arrays(v)]
    if isinstance(value, dict):
        return [np.array(list(value.keys())), np.array(list(value.values()))]
    return [np.asarray(value)]


def our_outputs(source, work, inputs, names):
    """Outputs of `oneshot run` for one sample, in the order of names."""
    data, out = work / "data", work / "out"
    data.mkdir(exist_ok=True)
    np.savez(data / "input.npz", **inputs)
    oneshot("run", "--model", source, "--data", data, "--out", out, "--quiet")
    with np.load(out / "out-0000.npz") as file:
        return [file[name] for name in names]


def apart(ours, theirs, tolerance):
    """What is wrong with our array, in words, or None. Floats: largest error relative to the largest magnitude; integers and strings: equal. A tolerance of
    0 asks for equal bits, a negative one allows so many quanta."""
    if theirs.dtype.kind == "O":
        theirs = theirs.astype(str)
    if ours.shape != theirs.shape or ours.dtype.kind != theirs.dtype.kind:
        return f"{ours.dtype}{ours.shape}, expected {theirs.dtype}{theirs.shape}"
    if theirs.dtype.kind not in "f":
        if tolerance < 0:
            worst = int(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max(initial=0))
            return f"{worst} quanta apart" if worst > -tolerance else None
        wrong = int((ours != theirs).sum())
        return f"{wrong} of {theirs.size} elements differ" if wrong else None
    if not theirs.size:
        return None
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not (np.isfinite(a) == np.isfinite(b)).all() or not (np.isnan(a) == np.isnan(b)).all():
        return "not finite in other places"
    infinite = np.isinf(b)
    if (a[infinite] != b[infinite]).any():
        return "infinities of other signs"
    finite = np.isfinite(b)
    error = np.abs(a[finite] - b[finite]).max(initial=0) / max(np.abs(b[finite]).max(initial=0), 1e-30)
    return f"relative error {error:.2e}, at most {tolerance:.0e} allowed" if error > tolerance else None


def same(source, work, inputs, tolerance):
    """The command's outputs are ONNX Runtime's."""
    judge = session(source)
    assert judge, "ONNX Runtime does not load the model"
    names = [o.name for o in judge.get_outputs()]
    theirs = judge.run(None, inputs)
    for name, a, b in zip(names, our_outputs(source, work, inputs, names), theirs, strict=True):
        word = apart(a, np.asarray(b), tolerance)
        assert not word, f"{name}: {word}"


def case(source, work, model, inputs, tolerance):
    """The same for a model made here."""
    path = work / "case.onnx"
    onnx.save(model, str(path))
    same(path, work, inputs, tolerance)


def random_inputs(source, work, tolerance):
    """The same for a model as it is, with random inputs."""
    same(source, work, feeds(session(source), 1, np.random.default_rng(1)), tolerance)


def in_halves(source, work, tolerance):
    """A model converted to float16 by ONNX Runtime's tool, with random inputs."""
    path = work / "halves.onnx"
    onnx.save(convert_float_to_float16(onnx.load(str(source))), str(path))
    random_inputs(path, work, tolerance)


def sizes(source, work, sizes, tolerance):
    """One command, samples of several sizes: those of the inputs that the model leaves open."""
    judge, rng = session(source), np.random.default_rng(1)
    data, out = work / "data", work / "out"
    data.mkdir(exist_ok=True)
    samples = [feeds(judge, size, rng) for size in sizes]
    for i, sample in enumerate(samples):
        np.savez(data / f"input-{i:02}.npz", **sample)
    oneshot("run", "--model", source, "--data", data, "--out", out, "--quiet")
    for i, sample in enumerate(samples):
        with np.load(out / f"out-{i:04}.npz") as file:
            for name, b in zip((o.name for o in judge.get_outputs()), judge.run(None, sample), strict=True):
                word = apart(file[name], np.asarray(b), tolerance)
                assert not word, f"{name} of size {sizes[i]}: {word}"
