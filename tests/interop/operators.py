"""One-node models of operators that ONNX's node tests do not cover: com.microsoft's, and quantized ones whose rounding is to be ONNX Runtime's."""
import itertools
import pathlib

import numpy as np
from made import F, model
from onnx import TensorProto, helper, numpy_helper

U8, I8, I32, I64 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64
KIND = {np.dtype(np.float32): F, np.dtype(np.uint8): U8, np.dtype(np.int8): I8, np.dtype(np.int32): I32, np.dtype(np.int64): I64, np.dtype(np.bool_): TensorProto.BOOL,
        np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.float64): TensorProto.DOUBLE}
MS, ML = "com.microsoft", "ai.onnx.ml"
rng = np.random.default_rng(11)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def byte(*shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def weights(*shape):
    """int8 to be multiplied by bytes. Without VNNI ONNX Runtime adds two such products in 16 bits, where they saturate: weights have 7 bits then."""
    w = byte(*shape, dtype=np.int8)
    return w if "vnni" in pathlib.Path("/proc/cpuinfo").read_text() else w // 2


def node(op, operands, outputs=(F,), fixed=(), domain=MS, version=21, **attributes):
    """(model, inputs): operands None are left out, those whose number stands in `fixed` are constants. Outputs are types; None: left out."""
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(operands)]
    out = [f"y{i}" if t is not None else "" for i, t in enumerate(outputs)]
    inputs = {n: v for i, (n, v) in enumerate(zip(names, operands)) if v is not None and i not in fixed}
    constants = [numpy_helper.from_array(operands[i], names[i]) for i in fixed if operands[i] is not None]
    made = model(op, [helper.make_node(op, names, out, "it", domain=domain, **attributes)],
                 [helper.make_tensor_value_info(n, KIND[v.dtype], v.shape) for n, v in inputs.items()],
                 [helper.make_tensor_value_info(n, t, None) for n, t in zip(out, outputs) if t is not None], constants,
                 opset=version, ir_version=10, domains=[domain or MS])
    return made, inputs


def fused():
    x, w, b, z = normal(2, 6, 9, 9), normal(8, 6, 3, 3), normal(8), normal(2, 8, 9, 9)
    for name, p in (("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 1.0]), ("HardSigmoid", [0.3, 0.4])):
        yield f"FusedConv {name}", *node("FusedConv", [x, w, b], fixed=(1, 2), pads=[1] * 4, activation=name,
                                          **({"activation_params": p} if p else {})), 1e-5
    yield "FusedConv with a sum", *node("FusedConv", [x, w, b, z], fixed=(1, 2), pads=[1] * 4, activation="Relu"), 1e-5
    for a, b_ in ((0, 0), (0, 1), (1, 0), (1, 1)):
        yield f"FusedGemm {a} {b_}", *node("FusedGemm", [normal(*(7, 5)[::1 - 2 * a]), normal(*(5, 4)[::1 - 2 * b_]), normal(4)], transA=a, transB=b_,
                                           activation="LeakyRelu", activation_alpha=0.3, alpha=0.5), 1e-5
        yield f"FusedMatMul {a} {b_}", *node("FusedMatMul", [normal(3, 2, *(7, 5)[::1 - 2 * a]), normal(3, 2, *(5, 4)[::1 - 2 * b_])], transA=a, transB=b_,
                                             alpha=0.25), 1e-5
    for a, b_ in ((0, 0), (0, 1), (1, 0), (1, 1)):                  # axis 0 behind the leading ones
        spread = [normal(*((7, 3, 5), (5, 3, 7))[a]), normal(*((5, 3, 4), (4, 3, 5))[b_])]
        yield f"FusedMatMul spread {a} {b_}", *node("FusedMatMul", spread, transBatchA=1, transBatchB=1, transA=a, transB=b_), 1e-5
    yield "FusedMatMul of a weight", *node("FusedMatMul", [normal(3, 7, 5), normal(4, 5)], fixed=(1,), transB=1), 1e-5
    yield "BiasGelu", *node("BiasGelu", [normal(3, 4, 32), normal(32)]), 1e-5
    yield "Gelu", *node("Gelu", [normal(3, 40)]), 1e-5
    yield "QuickGelu", *node("QuickGelu", [normal(3, 40)], alpha=1.5), 1e-5
    yield "FastGelu", *node("FastGelu", [normal(3, 40)]), 1e-5
    yield "FastGelu with a bias", *node("FastGelu", [normal(3, 40), normal(40)]), 1e-5


def norms():
    x, skip, g, b, bias = normal(2, 5, 48), normal(2, 5, 48), normal(48), normal(48), normal(48)
    yield "SkipLayerNormalization", *node("SkipLayerNormalization", [x, skip, g, b, bias], [F, None, None, F], epsilon=1e-5), 1e-5
    yield "SkipLayerNormalization without beta", *node("SkipLayerNormalization", [x, skip, g]), 1e-5
    yield "SkipLayerNormalization with one skip for all", *node("SkipLayerNormalization", [x, skip[:1], g, b], epsilon=1e-5), 1e-5
    yield "SkipSimplifiedLayerNormalization", *node("SkipSimplifiedLayerNormalization", [x, skip, g, bias], [F, None, None, F], epsilon=1e-6), 1e-5
    yield "SimplifiedLayerNormalization", *node("SimplifiedLayerNormalization", [x, g], domain="", axis=-1, epsilon=1e-6), 1e-5
    ids, kinds = rng.integers(0, 30, (2, 7)).astype(np.int32), rng.integers(0, 2, (2, 7)).astype(np.int32)
    mask = (np.arange(7) < np.array([[7], [4]])).astype(np.int32)
    tables = [normal(30, 24), normal(12, 24), normal(2, 24), normal(24), normal(24)]
    yield "EmbedLayerNormalization", *node("EmbedLayerNormalization", [ids, kinds, *tables, mask], [F, I32, F], fixed=range(2, 7), epsilon=1e-5), 1e-5
    alone = [ids, None, tables[0], tables[1], None, *tables[3:]]
    yield "EmbedLayerNormalization without segments", *node("EmbedLayerNormalization", alone, [F, I32], fixed=(2, 3, 5, 6)), 1e-5
    positions = rng.integers(0, 12, (2, 7)).astype(np.int32)
    yield "EmbedLayerNormalization of positions", *node("EmbedLayerNormalization", [ids, kinds, *tables, mask, positions], [F, I32], fixed=range(2, 7)), 1e-5


def scale(v):
    return np.float32(v)


def quantized():
    for dtype in (np.uint8, np.int8):
        zero, name, t = (lambda v: np.array(v, dtype)), np.dtype(dtype).name, KIND[np.dtype(dtype)]
        a, b = byte(3, 40, 50, dtype=dtype), byte(3, 40, 50, dtype=dtype)
        pair = [a, scale(0.0217), zero(7), b, scale(0.0131), zero(11), scale(0.0299), zero(5)]
        for op in ("QLinearAdd", "QLinearMul"):
            yield f"{op} {name}", *node(op, pair, [t], fixed=(1, 2, 4, 5, 6, 7)), 0
            yield f"{op} {name} of a row", *node(op, [*pair[:3], b[0, :1], *pair[4:]], [t], fixed=(1, 2, 4, 5, 6, 7)), 0
            yield f"{op} {name} of one", *node(op, [*pair[:3], b[0, 0, :1], *pair[4:]], [t], fixed=(1, 2, 4, 5, 6, 7)), 0
        image = byte(2, 8, 13, 11, dtype=dtype)
        yield f"QLinearSigmoid {name}", *node("QLinearSigmoid", [a, scale(0.05), zero(3), scale(1 / 256), zero(0)], [t], fixed=range(1, 5)), 0
        yield f"QLinearLeakyRelu {name}", *node("QLinearLeakyRelu", [a, scale(0.05), zero(3), scale(0.04), zero(20)], [t], fixed=range(1, 5), alpha=0.1), 0
        yield f"QLinearGlobalAveragePool {name}", *node("QLinearGlobalAveragePool", [image, scale(0.05), zero(3), scale(0.04), zero(20)], [t], fixed=range(1, 5)), 0
        yield f"QLinearAveragePool {name}", *node("QLinearAveragePool", [image, scale(0.05), zero(3), scale(0.04), zero(20)], [t], fixed=range(1, 5), kernel_shape=[3, 3],
                                                  pads=[1] * 4, strides=[2, 2]), -1
        parts = [scale(0.04), zero(20), a, scale(0.05), zero(3), b, scale(0.04), zero(20)]
        yield f"QLinearConcat {name}", *node("QLinearConcat", parts, [t], fixed=(0, 1, 3, 4, 6, 7), axis=1), 0
        yield f"QLinearSoftmax {name}", *node("QLinearSoftmax", [a, scale(0.05), zero(3), scale(1 / 256), zero(0)], [t], fixed=range(1, 5), opset=13, axis=-1), -1
        yield f"QLinearWhere {name}", *node("QLinearWhere", [a > zero(9), a, scale(0.05), zero(3), b, scale(0.03), zero(2), scale(0.04), zero(20)], [t],
                                            fixed=(2, 3, 5, 6, 7, 8)), 0
        w, bias = weights(12, 8, 3, 3), rng.integers(-9999, 9999, 12).astype(np.int32)
        per_channel = (rng.random(12).astype(np.float32) + 0.5) / 100
        conv = [image, scale(0.05), zero(3), w, per_channel, np.zeros(12, np.int8), scale(1.37), zero(20), bias]
        yield f"QLinearConv {name}", *node("QLinearConv", conv, [t], fixed=range(1, 9), domain="", pads=[1] * 4), 0
        depthwise = [image, scale(0.05), zero(3), weights(8, 1, 3, 3), per_channel[:8], np.zeros(8, np.int8), scale(0.31), zero(20), bias[:8]]
        yield f"QLinearConv depthwise {name}", *node("QLinearConv", depthwise, [t], fixed=range(1, 9), domain="", pads=[1] * 4, group=8), 0
        m, k = byte(9, 33, dtype=dtype), weights(33, 14)
        product = [m, scale(0.05), zero(3), k, scale(0.01), np.array(0, np.int8), scale(0.61), zero(20)]
        yield f"QLinearMatMul {name}", *node("QLinearMatMul", product, [t], fixed=range(1, 8), domain=""), 0
        columns = [*product[:4], per_channel[[0] * 14] * np.arange(1, 15, dtype=np.float32), np.zeros(14, np.int8), *product[6:]]
        yield f"QLinearMatMul per column {name}", *node("QLinearMatMul", columns, [t], fixed=range(1, 8), domain=""), 0
        c = rng.integers(-9999, 9999, 14).astype(np.int32)
        yield f"QGemm {name}", *node("QGemm", [*product[:6], c, *product[6:]], [t], fixed=range(1, 9)), 0
        yield f"QGemm to float {name}", *node("QGemm", [m, scale(0.05), zero(3), k.T.copy(), columns[4], columns[5], c], [F], fixed=range(1, 7), transB=1), 0
        yield f"QuantizeLinear {name}", *node("QuantizeLinear", [normal(40, 50) * 4, scale(0.0217), zero(7)], [t], fixed=(1, 2), domain=""), 0
        yield f"DequantizeLinear {name}", *node("DequantizeLinear", [a, scale(0.0217), zero(7)], [F], fixed=(1, 2), domain=""), 0


def products():
    x, w, w_scale = normal(2, 9, 33) * 3, weights(33, 14), (rng.random(14).astype(np.float32) + 0.5) / 100
    yield "DynamicQuantizeLinear", *node("DynamicQuantizeLinear", [x], [U8, F, U8], domain=""), 0
    yield "DynamicQuantizeMatMul", *node("DynamicQuantizeMatMul", [x, w, w_scale, None, normal(14)], fixed=range(1, 5)), 1e-6
    yield "DynamicQuantizeMatMul, one scale", *node("DynamicQuantizeMatMul", [x, w, w_scale[:1], np.array([4], np.int8)], fixed=range(1, 4)), 1e-6
    a = byte(2, 9, 33)
    yield "MatMulIntegerToFloat", *node("MatMulIntegerToFloat", [a, w, scale(0.03), w_scale, np.uint8(9), None, normal(14)], fixed=range(1, 7)), 1e-6
    yield "MatMulInteger", *node("MatMulInteger", [a, w, np.uint8(9), np.int8(0)], [I32], fixed=range(1, 4), domain=""), 0
    image = byte(2, 8, 13, 11)
    yield "ConvInteger", *node("ConvInteger", [image, byte(12, 8, 3, 3), np.uint8(9), np.uint8(101)], [I32], fixed=range(1, 4), domain="", pads=[1] * 4), 0


def packed_weights():
    x, bias = normal(3, 5, 80), normal(24)
    for bits in (4, 8):
        q, scales, zeros = byte(24, 3, 32 * bits // 8), normal(24 * 3) / 20, byte(24 * ((3 * bits + 7) // 8))
        sizes = {"K": 80, "N": 24, "bits": bits, "block_size": 32}
        yield f"MatMulNBits {bits}", *node("MatMulNBits", [x, q, scales], fixed=(1, 2), **sizes), 1e-5
        yield f"MatMulNBits {bits} with zero points and a bias", *node("MatMulNBits", [x, q, scales, zeros, None, bias], fixed=(1, 2, 3, 5), **sizes), 1e-5


def packed_tables():
    ids, scales = rng.integers(0, 30, (2, 7)), normal(30, 3) / 20
    for bits, zeros in ((4, None), (4, byte(30, 2)), (8, None), (8, byte(30, 3))):
        table = byte(30, 96 * bits // 8)
        more = {"bits": bits, "block_size": 32, "gather_axis": 0, "quantize_axis": 1}
        title = f"GatherBlockQuantized {bits}{', zero points' if zeros is not None else ''}"
        yield title, *node("GatherBlockQuantized", [table, ids, scales, zeros], fixed=(0, 2, 3), **more), 1e-6
    tables = [byte(30, 24), byte(12, 24), byte(2, 24), byte(24), byte(24)]
    ids, kinds, mask = ids.astype(np.int32), rng.integers(0, 2, (2, 7)).astype(np.int32), (np.arange(7) < np.array([[7], [4]])).astype(np.int32)
    values = [ids, kinds, *tables, mask, *[scale(v) for v in (0.02, 0.03, 0.01, 0.005, 0.004)], *[np.uint8(v) for v in (120, 130, 100, 3, 128)]]
    yield "QEmbedLayerNormalization", *node("QEmbedLayerNormalization", values, [F, I32], fixed=[*range(2, 7), *range(8, 18)], epsilon=1e-5), 1e-5


def attentions():
    x, w, b = normal(2, 5, 24), normal(24, 72) / 5, normal(72)
    masks = {"lengths": np.array([3, 5], np.int32), "ends and starts": np.array([4, 5, 1, 0], np.int32), "keys": (rng.random((2, 5)) < 0.7).astype(np.int32),
             "pairs": (rng.random((2, 5, 5)) < 0.8).astype(np.int32)}
    masks["keys"][:, 0] = masks["pairs"][:, :, 0] = 1
    yield "Attention", *node("Attention", [x, w, b], fixed=(1, 2), num_heads=4), 1e-5
    for name, mask in masks.items():
        yield f"Attention with {name}", *node("Attention", [x, w, b, mask], fixed=(1, 2), num_heads=4), 1e-5
    yield "Attention, causal with a past", *node("Attention", [x, w, b, None, normal(2, 2, 4, 3, 6)], [F, F], fixed=(1, 2), num_heads=4, unidirectional=1), 1e-5
    yield "Attention with a bias", *node("Attention", [x, w, b, None, None, normal(2, 4, 5, 5)], fixed=(1, 2), num_heads=4, scale=0.3), 1e-5
    yield "Attention of other sizes", *node("Attention", [x, normal(24, 40) / 5, normal(40)], fixed=(1, 2), num_heads=4, qkv_hidden_sizes=[16, 16, 8]), 1e-5
    q, k, v = normal(2, 5, 24), normal(2, 7, 24), normal(2, 7, 32)
    yield "MultiHeadAttention", *node("MultiHeadAttention", [q, k, v], num_heads=4), 1e-5
    yield "MultiHeadAttention with a bias", *node("MultiHeadAttention", [q, k, v, normal(80)], fixed=(3,), num_heads=4), 1e-5
    keys = (rng.random((2, 7)) < 0.7).astype(np.int32)
    keys[:, 0] = 1
    yield "MultiHeadAttention with a mask", *node("MultiHeadAttention", [q, k, v, None, keys], num_heads=4), 1e-5
    yield "MultiHeadAttention with a sum", *node("MultiHeadAttention", [q, k, v, None, None, normal(1, 4, 5, 7)], num_heads=4), 1e-5
    yield "MultiHeadAttention of heads", *node("MultiHeadAttention", [q, normal(2, 4, 7, 6), normal(2, 4, 7, 6)], num_heads=4), 1e-5
    cache = [normal(2, 4, 3, 6), normal(2, 4, 3, 6)]
    cached = [q, normal(2, 5, 24), normal(2, 5, 24), normal(72), None, None, *cache]
    yield "MultiHeadAttention, causal with a past", *node("MultiHeadAttention", cached, [F, F, F], fixed=(3,), num_heads=4, unidirectional=1), 1e-5
    tables = [normal(16, 3), normal(16, 3)]
    for turned in (0, 1):
        yield f"RotaryEmbedding {turned}", *node("RotaryEmbedding", [normal(2, 5, 24), np.array([3], np.int64), *tables], fixed=(2, 3), interleaved=turned), 1e-5
    yield "RotaryEmbedding of positions", *node("RotaryEmbedding", [normal(2, 4, 5, 6), rng.integers(0, 16, (2, 5)), *tables], fixed=(2, 3)), 1e-5


def quantized_attentions():
    x, w, b = byte(2, 5, 24), weights(24, 72), normal(72)
    scales, points, mask = [scale(0.02), scale(0.01)], [np.uint8(120), np.int8(3)], np.array([3, 5], np.int32)
    for name, more in (("", []), (" with lengths", [mask]), (" with zero points", [None, *points]), (" with a mask and zero points", [mask, *points])):
        yield f"QAttention{name}", *node("QAttention", [x, w, b, *scales, *more], fixed=[i for i in (1, 2, 3, 4, 6, 7) if i < 5 + len(more)], num_heads=4), 1e-5
    past = [x, w, b, *scales, None, *points, normal(2, 2, 4, 3, 6)]
    yield "QAttention, causal with a past", *node("QAttention", past, [F, F], fixed=(1, 2, 3, 4, 6, 7), num_heads=4, unidirectional=1), 1e-5


def group_queries():
    """Keys and values of 2 heads for 4 of queries, 16 columns each. The first run, runs with a past, samples of different lengths."""
    tables = [normal(32, 8), normal(32, 8)]

    def case(name, rows, past, lengths, packed=False, turned=False, more=(), **attributes):
        batch, total = len(lengths), past + rows
        parts = [normal(batch, rows, 128), None, None] if packed else [normal(batch, rows, 64), normal(batch, rows, 32), normal(batch, rows, 32)]
        cache = [normal(batch, 2, past, 16), normal(batch, 2, past, 16)]
        for b, length in enumerate(lengths):
            for part in cache:
                part[b, :, max(length - rows, 0):] = 0              # what ONNX Runtime makes of rows that no sample has
        values = [*parts, *cache, np.array(lengths, np.int32) - 1, np.array(total, np.int32), *(tables if turned else [None, None]), *more]
        return (f"GroupQueryAttention, {name}", *node("GroupQueryAttention", values, (F, F, F), fixed=(6, 7, 8), num_heads=4, kv_num_heads=2,
                **({"do_rotary": 1} if turned else {}), **attributes), 1e-5)
    yield case("first", 5, 0, [5, 5])
    yield case("first, packed and turned", 5, 0, [5, 5], packed=True, turned=True)
    yield case("one more", 1, 6, [7, 7], turned=True)
    yield case("one more, interleaved", 1, 6, [7, 7], turned=True, rotary_interleaved=1)
    yield case("one more of different lengths", 1, 6, [7, 4], turned=True)
    yield case("some more", 3, 6, [9], packed=True, turned=True)
    yield case("in a window", 7, 0, [7], turned=True, local_window_size=3)
    yield case("one more in a window", 1, 9, [10, 10], local_window_size=4)
    yield case("with a soft limit and a scale", 5, 0, [5], softcap=2.0, scale=0.5)
    yield case("with positions", 5, 0, [5, 5], turned=True, more=[np.tile(np.arange(3, 8), (2, 1))])
    yield case("with a bias", 5, 0, [5, 5], more=[None, normal(1, 4, 5, 5)])


def machine_learning():
    x, w, b = normal(9, 4), normal(12).tolist(), normal(3).tolist()
    for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        yield f"LinearClassifier {transform}", *node("LinearClassifier", [x], [I64, F], domain=ML, coefficients=w, intercepts=b, classlabels_ints=[3, 1, 2],
                                                     post_transform=transform), 1e-5
        yield f"LinearRegressor {transform}", *node("LinearRegressor", [x], [F], domain=ML, coefficients=w, intercepts=b, targets=3, post_transform=transform), 1e-5
    for norm in ("MAX", "L1", "L2"):
        yield f"Normalizer {norm}", *node("Normalizer", [x], domain=ML, norm=norm), 1e-5
    yield "Scaler", *node("Scaler", [x], domain=ML, offset=w[:4], scale=w[4:8]), 1e-5
    yield "Binarizer", *node("Binarizer", [x], domain=ML, threshold=0.3), 0
    tree = {"nodes_treeids": [0] * 5, "nodes_nodeids": list(range(5)), "nodes_featureids": [0, 2, 0, 0, 0], "nodes_values": [0.1, -0.2, 0.0, 0.0, 0.0],
            "nodes_modes": ["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF"], "nodes_truenodeids": [1, 2, 0, 0, 0], "nodes_falsenodeids": [4, 3, 0, 0, 0]}
    leaves = {"class_treeids": [0] * 3, "class_nodeids": [2, 3, 4], "class_ids": [0, 1, 2], "class_weights": [0.4, 0.7, 0.9]}
    three = {"classlabels_int64s": [5, 6, 7], "post_transform": "SOFTMAX"}
    yield "TreeEnsembleClassifier", *node("TreeEnsembleClassifier", [x], [I64, F], domain=ML, **tree, **leaves, **three), 1e-5
    for transform, sign, used in itertools.product(("NONE", "LOGISTIC"), (1, -1), (0, 1)):     # two classes, leaves for one
        two = {"class_ids": [used] * 3, "class_weights": [0.4 * sign, 0.7, 0.9], "classlabels_int64s": [5, 6], "post_transform": transform}
        yield f"TreeEnsembleClassifier of two, {transform} {sign} {used}", *node("TreeEnsembleClassifier", [x], [I64, F], domain=ML, **(tree | leaves | two)), 1e-5



def cases():
    """(title, model, inputs, tolerance)"""
    for family in (fused, norms, quantized, products, packed_weights, packed_tables, attentions, quantized_attentions, group_queries, machine_learning):
        yield from family()
