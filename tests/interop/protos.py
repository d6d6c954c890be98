"""What a model file holds, looked at independently of oneshot: every tensor with its place, and everything that is no tensor."""
import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

PAYLOAD = ("raw_data", "float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data", "external_data", "data_location")


def graphs(model):
    """(place, graph or function) for the main graph, local functions, training graphs and all bodies inside nodes."""
    todo = [("graph", model.graph)] + [(f"function {f.domain}.{f.name}", f) for f in model.functions]
    for i, info in enumerate(model.training_info):
        todo += [(f"training {i} algorithm", info.algorithm), (f"training {i} initialization", info.initialization)]
    while todo:
        place, graph = todo.pop(0)
        yield place, graph
        for i, node in enumerate(graph.node):
            for attribute in node.attribute:
                bodies = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
                todo += [(f"{place}/node {i}.{attribute.name}[{k}]", body) for k, body in enumerate(bodies)]


def tensors(model):
    """(place, TensorProto or SparseTensorProto) of every tensor. An initializer has the same place in both of its forms."""
    for place, graph in graphs(model):
        if isinstance(graph, onnx.GraphProto):
            yield from ((f"{place}/{t.name}", t) for t in graph.initializer)
            yield from ((f"{place}/{t.values.name}", t) for t in graph.sparse_initializer)
        for i, node in enumerate(graph.node):
            for a in node.attribute:
                many = [a.t] if a.type == AttributeProto.TENSOR else [a.sparse_tensor] if a.type == AttributeProto.SPARSE_TENSOR else [*a.tensors, *a.sparse_tensors]
                yield from ((f"{place}/node {i}.{a.name}[{k}]", t) for k, t in enumerate(many))


def array(tensor, folder):
    """The elements as a dense array; folder is where external data lies."""
    if isinstance(tensor, TensorProto):
        return numpy_helper.to_array(tensor, str(folder))
    values, index = numpy_helper.to_array(tensor.values, str(folder)), numpy_helper.to_array(tensor.indices, str(folder))
    dense = np.zeros(tuple(tensor.dims), values.dtype)
    if index.ndim == 1:
        dense.reshape(-1)[index] = values
    else:
        dense[tuple(index.T)] = values
    return dense


def bits(a):
    """The array as unsigned integers, so that NaN equals NaN and -0 differs from 0. Strings stay as they are."""
    return a if a.dtype == object or a.dtype.kind in "US" else np.ascontiguousarray(a).view(f"V{a.dtype.itemsize}")


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and (a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes())


def arrays(model, folder):
    return {place: array(t, folder) for place, t in tensors(model)}


def skeleton(model):
    """The model without the elements of its tensors, and without what pruning writes beside them: producer and metadata."""
    bare = ModelProto()
    bare.CopyFrom(model)
    for field in ("producer_name", "producer_version", "metadata_props"):
        bare.ClearField(field)
    for _, graph in graphs(bare):
        if isinstance(graph, onnx.GraphProto):
            del graph.initializer[:], graph.sparse_initializer[:]
    for _, tensor in tensors(bare):
        for field in PAYLOAD:
            (tensor if isinstance(tensor, TensorProto) else tensor.values).ClearField(field)
    return bare.SerializeToString(deterministic=True)


def replace(model, changed):
    """Puts arrays in place of the elements of tensors: {place: array}. Data ends up inline, sparse initializers dense."""
    for place, graph in graphs(model):
        sparse = [] if isinstance(graph, onnx.FunctionProto) else [t for t in graph.sparse_initializer if f"{place}/{t.values.name}" in changed]
        for tensor in sparse:
            graph.initializer.append(numpy_helper.from_array(changed[f"{place}/{tensor.values.name}"], tensor.values.name))
            graph.sparse_initializer.remove(tensor)
    for place, tensor in tensors(model):
        if place in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[place], tensor.name))


def zero_points(model, folder):
    """{name of a quantized tensor: its zero point array} for tensors that are an input of a quantized operator or of DequantizeLinear."""
    inputs = {"DequantizeLinear": [(0, 2)], "QLinearConv": [(3, 5)], "QLinearMatMul": [(0, 2), (3, 5)], "ConvInteger": [(1, 3)],
              "MatMulInteger": [(0, 2), (1, 3)]}
    known = {t.name: array(t, folder) for _, g in graphs(model) if isinstance(g, onnx.GraphProto) for t in g.initializer}
    for _, graph in graphs(model):
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].type == AttributeProto.TENSOR:
                known[node.output[0]] = array(node.attribute[0].t, folder)
    found = {}
    for _, graph in graphs(model):
        for node in graph.node:
            for data, zero in inputs.get(node.op_type, []):
                if zero < len(node.input) and node.input[zero] in known:
                    found[node.input[data]] = known[node.input[zero]]
    return found
