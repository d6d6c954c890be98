"""What must hold for every model. A check raises AssertionError (or CommandFailed) with what is wrong; Skipped when it cannot be made."""
import hashlib
import json
import pathlib
import sys

import numpy as np
import onnx
from protos import array, arrays, bits, replace, same, skeleton, tensors, zero_points
from runtime import CommandFailed, differ, oneshot, outputs, run, session


class Skipped(Exception):
    pass


def read(path):
    return onnx.load(str(path), load_external_data=False)


def valid(path):
    try:
        onnx.checker.check_model(str(path))
        return True
    except Exception as error:
        return str(error) or False


def round_trip(source, work):
    """Reading and writing changes no byte."""
    target = work / source.name
    oneshot("convert", source, target, "--quiet")
    assert target.read_bytes() == source.read_bytes(), "the copy is not identical"


def judge(source, target):
    """The checker and ONNX Runtime accept the target if they accept the source."""
    if valid(source) is True:
        word = valid(target)
        assert word is True, f"onnx.checker: {word}"
    first, second = session(source), session(target)
    assert not (first and not second), "ONNX Runtime loads the source but not the result"
    return first, second


def conversion(source, work, *options):
    """Another storage form holds the same numbers and computes the same; the second form is derived from the first."""
    before, folder, first = read(source), source.parent, None
    numbers, bare = arrays(before, folder), skeleton(before)
    for step, option in enumerate(options):
        target = work / f"step{step}.onnx"
        if option == "--format sparse" and before.ir_version < 6:
            continue                                # sparse initializers came with IR version 6
        oneshot("convert", source, target, *option.split(), "--quiet")
        after = read(target)
        assert skeleton(after) == bare and after.metadata_props == before.metadata_props, f"{option}: something besides the tensors changed"
        now = arrays(after, work)
        assert now.keys() == numbers.keys(), f"{option}: tensors {now.keys() ^ numbers.keys()}"
        for place, values in numbers.items():
            assert same(now[place], values) or (now[place] == values).all(), f"{option}: {place} changed"
        one, two = judge(source, target)
        first = first or (one and outputs(one))
        if first:
            again = run(two, first[0])
            assert again is not None and not differ(first[1], again), f"{option}: ONNX Runtime computes something else"
        source = target


def zeroed_only(before, after, folder, out_folder):
    """{place: array with the changed elements set to zero by NumPy}. Every change must be to zero (of a quantized tensor: to its zero point)."""
    numbers, now, points, changed = arrays(before, folder), arrays(after, out_folder), zero_points(before, folder), {}
    assert now.keys() == numbers.keys(), f"tensors came or went: {now.keys() ^ numbers.keys()}"
    for place, values in numbers.items():
        if same(now[place], values):
            continue
        assert now[place].shape == values.shape and now[place].dtype == values.dtype, f"{place}: shape or type changed"
        mask = bits(now[place]) != bits(values)
        expected = values.copy()
        if values.dtype.kind in "iu" and (point := points.get(place.rsplit("/", 1)[1])) is not None and point.any():
            allowed = set(np.unique(point.astype(np.int64)))
            assert set(np.unique(now[place][mask].astype(np.int64))) <= allowed, f"{place}: changed to something that is not the zero point"
            expected[mask] = now[place][mask]
        else:
            expected[mask] = np.zeros((), values.dtype)
        changed[place] = expected
    return changed


def smallest(weights, count, protected):
    """The mask that NumPy finds: the smallest magnitudes first, ties from the front, protected positions never."""
    order = np.argsort(np.abs(weights), kind="stable")
    mask = np.zeros(weights.size, bool)
    mask[order[~protected[order]][:count]] = True
    return mask


def only_of_channel(zero, index):
    """Whether the element is the only one left along its output channel, whichever of the axes that is."""
    return any((~zero.take(i, axis)).sum() == 1 for axis, i in enumerate(index))


def smallest_first(before, after, place):
    """NumPy's magnitude pruning with the same count of zeros gives the same mask, but for the last weights of channels, which stay."""
    weights, zero = before.reshape(-1).astype(np.float64), after.reshape(-1).astype(np.float64) == 0
    kept = smallest(weights, zero.sum(), np.zeros(weights.size, bool)) & ~zero
    protected = kept & np.array([k and only_of_channel(zero.reshape(after.shape), np.unravel_index(i, after.shape)) for i, k in enumerate(kept)])
    wrong = int((smallest(weights, zero.sum(), protected) != zero).sum())
    assert wrong == 0, f"{place}: {wrong} of {zero.sum()} zeros are not where NumPy puts them"


def pruned(source, work, options, exact=False):
    """Prunes and compares with what NumPy and ONNX Runtime make of the source. exact: also that unstructured masks are NumPy's."""
    target = work / "pruned.onnx"
    oneshot("--model", source, "-o", target, *options.split(), "--quiet")
    before, after = read(source), read(target)
    assert skeleton(after) == skeleton(before), "something besides weights and metadata changed"
    keep, entries = {p.key: p.value for p in before.metadata_props}, {p.key: p.value for p in after.metadata_props}
    assert keep.items() <= entries.items(), "a metadata entry of the source is lost"
    assert entries.get("oneshot.source_sha256") == hashlib.sha256(source.read_bytes()).hexdigest(), "oneshot.source_sha256 is wrong"
    changed = zeroed_only(before, after, source.parent, work)
    if exact:
        dense = dict(tensors(before))
        now = dict(tensors(after))
        for place in (p for p, values in changed.items() if values.dtype.kind not in "iu"):
            smallest_first(array(dense[place], source.parent), array(now[place], work), place)
    first, second = judge(source, target)
    if not changed:
        return
    if not first:
        raise Skipped("ONNX Runtime does not take the source")
    onnx.load_external_data_for_model(before, str(source.parent))
    replace(before, changed)
    (work / "numpy.onnx").write_bytes(before.SerializeToString())
    numpy_session = session(work / "numpy.onnx")
    assert numpy_session, "ONNX Runtime does not load the model that NumPy pruned"
    result = outputs(numpy_session)
    if result is None:
        raise Skipped("no random input runs in ONNX Runtime")
    again = run(second, result[0])
    assert again is not None, "the pruned model does not run"
    word = differ(result[1], again)
    assert not word, f"ONNX Runtime: {word}"


def accuracy(source, work, options, samples, labels, floor):
    """The example's accuracy after pruning, in ONNX Runtime on its held-out samples."""
    target = work / "pruned.onnx"
    oneshot("--model", source, "-o", target, *options.split(), "--quiet")
    s, right, total = session(target), 0, 0
    for line in pathlib.Path(labels).read_text().splitlines():
        name, *digits = line.split()
        scores = s.run(None, dict(np.load(pathlib.Path(samples) / name)))[0]
        right += int((scores.argmax(1) == np.array(digits, int)).sum())
        total += len(digits)
    assert right / total >= floor, f"accuracy {right / total:.4f}, at least {floor} expected"


def benchmark(source, work, *options):
    """`oneshot bench` times ONNX Runtime beside itself, and both compute the same."""
    figures = work / "bench.json"
    oneshot("bench", "--model", source, "--against", "onnxruntime", "--python", sys.executable, "--seconds", "0.1", "--warmup", "0", "--json", figures, *options)
    own = json.loads(figures.read_text())
    other = own["onnxruntime"]
    assert other["max_relative_error"] <= 1e-5, other
    for side in own, other:
        r = side["benchmark_result"]
        assert r["iterations"] >= 5 and 0 < r["25.0%"] <= r["median"] <= r["99.9%"] and side["seconds_to_first_run"] > 0, side
    assert 0 < other["ratio_25"] <= other["ratio_75"] and other["ratio"] > 0 and other["rounds"] >= 5, other
