"""One-node models at the edges of arithmetic: ties, saturation, NaN, casts out of range, empty tensors, odd sizes. Wherever ONNX and ONNX Runtime have an answer."""
import itertools

import numpy as np
from onnx import TensorProto, helper
from operators import I8, I32, I64, KIND, U8, byte, node, normal

F, B, D, H = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.DOUBLE, TensorProto.FLOAT16
KIND.update({np.dtype(np.uint16): TensorProto.UINT16, np.dtype(np.int16): TensorProto.INT16, np.dtype(np.uint32): TensorProto.UINT32,
             np.dtype(np.uint64): TensorProto.UINT64})
NAN, INF = np.nan, np.inf


def plain(op, operands, outputs=(F,), fixed=(), version=21, **attributes):
    return node(op, operands, outputs, fixed, domain="", version=version, **attributes)


def one(value, dtype=np.float32):
    return np.array(value, dtype)


def floats(*values):
    return np.array(values, np.float32)


def longs(*values):
    return np.array(values, np.int64)


def ties():
    x = floats(0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.5, 128.5, -127.5, -128.5, -129.5, 254.5, 255.5, 256.5, 32767.5, 65534.5, 1e9, -1e9, 3e38, -3e38, INF, -INF)
    for dtype in (np.uint8, np.int8, np.uint16, np.int16):
        for zero, step in itertools.product((0, 3), (1, 0.5)):
            yield (f"QuantizeLinear {np.dtype(dtype).name} {zero} {step}", *plain("QuantizeLinear", [x, one(step), one(zero, dtype)], [KIND[np.dtype(dtype)]],
                   fixed=(1, 2)), 0)
        for axis, channels in ((0, 3), (1, 5), (2, 4099)):         # longer than what a thread takes at once
            steps, zeros = np.linspace(0.01, 0.3, channels, dtype=np.float32), np.arange(channels).astype(dtype)
            operands, name = [normal(3, 5, 4099) * 10, steps, zeros], f"{np.dtype(dtype).name} along axis {axis}"
            yield f"QuantizeLinear {name}", *plain("QuantizeLinear", operands, [KIND[np.dtype(dtype)]], fixed=(1, 2), axis=axis), 0
            operands[0] = (operands[0] * 10).astype(np.int32).astype(dtype)
            yield f"DequantizeLinear {name}", *plain("DequantizeLinear", operands, [F], fixed=(1, 2), axis=axis), 0
    for dtype in (np.float32, np.float64, np.float16):
        some = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 1023.5, -0.0, NAN, INF, -INF], dtype)
        for op in ("Round", "Ceil", "Floor", "Sign", "Abs", "Relu", "Neg"):
            yield f"{op} {np.dtype(dtype).name}", *plain(op, [some if op != "Sign" else some[:9]], [KIND[np.dtype(dtype)]]), 0
    yield "DynamicQuantizeLinear of zeros", *plain("DynamicQuantizeLinear", [floats(0, 0, 0)], [U8, F, U8]), 0
    yield "DynamicQuantizeLinear of negative numbers", *plain("DynamicQuantizeLinear", [floats(-3, -1, -0.5, -2.25)], [U8, F, U8]), 0
    yield "DynamicQuantizeLinear of ties", *plain("DynamicQuantizeLinear", [np.arange(0, 25.6, 0.05, np.float32)], [U8, F, U8]), 0


def integers():
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        name, t = np.dtype(dtype).name, KIND[np.dtype(dtype)]
        a, b = np.array([7, -7, 7, -7, 6, -6, 0, 1], dtype), np.array([3, 3, -3, -3, 2, -2, 5, 100], dtype)
        if dtype in (np.int32, np.int64):
            for op in ("Div", "Pow", "Max", "Min"):
                yield f"{op} {name}", *plain(op, [a, np.abs(b) % 9 if op == "Pow" else b], [t]), 0
            for op in ("Add", "Sub", "Mul"):
                edge = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
                yield f"{op} {name} wraps", *plain(op, [edge, np.array([3, 3], dtype)], [t]), 0
            yield f"Pow {name} of float32", *plain("Pow", [a, floats(2, 3, 0.5, 2, -1, -1, 0, 7)], [t]), 0
        for fmod in (0, 1):
            yield f"Mod {name} {fmod}", *plain("Mod", [a, b], [t], fmod=fmod), 0
    yield "Pow float32 of int64", *plain("Pow", [floats(2, -2, 0.5, 0, 3), longs(10, 3, -2, 0, 1)]), 1e-6
    yield "Pow of odd numbers", *plain("Pow", [floats(0, -0.0, -8, 2, NAN, 1, INF, -INF), floats(0, -1, 1 / 3, -1074, 0, NAN, -1, 3)]), 1e-6
    real = floats(5.5, -5.5, 5.5, -5.5, 3, INF, 1), floats(2, 2, -2, -2, 0, 2, INF)
    yield "Mod of floats", *plain("Mod", real, fmod=1), 0
    for dtype, bits in ((np.uint8, 8), (np.uint32, 32), (np.uint64, 64)):
        for direction in ("LEFT", "RIGHT"):
            x, by = np.array([1, 3, 200, 255], dtype), np.array([0, 1, bits - 1, 7], dtype)
            yield f"BitShift {bits} {direction}", *plain("BitShift", [x, by], [KIND[np.dtype(dtype)]], direction=direction), 0


def not_numbers():
    a, b = floats(NAN, 1, NAN, INF, -INF, 0, -0.0, 2), floats(1, NAN, NAN, -INF, INF, -0.0, 0, 3)
    for op in ("Max", "Min"):
        yield f"{op} of NaN", *plain(op, [a, b]), 0
        yield f"{op} of NaN, broadcast", *plain(op, [a[:, None], b]), 0
        yield f"{op} of NaN, float64", *plain(op, [a.astype(np.float64), b.astype(np.float64)], [D]), 0
        yield f"{op} of three", *plain(op, [a, b, floats(5)]), 0
    for dtype in (np.float32, np.float64):
        x, t = np.tile(a.astype(dtype), 3), KIND[np.dtype(dtype)]
        yield f"Clip of NaN {np.dtype(dtype).name}", *plain("Clip", [x, np.array(-1, dtype), np.array(1, dtype)], [t]), 0
        yield f"Clip with limits crossed {np.dtype(dtype).name}", *plain("Clip", [x[np.isfinite(x)], np.array(1, dtype), np.array(-1, dtype)], [t]), 0
    for op in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Exp", "Softplus", "HardSigmoid", "Elu", "Selu", "Celu", "Softsign", "Erf", "Log", "Sqrt", "Reciprocal",
               "HardSwish", "Gelu", "Mish", "ThresholdedRelu"):
        yield f"{op} of NaN and infinity", *plain(op, [np.concatenate([np.tile(a, 3), floats(90, -90, 1e-40, 40, -40)])]), 1e-6
    for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        yield f"{op} of NaN", *plain(op, [a, b], [B]), 0
    rows = np.stack([floats(1, 3, 3, 2), floats(-1, -1, -2, -1), floats(INF, 0, INF, 1)])
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            yield f"{op} of ties {last}", *plain(op, [rows], [I64], axis=1, select_last_index=last), 0
        yield f"{op} of NaN", *plain(op, [np.stack([floats(1, NAN, 3), floats(NAN, 1, 3), floats(3, NAN, 1)])], [I64], axis=1), 0
    for largest in (0, 1):
        yield f"TopK of ties {largest}", *plain("TopK", [rows, longs(3)], [F, I64], largest=largest), 0
        yield f"TopK of none {largest}", *plain("TopK", [rows, longs(0)], [F, I64], largest=largest), 0
    yield "Softmax with -infinity", *plain("Softmax", [np.stack([floats(1, -INF, 2), floats(-INF, 3, -INF)])]), 1e-6
    yield "Softmax of large numbers", *plain("Softmax", [np.stack([floats(1e4, 9.999e3, -1e4), floats(-3e38, 3e38, 0)])]), 1e-6
    yield "LogSoftmax of large numbers", *plain("LogSoftmax", [np.stack([floats(1e4, 9.999e3, -1e4), floats(-3e3, 3e3, 0)])]), 1e-6
    yield "ReduceLogSumExp of large numbers", *plain("ReduceLogSumExp", [np.stack([floats(1e4, 9.999e3), floats(-1e4, -1e4)]), longs(1)]), 1e-6


def casts():
    x = floats(0.5, 1.5, -0.5, -1.5, 127.9, 128, -128.9, -129, 255.9, 256, 300, -1, 32768, 65536, 65504, 65519.9, 65520, 1e5, 2147483520, -2147483648, 448, 464,
               57344, 61440, 1e-8, 6e-8, 3e-5, 1e-40, 0, -0.0, NAN, INF, -INF)
    finite = x[np.isfinite(x)]
    for dtype in (np.float16, np.float64, np.bool_):
        yield f"Cast to {np.dtype(dtype).name}", *plain("Cast", [x], [KIND[np.dtype(dtype)]], to=KIND[np.dtype(dtype)]), 0
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        info = np.iinfo(dtype)
        inside = finite[(finite > info.min - 1) & (finite < float(info.max) + (info.bits < 32))]
        yield f"Cast to {info.dtype.name}", *plain("Cast", [inside], [KIND[np.dtype(dtype)]], to=KIND[np.dtype(dtype)]), 0
        for source in (np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64):
            whole = np.array([0, 1, np.iinfo(source).max, np.iinfo(source).min, 127, np.iinfo(source).max // 2 + 1], source)
            yield f"Cast {np.dtype(source).name} to {info.dtype.name}", *plain("Cast", [whole], [KIND[np.dtype(dtype)]], to=KIND[np.dtype(dtype)]), 0
    for name in ("INT32", "INT64"):
        for source in (np.float32, np.float64):
            t = getattr(TensorProto, name)
            far = np.array([1e10, -1e10, 1e20, -1e20, NAN, INF, -INF], source)
            yield f"Cast {np.dtype(source).name} out of range to {name}", *plain("Cast", [far], [t], to=t), 0
    # No NumPy array holds these: there and back again.
    for name in ("BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"):
        for saturate in (1, 0)[:1 + name.startswith("FLOAT8")]:
            between = x[(x < 61440) | (x > 65536)] if name == "FLOAT8E5M2" else x          # ONNX: infinity, ONNX Runtime: NaN
            yield f"Cast to {name} and back {saturate}", *there_and_back(between, getattr(TensorProto, name), saturate), 0


def there_and_back(x, t, saturate):
    made, inputs = plain("Cast", [x], to=t, saturate=saturate)
    made.graph.node[0].output[0] = "small"
    made.graph.node.append(helper.make_node("Cast", ["small"], ["y0"], to=F))
    return made, inputs


def empty():
    none, cube = np.zeros((0, 3), np.float32), np.zeros((2, 0, 4), np.float32)
    for op in ("ReduceSum", "ReduceProd", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ReduceMax", "ReduceMin"):
        for keep in (0, 1):
            yield f"{op} beside an empty axis {keep}", *plain(op, [none, longs(1)], keepdims=keep), 0
        if op not in ("ReduceMax", "ReduceMin", "ReduceMean"):
            yield f"{op} of an empty axis", *plain(op, [none, longs(0)]), 0
            yield f"{op} of an empty axis of three", *plain(op, [cube, longs(1)]), 0
            yield f"{op} of nothing", *plain(op, [cube]), 0
    yield "Concat of empty ones", *plain("Concat", [none, none], axis=0), 0
    yield "Concat with an empty one", *plain("Concat", [none, normal(2, 3), none, normal(1, 3)], axis=0), 0
    yield "MatMul over nothing", *plain("MatMul", [np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32)]), 0
    yield "MatMul of no rows", *plain("MatMul", [none, normal(3, 4)]), 0
    yield "MatMul of no rows by a weight", *plain("MatMul", [none, normal(3, 4)], fixed=(1,)), 0
    yield "MatMul of no columns", *plain("MatMul", [normal(5, 3), np.zeros((3, 0), np.float32)]), 0
    yield "MatMul in an empty batch", *plain("MatMul", [np.zeros((0, 2, 3), np.float32), normal(3, 4)]), 0
    yield "Gemm over nothing", *plain("Gemm", [np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32), normal(4)]), 0
    yield "Gemm of no rows", *plain("Gemm", [none, normal(3, 4), normal(4)], fixed=(1, 2)), 0
    yield "MatMulInteger of no rows", *plain("MatMulInteger", [byte(0, 5), byte(5, 4)], [I32]), 0
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        yield f"{op} of no rows", *plain(op, [none]), 0
        yield f"{op} of an empty axis", *plain(op, [np.zeros((3, 0), np.float32)]), 0
    yield "Conv of an empty batch", *plain("Conv", [np.zeros((0, 3, 8, 8), np.float32), normal(4, 3, 3, 3)], fixed=(1,)), 0
    yield "ConvTranspose of an empty batch", *plain("ConvTranspose", [np.zeros((0, 3, 8, 8), np.float32), normal(3, 4, 3, 3)], fixed=(1,)), 0
    for op in ("MaxPool", "AveragePool"):
        yield f"{op} of an empty batch", *plain(op, [np.zeros((0, 3, 8, 8), np.float32)], kernel_shape=[2, 2]), 0
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        yield f"{op} of an empty batch", *plain(op, [np.zeros((0, 3, 8, 8), np.float32)]), 0
    for op in ("Relu", "Sigmoid", "Exp", "Identity", "Floor"):
        yield f"{op} of nothing", *plain(op, [none]), 0
    for op in ("Add", "Max", "Sub"):
        yield f"{op} of nothing, broadcast", *plain(op, [none, normal(1, 3)]), 0
    yield "Where of nothing", *plain("Where", [np.zeros((0, 1), bool), none, normal(3)]), 0
    yield "Equal of nothing", *plain("Equal", [none, normal(3)], [B]), 0
    yield "Gather of nothing", *plain("Gather", [normal(5, 3), np.zeros((0, 2), np.int64)]), 0
    yield "Gather in nothing", *plain("Gather", [np.zeros((5, 0), np.float32), longs(1, 2)]), 0
    yield "GatherND of nothing", *plain("GatherND", [normal(5, 3), np.zeros((0, 1), np.int64)]), 0
    yield "GatherElements of nothing", *plain("GatherElements", [normal(5, 3), np.zeros((0, 3), np.int64)]), 0
    yield "ScatterND of nothing", *plain("ScatterND", [normal(5, 3), np.zeros((0, 1), np.int64), np.zeros((0, 3), np.float32)]), 0
    yield "ScatterElements of nothing", *plain("ScatterElements", [normal(5, 3), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32)]), 0
    yield "Slice to nothing", *plain("Slice", [normal(5, 3), longs(4), longs(2), longs(0)]), 0
    yield "Slice of nothing, backwards", *plain("Slice", [none, longs(-1), longs(-9), longs(0), longs(-1)]), 0
    yield "Split of nothing", *plain("Split", [none, longs(1, 2)], [F, F], axis=1), 0
    yield "Split with an empty part", *plain("Split", [normal(4, 3), longs(0, 4)], [F, F], axis=0), 0
    yield "Transpose of nothing", *plain("Transpose", [cube], perm=[2, 0, 1]), 0
    yield "Reshape of nothing", *plain("Reshape", [cube, longs(0, 4, 0)], allowzero=1), 0
    yield "Reshape of nothing, sizes taken over", *plain("Reshape", [none, longs(0, 3, 1)]), 0
    yield "Flatten of nothing", *plain("Flatten", [cube]), 0
    yield "Expand to nothing", *plain("Expand", [normal(1, 3), longs(0, 3)]), 0
    yield "Tile to nothing", *plain("Tile", [normal(2, 3), longs(0, 2)]), 0
    yield "Pad of nothing", *plain("Pad", [none, longs(1, 0, 1, 0)]), 0
    yield "NonZero of nothing", *plain("NonZero", [none], [I64]), 0
    yield "NonZero of zeros", *plain("NonZero", [np.zeros((2, 3), np.float32)], [I64]), 0
    yield "Unique of nothing", *plain("Unique", [np.zeros(0, np.float32)], [F, I64, I64, I64]), 0
    yield "CumSum of nothing", *plain("CumSum", [none, np.array(0, np.int64)]), 0
    yield "TopK in nothing", *plain("TopK", [np.zeros((0, 4), np.float32), longs(2)], [F, I64]), 0
    yield "OneHot of nothing", *plain("OneHot", [np.zeros(0, np.int64), np.array(4, np.int64), floats(0, 1)]), 0
    yield "Compress to nothing", *plain("Compress", [normal(3, 2), np.zeros(3, bool)], axis=0), 0
    yield "Range of nothing", *plain("Range", [one(5, np.int64), one(5, np.int64), one(1, np.int64)], [I64]), 0
    yield "Range backwards", *plain("Range", [one(5), one(1), one(-0.7)]), 1e-6
    yield "ConstantOfShape of nothing", *plain("ConstantOfShape", [longs(0, 3)]), 0
    yield "Einsum over nothing", *plain("Einsum", [np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32)], equation="ij,jk->ik"), 0
    yield "LayerNormalization of no rows", *plain("LayerNormalization", [none, normal(3), normal(3)]), 0
    yield "BatchNormalization of an empty batch", *plain("BatchNormalization", [np.zeros((0, 3, 2), np.float32), *np.abs(normal(4, 3))]), 0
    yield "Resize of an empty batch", *plain("Resize", [np.zeros((0, 3, 2, 2), np.float32), None, floats(1, 1, 2, 2)]), 0
    yield "Cast of nothing", *plain("Cast", [none], [I8], to=I8), 0
    yield "QuantizeLinear of nothing", *plain("QuantizeLinear", [none, one(0.1), one(1, np.uint8)], [U8]), 0
    yield "Trilu of nothing", *plain("Trilu", [cube]), 0
    yield "Shape of nothing", *plain("Shape", [cube], [I64]), 0
    yield "Size of nothing", *plain("Size", [cube], [I64]), 0


def resized():
    image = normal(1, 2, 5, 7)
    sizes = ((1, 1), (1, 7), (3, 4), (5, 7), (9, 8), (10, 14), (13, 20))
    for size in sizes:
        for mode in ("nearest", "linear", "cubic"):
            for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
                yield (f"Resize {mode} {way} {size}", *plain("Resize", [image, None, None, longs(1, 2, *size)], fixed=(3,), mode=mode,
                       coordinate_transformation_mode=way), 1e-5)
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for way in ("half_pixel", "asymmetric", "pytorch_half_pixel"):
            for factor in (0.5, 0.6, 1.5, 2, 2.5):
                yield (f"Resize nearest {rounding} {way} {factor}", *plain("Resize", [image, None, floats(1, 1, factor, factor)], fixed=(2,), mode="nearest",
                       nearest_mode=rounding, coordinate_transformation_mode=way), 0)
    for mode in ("linear", "cubic"):
        for factor in (0.3, 0.5, 0.8, 1.7):
            yield f"Resize {mode} antialias {factor}", *plain("Resize", [image, None, floats(1, 1, factor, factor)], fixed=(2,), mode=mode, antialias=1), 1e-5
        yield (f"Resize {mode} cropped", *plain("Resize", [image, floats(0, 0, 0.2, -0.3, 1, 1, 0.7, 1.4), None, longs(1, 2, 4, 9)], fixed=(1, 3), mode=mode,
               coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.5), 1e-5)
    yield "Resize cubic, outside excluded", *plain("Resize", [image, None, floats(1, 1, 0.7, 2.2)], fixed=(2,), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5), 1e-5
    for policy in ("not_larger", "not_smaller"):
        yield (f"Resize {policy}", *plain("Resize", [image, None, None, longs(8, 9)], fixed=(3,), mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy), 1e-5)
    yield "Resize of volumes", *plain("Resize", [normal(1, 2, 3, 4, 5), None, floats(1, 1, 2, 1.5, 0.6)], fixed=(2,), mode="linear"), 1e-5
    yield "Resize of lines", *plain("Resize", [normal(2, 3, 9), None, floats(1, 1, 1.9)], fixed=(2,), mode="linear"), 1e-5
    yield "Resize of bytes", *plain("Resize", [byte(1, 2, 5, 7), None, floats(1, 1, 2, 2)], [U8], fixed=(2,), mode="nearest"), 0


def older():
    """What models of earlier opsets have."""
    x = normal(2, 3)
    for version, mask in ((7, F), (10, B), (13, B)):
        yield f"Dropout of opset {version} with its mask", *plain("Dropout", [x], [F, mask], version=version, **({"ratio": 0.3} if version < 12 else {})), 0


def cases():
    """(title, model, inputs, tolerance)"""
    for family in (ties, integers, not_numbers, casts, empty, resized, older):
        yield from family()
