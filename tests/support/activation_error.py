"""How much of each activation calibration's scales lose, against the float network's own values: in double precision, from the definition."""
import numpy as np
import onnx
import onnxruntime


def rounded(values, scale, zero_point, bits):
    codes = np.clip(np.rint(values / scale) + zero_point, 0, 2**bits - 1)
    return (codes - zero_point) * scale


def relative_squared_errors(model, activations, images, batch=200):
    """By name, of the values of the float ONNX file `model`; `activations`: those of ds_quantize's report (unsigned codes)."""
    graph = onnx.load(str(model))
    inputs = {i.name for i in graph.graph.input}
    known = {o.name for o in graph.graph.output} | inputs
    for activation in activations:
        if activation["value"] not in known:
            graph.graph.output.append(onnx.helper.make_tensor_value_info(activation["value"], onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [a["value"] for a in activations if a["value"] not in inputs]
    error, power = ({a["value"]: 0.0 for a in activations} for _ in range(2))
    for start in range(0, len(images), batch):
        feed = {session.get_inputs()[0].name: images[start:start + batch]}
        values = feed | dict(zip(names, session.run(names, feed)))
        for activation in activations:
            exact = values[activation["value"]].astype(np.float64)
            change = rounded(exact, activation["scale"], activation["zero_point"], activation["bits"]) - exact
            error[activation["value"]] += np.square(change).sum()
            power[activation["value"]] += np.square(exact).sum()
    return {name: error[name] / power[name] for name in error}
