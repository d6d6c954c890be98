"""One-node models at the sizes where loops change: strips of columns, pieces of lines, odd tails, every width of element."""
import itertools

import numpy as np
from edges import D, F, floats, plain
from operators import I64, KIND, normal, rng


def along(dtype):
    """(axis, tensor) for each axis, with more elements along or behind it than a strip or a piece has; equal numbers abound."""
    for axis, shape in enumerate(((7, 5, 131), (3, 530, 2), (3, 5, 1031))):
        yield axis, (np.round(normal(*shape) * 8) / 8).astype(dtype)


def reduced():
    for op, last in itertools.product(("ArgMax", "ArgMin"), (0, 1)):
        for dtype in (np.float32, np.int32):
            for axis, x in along(dtype):
                yield f"{op} {np.dtype(dtype).name} {axis} {last}", *plain(op, [x], [I64], axis=axis, select_last_index=last), 0
    x = normal(3, 600)
    x[0, ::3] = x[2, ::5] = np.nan
    yield "ArgMax of NaN down columns", *plain("ArgMax", [x], [I64], axis=0), 0
    for exclusive, reverse, dtype in itertools.product((0, 1), (0, 1), (np.float32, np.float64, np.int32, np.int64)):
        for axis, x in along(dtype):
            yield (f"CumSum {np.dtype(dtype).name} {axis} {exclusive} {reverse}", *plain("CumSum", [x, np.array(axis, np.int64)], [KIND[np.dtype(dtype)]], fixed=(1,),
                   exclusive=exclusive, reverse=reverse), 1e-6)


def chosen():
    for dtype, largest, k in itertools.product((np.float32, np.float64, np.int64, np.int32), (0, 1), (1, 3, 100)):
        for axis, x in along(dtype):
            if k <= x.shape[axis]:
                title = f"TopK {np.dtype(dtype).name} {largest} {k} of {x.shape[axis]}"
                yield title, *plain("TopK", [x, np.array([k], np.int64)], [KIND[np.dtype(dtype)], I64], fixed=(1,), axis=axis, largest=largest), 0
    x = normal(4, 700)
    x[0, ::2], x[1, ::9], x[2, 5::7], x[3, 600:] = 0, -0.0, np.inf, -np.inf
    for k, largest in itertools.product((1, 20, 400, 700), (0, 1)):
        yield f"TopK of zeros and infinities {k} {largest}", *plain("TopK", [x, np.array([k], np.int64)], [F, I64], fixed=(1,), largest=largest), 0


def indexed():
    for dtype, width in itertools.product((np.uint8, np.float16, np.float32, np.int64), (np.int32, np.int64)):
        for axis, x in along(dtype):
            title, kind = f"{np.dtype(dtype).name} by {np.dtype(width).name} {axis}", [KIND[np.dtype(dtype)]]
            n = x.shape[axis]
            places = np.stack([rng.permutation(n) for _ in range(x.size // n)]).reshape(*np.delete(x.shape, axis), n)
            index = np.moveaxis(places - n * (places % 3 == 0), -1, axis)[:, : x.shape[1] - 1].astype(width)
            yield f"GatherElements {title}", *plain("GatherElements", [x, index], kind, axis=axis), 0
            yield f"ScatterElements {title}", *plain("ScatterElements", [x, index, x[:, :-1][::-1].copy()], kind, axis=axis), 0
    x = normal(3, 40, 50)
    for reduction in ("add", "mul", "max", "min"):
        index = rng.integers(-40, 40, (3, 40, 50))
        yield f"ScatterElements {reduction}", *plain("ScatterElements", [x, index, normal(3, 40, 50)], axis=1, reduction=reduction), 1e-5
    for depth, batch in ((1, 0), (2, 0), (3, 0), (1, 1), (2, 1)):
        rows = rng.integers(-3, 3, (3, 700, depth))
        yield f"GatherND {depth} {batch}", *plain("GatherND", [x[:, :, :20].copy(), rows], batch_dims=batch), 0
    for count in (0, 3, 600):
        rows = np.stack([rng.permutation(40)[: count % 41], rng.integers(-3, 0, count % 41)], 1)[:, ::-1].copy()
        yield f"ScatterND {count}", *plain("ScatterND", [normal(3, 40, 600), rows, normal(count % 41, 600)]), 0
    for axis in (-1, 0, 1):
        yield f"OneHot {axis}", *plain("OneHot", [rng.integers(-12, 12, (5, 7)), np.array(9, np.int64), floats(0.5, 2)], axis=axis), 0
    for upper, k, dtype in itertools.product((0, 1), (-20, -3, 0, 2, 20), (np.float32, np.int64)):
        yield (f"Trilu {upper} {k} {np.dtype(dtype).name}", *plain("Trilu", [(normal(2, 7, 9) * 9).astype(dtype), np.array(k, np.int64)], [KIND[np.dtype(dtype)]],
               upper=upper), 0)


def moved():
    for dtype in (np.uint8, np.float16, np.float32, np.int64):
        kind = [KIND[np.dtype(dtype)]]
        for shape, perm in (((70, 130), (1, 0)), ((2, 3, 1500), (0, 2, 1)), ((2, 1500, 3), (0, 2, 1)), ((5, 70, 66), (2, 0, 1)), ((3, 4, 5, 6), (3, 2, 1, 0)),
                            ((2, 9, 4, 7, 5), (0, 2, 4, 1, 3)), ((300, 2, 2), (2, 1, 0))):
            x = (normal(*shape) * 99).astype(dtype)
            yield f"Transpose {np.dtype(dtype).name} {shape} {perm}", *plain("Transpose", [x], kind, perm=perm), 0
    x = normal(2, 12, 34, 66)
    for size in (2, 1):
        yield f"SpaceToDepth {size}", *plain("SpaceToDepth", [x], blocksize=size), 0
        for mode in ("DCR", "CRD"):
            yield f"DepthToSpace {size} {mode}", *plain("DepthToSpace", [x], blocksize=size, mode=mode), 0
    for dtype, mode in itertools.product((np.uint8, np.float32, np.int64), ("constant", "reflect", "edge", "wrap")):
        for shape, pads in (((9,), (2, 3)), ((5, 40), (1, 3, 2, 0)), ((2, 3, 20, 30), (0, 1, 3, 2, 1, 0, 1, 4)), ((2, 3, 20, 30), (0, 0, -1, 2, 0, 0, 3, -4))):
            if mode == "constant" or min(pads) >= 0:
                operands = [(normal(*shape) * 99).astype(dtype), np.array(pads, np.int64), np.array(7, dtype)]
                yield f"Pad {mode} {np.dtype(dtype).name} {pads}", *plain("Pad", operands, [KIND[np.dtype(dtype)]], fixed=(1,), mode=mode), 0
    for dtype in (np.uint8, np.float32, np.int64):
        for shape, to in (((3, 1), (3, 70)), ((1, 70), (5, 70)), ((2, 1, 5, 1), (2, 9, 5, 33)), ((1,), (7, 8))):
            x, kind = (normal(*shape) * 99).astype(dtype), [KIND[np.dtype(dtype)]]
            yield f"Expand {np.dtype(dtype).name} {shape} {to}", *plain("Expand", [x, np.array(to, np.int64)], kind), 0
            repeats = np.arange(2, 2 + len(shape))
            yield f"Tile {np.dtype(dtype).name} {shape}", *plain("Tile", [x, repeats], kind), 0


def transformed():
    for n in (1, 2, 3, 4, 7, 12, 16, 30, 49, 400, 512, 1001):
        for parts, inverse in ((1, 0), (2, 0), (2, 1)):
            yield f"DFT of {n} points {parts} {inverse}", *plain("DFT", [normal(2, n, parts).astype(np.float64)], [D], version=17, axis=1, inverse=inverse), 1e-7
        yield f"DFT of {n} points between others", *plain("DFT", [normal(2, n, 3, 2).astype(np.float64)], [D], version=17, axis=1), 1e-7
        yield f"DFT of half of {n} points", *plain("DFT", [normal(2, n, 1).astype(np.float64)], [D], version=17, axis=1, onesided=1), 1e-7
    for length in (5, 16, 40):
        yield f"DFT of 16 points as {length}", *plain("DFT", [normal(2, 16, 2), np.array(length, np.int64)], fixed=(1,), version=17, axis=1), 1e-5
    for n, step, dtype, half in itertools.product((16, 60, 25), (1, 7, 40), (np.float32, np.float64), (0, 1)):
        operands = [normal(2, 200, 1).astype(dtype), np.array(step, np.int64), np.hanning(n).astype(dtype), np.array(n, np.int64)]
        yield (f"STFT {n} {step} {np.dtype(dtype).name} {half}", *plain("STFT", operands, [KIND[np.dtype(dtype)]], fixed=(1, 2, 3), version=17, onesided=half),
               3e-5 if dtype == np.float32 else 1e-9)
    image = normal(2, 3, 33, 65)
    for mode, size, way in itertools.product(("linear", "cubic"), ((66, 130), (16, 130), (66, 32), (17, 33)), ("half_pixel", "align_corners")):
        yield (f"Resize {mode} {size} {way} of an image", *plain("Resize", [image, None, None, np.array((2, 3, *size), np.int64)], fixed=(3,), mode=mode,
               coordinate_transformation_mode=way), 2e-5)
    yield "Resize by scales that come with the data", *plain("Resize", [image, None, floats(1, 1, 2, 0.5)], mode="linear"), 1e-5


def powers():
    x = floats(-0.0, 0, -2, 3, np.nan, np.inf, -np.inf, 1e-30, *normal(700))
    for exponent in (2, 3, 1, 0):
        yield f"Pow of one exponent {exponent}", *plain("Pow", [x, floats(exponent)]), 1e-6
        yield f"Pow of exponents {exponent}", *plain("Pow", [x, np.full(x.shape, exponent, np.float32)]), 1e-6


def sampled():
    for mode, padding, align in itertools.product(("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)):
        x, grid = normal(2, 3, 9, 14), normal(2, 11, 13, 2)
        yield (f"GridSample {mode} {padding} {align}", *plain("GridSample", [x, grid], version=20, mode=mode, padding_mode=padding, align_corners=align), 1e-5)


def transposed_convolutions():
    for stride, kernel, group in itertools.product(((1, 1), (2, 2), (1, 3), (3, 2)), ((1, 1), (2, 3), (4, 4)), (1, 2, 6)):
        for dilation, pads, more in (((1, 1), (0, 0, 0, 0), (0, 0)), ((2, 2), (1, 0, 0, 2), (0, 0)), ((1, 1), (2, 1, 1, 3), (stride[0] - 1, stride[1] - 1))):
            x, w, b = normal(2, 6, 9, 37), normal(6, 12 // group, *kernel), normal(12)
            yield (f"ConvTranspose {stride} {kernel} {group} {pads}", *plain("ConvTranspose", [x, w, b], fixed=(1, 2), strides=stride, dilations=dilation, pads=pads,
                   output_padding=more, group=group), 1e-5)
    for group in (1, 2, 4):
        yield f"ConvTranspose of lines {group}", *plain("ConvTranspose", [normal(2, 4, 50), normal(4, 8, 16)], fixed=(1,), strides=[8], pads=[4, 4], group=group), 1e-5


def cases():
    """(title, model, inputs, tolerance)"""
    for family in (reduced, chosen, indexed, moved, transformed, sampled, transposed_convolutions, powers):
        yield from family()
