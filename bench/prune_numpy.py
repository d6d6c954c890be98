#!/usr/bin/env python3
"""The job as a script that a user of NumPy and onnx would write: each layer but the first and the last loses its smallest weights.
    prune_numpy.py IN.onnx OUT.onnx SPARSITY
"""
import sys

import numpy as np
import onnx
from onnx import numpy_helper


def main(source, target, sparsity):
    model = onnx.load(source)
    used = [name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul") for name in node.input[1:2]]
    by_name = {t.name: t for t in model.graph.initializer}
    for name in [n for n in used if n in by_name][1:-1]:
        weight = numpy_helper.to_array(by_name[name]).copy()
        flat = weight.reshape(-1)
        flat[np.argpartition(np.abs(flat), int(sparsity * flat.size))[:int(sparsity * flat.size)]] = 0
        by_name[name].CopyFrom(numpy_helper.from_array(weight, name))
    onnx.save(model, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
