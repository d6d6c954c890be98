"""Small models with weights in every place and type where exporters put them; made here, so that they need nothing from outside."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)
F, F16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def normal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def constant(name, values, data_type=None):
    if data_type == BF16:
        return helper.make_tensor(name, BF16, values.shape, values.reshape(-1).tolist())
    return numpy_helper.from_array(values, name)


def value(name, shape, data_type=F):
    return helper.make_tensor_value_info(name, data_type, shape)


def model(name, nodes, inputs, outputs, initializers=(), opset=17, **more):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers), **{k: more.pop(k) for k in ("sparse_initializer",) if k in more})
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in more.pop("domains", [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=more.pop("ir_version", 8), producer_name="made.py", **more)


def dense(name, data_type, dtype):
    """Three MatMuls in a row, so that the middle one is neither first nor last."""
    weights = [constant(f"w{i}", normal(48, 48, dtype=dtype), data_type) for i in range(3)]
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], f"mm{i}") for i in range(3)]
    return model(name, nodes, [value("x0", ["batch", 48], data_type)], [value("x3", ["batch", 48], data_type)], weights)


def gemms():
    nodes, weights, x = [], [], "x"
    for i, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        weights += [constant(f"w{i}", normal(40, 40)), constant(f"b{i}", normal(40))]
        nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"y{i}"], f"gemm{i}", transA=a, transB=b, alpha=0.5))
        x = f"y{i}"
    return model("gemms", nodes, [value("x", [40, 40])], [value(x, [40, 40])], weights)


def convolutions():
    """Plain, grouped, depthwise, transposed; 1-D to 3-D are alike for a pruner, so 2-D only."""
    weights = [constant("w0", normal(16, 3, 3, 3)), constant("w1", normal(32, 16, 3, 3)), constant("w2", normal(32, 8, 3, 3)), constant("w3", normal(32, 1, 3, 3)),
               constant("w4", normal(32, 24, 2, 2)), constant("w5", normal(8, 24, 1, 1))]
    nodes = [helper.make_node("Conv", ["x", "w0"], ["a"], "first", pads=[1] * 4), helper.make_node("Conv", ["a", "w1"], ["b"], "plain", pads=[1] * 4),
             helper.make_node("Conv", ["b", "w2"], ["c"], "grouped", group=4), helper.make_node("Conv", ["c", "w3"], ["d"], "depthwise", group=32),
             helper.make_node("ConvTranspose", ["d", "w4"], ["e"], "transposed", strides=[2, 2]), helper.make_node("Conv", ["e", "w5"], ["y"], "last")]
    return model("convolutions", nodes, [value("x", ["n", 3, 16, 16])], [value("y", ["n", 8, "h", "w"])], weights)


def behind():
    """Weights that reach their product through Identity, Transpose, Reshape, Cast and Constant nodes."""
    nodes = [helper.make_node("Identity", ["w0"], ["i"]), helper.make_node("MatMul", ["x", "i"], ["a"], "identity"),
             helper.make_node("Transpose", ["w1"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["a", "t"], ["b"], "transpose"),
             helper.make_node("Reshape", ["w2", "shape"], ["r"]), helper.make_node("MatMul", ["b", "r"], ["c"], "reshape"),
             helper.make_node("Cast", ["w3"], ["k"], to=F), helper.make_node("MatMul", ["c", "k"], ["d"], "cast"),
             helper.make_node("Constant", [], ["w4"], value=constant("", normal(40, 40))), helper.make_node("MatMul", ["d", "w4"], ["e"], "node"),
             helper.make_node("MatMul", ["w5", "e"], ["y"], "left")]
    weights = [constant("w0", normal(40, 40)), constant("w1", normal(48, 40)), constant("w2", normal(24, 80)), constant("shape", np.array([48, 40], np.int64)),
               constant("w3", normal(40, 40, dtype=np.float16)), constant("w5", normal(40, 40))]
    return model("behind", nodes, [value("x", [40, 40])], [value("y", [40, 40])], weights)


def bodies():
    """Weights inside the branches of an If and the body of a Loop; the Loop's body also uses one of the outer graph."""
    def branch(name):
        return helper.make_graph([helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"], f"{name}_mm")], name, [], [value(f"{name}_y", [4, 40])],
                                 [constant(f"{name}_w", normal(40, 40))])
    loop = helper.make_graph([helper.make_node("MatMul", ["state", "inner"], ["half"], "inner_mm"), helper.make_node("MatMul", ["half", "outer"], ["next"], "outer_mm"),
                              helper.make_node("Identity", ["go"], ["still"])], "body",
                             [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", [4, 40])],
                             [value("still", [], TensorProto.BOOL), value("next", [4, 40])], [constant("inner", normal(40, 40) / 6)])
    nodes = [helper.make_node("If", ["cond"], ["a"], "if", then_branch=branch("yes"), else_branch=branch("no")),
             helper.make_node("Loop", ["times", "", "a"], ["y"], "loop", body=loop)]
    return model("bodies", nodes, [value("x", [4, 40]), value("cond", [], TensorProto.BOOL)], [value("y", [4, 40])],
                 [constant("times", np.array(2, np.int64)), constant("outer", normal(40, 40) / 6)])


def recurrent():
    nodes, weights = [], [constant("shape", np.array([0, 0, -1], np.int64))]
    x, size = "x", 24
    for i, (op, gates) in enumerate((("LSTM", 4), ("GRU", 3), ("RNN", 1))):
        weights += [constant(f"w{i}", normal(2, gates * 20, size) / 5), constant(f"r{i}", normal(2, gates * 20, 20) / 5), constant(f"b{i}", normal(2, gates * 40))]
        nodes += [helper.make_node(op, [x, f"w{i}", f"r{i}", f"b{i}"], [f"h{i}"], op.lower(), hidden_size=20, direction="bidirectional"),
                  helper.make_node("Transpose", [f"h{i}"], [f"t{i}"], perm=[0, 2, 1, 3]), helper.make_node("Reshape", [f"t{i}", "shape"], [f"x{i}"])]
        x, size = f"x{i}", 40
    return model("recurrent", nodes, [value("x", [5, "batch", 24])], [value(x, [5, "batch", 40])], weights)


def quantized():
    """QDQ with zero points other than 0 and per-channel scales, and the integer operators."""
    def int8(*shape):
        return RNG.integers(-128, 128, shape).astype(np.int8)
    weights = [constant("w0", int8(40, 40)), constant("s0", np.float32(0.01)), constant("z0", np.int8(3)), constant("w1", int8(40, 40)),
               constant("s1", RNG.random(40, np.float32) / 50), constant("z1", RNG.integers(-9, 9, 40).astype(np.int8)),
               constant("w2", RNG.integers(0, 256, (40, 40)).astype(np.uint8)), constant("z2", np.uint8(128)), constant("w3", normal(40, 40))]
    nodes = [helper.make_node("DequantizeLinear", ["w0", "s0", "z0"], ["d0"]), helper.make_node("MatMul", ["x", "d0"], ["a"], "tensor"),
             helper.make_node("DequantizeLinear", ["w1", "s1", "z1"], ["d1"], axis=1), helper.make_node("MatMul", ["a", "d1"], ["b"], "channel"),
             helper.make_node("DynamicQuantizeLinear", ["b"], ["q", "qs", "qz"]), helper.make_node("MatMulInteger", ["q", "w2", "qz", "z2"], ["m"], "integer"),
             helper.make_node("Cast", ["m"], ["c"], to=F), helper.make_node("MatMul", ["c", "w3"], ["y"], "last")]
    return model("quantized", nodes, [value("x", ["batch", 40])], [value("y", ["batch", 40])], weights)


def function():
    body = helper.make_function("local", "Block", ["x"], ["y"], [helper.make_node("Constant", [], ["w"], value=constant("", normal(40, 40))),
                                helper.make_node("MatMul", ["x", "w"], ["m"], "inside"), helper.make_node("Relu", ["m"], ["y"])], [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["a"], "first"), helper.make_node("Block", ["a"], ["b"], "call1", domain="local"),
             helper.make_node("Block", ["b"], ["c"], "call2", domain="local"), helper.make_node("MatMul", ["c", "w1"], ["y"], "last")]
    return model("function", nodes, [value("x", ["batch", 40])], [value("y", ["batch", 40])], [constant("w0", normal(40, 40)), constant("w1", normal(40, 40))],
                 functions=[body], domains=["local"])


def shared():
    """One tensor as embedding table and product (left alone), another in two products (pruned once), one that is also a graph output."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"], "embed"), helper.make_node("MatMul", ["e", "twice"], ["a"], "one"),
             helper.make_node("MatMul", ["a", "twice"], ["b"], "two"), helper.make_node("MatMul", ["b", "shown"], ["c"], "three"),
             helper.make_node("Transpose", ["table"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["c", "t"], ["y"], "tied")]
    weights = [constant("table", normal(100, 40)), constant("twice", normal(40, 40)), constant("shown", normal(40, 40))]
    return model("shared", nodes, [value("ids", ["n", 6], TensorProto.INT64)], [value("y", ["n", 6, 100]), value("shown", [40, 40])], weights)


def einsum():
    nodes = [helper.make_node("Einsum", ["x", "w0"], ["a"], "first", equation="bij,jk->bik"),
             helper.make_node("Einsum", ["a", "w1"], ["b"], "middle", equation="bik,khd->bhid"),
             helper.make_node("Einsum", ["w2", "b"], ["y"], "last", equation="hde,bhid->bie")]
    return model("einsum", nodes, [value("x", ["b", 6, 40])], [value("y", ["b", 6, 40])],
                 [constant("w0", normal(40, 40)), constant("w1", normal(40, 4, 10)), constant("w2", normal(4, 10, 40))])


def old_inputs():
    """IR 3: initializers are graph inputs as well."""
    m = dense("old_inputs", F, np.float32)
    m.ir_version, m.opset_import[0].version = 3, 9
    m.graph.input.extend(value(w.name, list(w.dims)) for w in m.graph.initializer)
    return m


def sparse():
    m = dense("sparse", F, np.float32)
    w = numpy_helper.to_array(m.graph.initializer[1]).copy()
    w[np.abs(w) < 1.3] = 0
    index = np.flatnonzero(w)
    m.graph.sparse_initializer.append(helper.make_sparse_tensor(constant("w1", w.reshape(-1)[index]), numpy_helper.from_array(index.astype(np.int64)), w.shape))
    del m.graph.initializer[1]
    return m


def external(folder):
    """Two tensors in one external file at offsets, one inline."""
    m = dense("external", F, np.float32)
    onnx.save(m, folder / "external.onnx", save_as_external_data=True, location="external.bin", size_threshold=1024)


def write_all(folder):
    """Writes every model into the folder; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [dense("float32", F, np.float32), dense("float16", F16, np.float16), dense("bfloat16", BF16, np.float32), dense("float64", TensorProto.DOUBLE, np.float64),
            gemms(), convolutions(), behind(), bodies(), recurrent(), quantized(), function(), shared(), einsum(), old_inputs(), sparse()]
    for m in made:
        onnx.save(m, folder / f"{m.graph.name}.onnx")
    external(folder)
    return sorted(folder.glob("*.onnx"))
