"""One-node models at the sizes where loops change: strips of columns, pieces of lines, odd tails, every width of element."""
import itertools

import numpy as np
from edges import plain
from operators import I64, KIND, normal


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


def cases():
    """(title, model, inputs, tolerance)"""
    for family in (reduced,):
        yield from family()
