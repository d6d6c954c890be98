#!/usr/bin/env python3
"""The job with onnxsim's pruning.
    prune_onnxsim.py IN.onnx OUT.onnx SPARSITY
"""
import sys

import onnx
import onnxsim

if __name__ == "__main__":
    onnx.save(onnxsim.apply_magnitude_pruning(sys.argv[1], sparsity=float(sys.argv[3])), sys.argv[2])
