"""The command under test, and ONNX Runtime as the judge of what a model computes."""
import os
import subprocess

import numpy as np
import onnxruntime

COMMAND = os.environ.get("ONESHOT", "build/oneshot")
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
         "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_, "tensor(int16)": np.int16, "tensor(uint16)": np.uint16}
onnxruntime.set_default_logger_severity(4)


class CommandFailed(Exception):
    pass


def oneshot(*arguments):
    """Runs the command; a non-zero exit is an exception with its words."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise CommandFailed(f"exit code {done.returncode}: {' '.join(map(str, arguments))}\n{done.stderr.strip()}")
    return done.stdout


def session(path):
    """None when ONNX Runtime does not take the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:                               # its exceptions have no common base of their own
        return None


def feeds(s, free, rng):
    """Random inputs; free is the size of symbolic dimensions other than the first. None for inputs that are no tensors of a common type."""
    out = {}
    for x in s.get_inputs():
        if x.type not in TYPES:
            return None
        dtype = TYPES[x.type]
        # The batch is the first dimension, but of a recurrent state it is the second.
        shape = [d if isinstance(d, int) and d >= 0 else (1 if i == 0 or x.name == "state" else free) for i, d in enumerate(x.shape)]
        if dtype == np.bool_:
            out[x.name] = rng.integers(0, 2, shape).astype(dtype)
        elif np.issubdtype(dtype, np.integer):
            out[x.name] = np.asarray(16000 if x.name == "sr" else rng.integers(0, 100, shape), dtype)
        else:
            out[x.name] = np.asarray(rng.standard_normal(shape), dtype)
    return out


def run(s, inputs):
    """Outputs as a list, or None where the model does not accept these inputs."""
    try:
        return s.run(None, inputs)
    except Exception:
        return None


def outputs(s, seed=1):
    """(inputs, outputs) for the first size of free dimensions that the model accepts, or None."""
    for free in (1, 64, 128, 576, 2):
        inputs = feeds(s, free, np.random.default_rng(seed))
        result = run(s, inputs) if inputs is not None else None
        if result is not None:
            return inputs, result
    return None


def differ(a, b):
    """Where two lists of outputs differ, in words; None if they are equal to the bit."""
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            if x.dtype != y.dtype or x.shape != y.shape:
                return f"output {i}: {x.dtype}{x.shape} and {y.dtype}{y.shape}"
            if x.tobytes() != y.tobytes() and not (x == y).all():
                return f"output {i}: largest difference {np.nanmax(np.abs(x.astype(np.float64) - y.astype(np.float64)))}"
        elif str(x) != str(y):
            return f"output {i} differs"
    return None
