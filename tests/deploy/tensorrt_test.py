"""Exports for TensorRT, judged by what can be known without it: ONNX Runtime computes from the file what the plan says, the placement
follows TensorRT's rules, and the linter finds faults that are put in.

    tensorrt_test.py DS_EXPORT QDQ_TOOL GRAPH_RUNNER
"""
import collections
import shutil
import subprocess
import sys

from qdq_support import F, activation, helper, min_max_plan, np, numpy_helper, onnx, ranges, run, run_cases, snr, weight, with_weights

from code_agreement import UNOPTIMISED, Runtime  # in tests/support

SEED = 20261125
ZOO = {"resnet20": (["--channels", 1, "--height", 28, "--width", 28], (8, 1, 28, 28)),
       "mobilenet_v2": (["--height", 32, "--width", 32], (4, 3, 32, 32))}
# Symmetric codes leave half of their range unused behind a Relu: about 6 dB less than the other profile's bound (onnx_runtime_test.py).
LEAST_SNR = 24.0


def symmetric_plan(folded, feeds, bits, folder):
    plan = min_max_plan(folded, feeds, bits)
    reference = with_weights(folded, plan, folder / "reference.onnx")
    plan["activations"] = {name: activation(*r, signed=True) for name, r in ranges(reference, feeds).items()}
    return plan, reference


def export(tools, folded, plan, name="tensorrt"):
    return tools.export(folded, plan, "tensorrt", name=name)


def lint(tools, path):
    """{node: (fate, reason)} by ds_export --lint-tensorrt."""
    verdicts = {}
    for line in tools.call(tools.ds_export, "--model", path, "--lint-tensorrt").splitlines()[:-1]:
        head, _, reason = line.partition(": ")
        fate, node = head[:12].strip(), head[13:].split(maxsplit=1)[1].strip()
        verdicts[node] = (fate, reason)
    return verdicts


class Parts:
    def __init__(self, path):
        self.model = onnx.load(str(path))
        self.graph = self.model.graph
        self.made = {o: n for n in self.graph.node for o in n.output}
        self.constants = {t.name: t for t in self.graph.initializer}

    def maker(self, name):
        node = self.made.get(name)
        return node.op_type if node is not None else None

    def nodes(self, op):
        return [n for n in self.graph.node if n.op_type == op]


def placement_is_tensorrts(path):
    parts = Parts(path)
    for node in parts.nodes("QuantizeLinear") + parts.nodes("DequantizeLinear"):
        scale = numpy_helper.to_array(parts.constants[node.input[1]])
        assert (scale > 0).all(), f"{node.name}: {scale}"
        if len(node.input) > 2:
            zero = parts.constants[node.input[2]]
            assert zero.data_type == onnx.TensorProto.INT8 and not numpy_helper.to_array(zero).any(), node.name
        codes = parts.constants.get(node.input[0])
        if codes is None:
            assert scale.ndim == 0, f"{node.name}: an activation with {scale.size} scales"
            continue
        assert codes.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.INT4), node.name
    assert not parts.nodes("Cast"), "codes pass through a Cast"
    for op in ("Conv", "Gemm"):
        for node in parts.nodes(op):
            assert len(node.input) < 3 or node.input[2] in parts.constants, f"{node.name}: its bias is not a float constant"
            weight = parts.made[node.input[1]]
            axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            assert axis == (0 if op == "Conv" or transposed else 1), f"{node.name}: scales along axis {axis}"
    for node in parts.nodes("Add"):
        kinds = sorted(parts.maker(name) for name in node.input)
        assert kinds == ["Conv", "DequantizeLinear"], f"{node.name}: its operands come from {kinds}"


def zoo_case(tools, name, bits, rng):
    arguments, shape = ZOO[name]
    _, folded = tools.zoo(name, rng, *arguments)
    feeds = {"input": rng.standard_normal(shape).astype(F)}
    plan, reference = symmetric_plan(folded, feeds, bits, tools.folder)
    path, report = export(tools, folded, plan)
    placement_is_tensorrts(path)
    left = [n for n in report["nodes"] if n["fate"] not in ("INT8", "INT4 weights")]
    assert not left, left
    assert lint(tools, path) == {n["node"]: (n["fate"], n["reason"]) for n in report["nodes"]}
    close = snr(run(reference, feeds)["logits"], run(path, feeds)["logits"])
    assert close >= LEAST_SNR, f"{close:.1f} dB to the float model with these weights"
    ours = snr(run(path, feeds)["logits"], tools.execute(path, feeds)["logits"])
    assert ours >= LEAST_SNR, f"{ours:.1f} dB between the executor and ONNX Runtime"
    convolutions = collections.Counter(n["fate"] for n in report["nodes"] if n["op"] == "Conv")
    return f"{close:.1f} dB, {convolutions['INT8']} convolutions in INT8, opset {report['opset']}"


def seeded_faults(tools, rng):
    """Faults put into a good file, each with what the linter must say of which node."""
    arguments, shape = ZOO["resnet20"]
    _, folded = tools.zoo("resnet20", rng, *arguments)
    feeds = {"input": rng.standard_normal(shape).astype(F)}
    plan, _ = symmetric_plan(folded, feeds, 8, tools.folder)
    good, _ = export(tools, folded, plan, name="good")
    verdicts = lint(tools, good)
    assert {fate for fate, _ in verdicts.values()} == {"INT8"}, verdicts

    def add_constant(parts, name, values):
        parts.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def pair_of(parts, name):
        """The DequantizeLinear that gives `name` and the QuantizeLinear before it."""
        dequantise = parts.made[name]
        return parts.made[dequantise.input[0]], dequantise

    def conv(parts):
        return parts.nodes("Conv")[3]

    def asymmetric(parts):
        zero = add_constant(parts, "odd", np.int8(3))
        for node in pair_of(parts, conv(parts).input[0]):
            node.input[2] = zero
        return pair_of(parts, conv(parts).input[0])[0].name, "refused", "zero point is not 0"

    def unsigned(parts):
        zero = add_constant(parts, "unsigned", np.uint8(0))
        for node in pair_of(parts, conv(parts).input[0]):
            node.input[2] = zero
        return pair_of(parts, conv(parts).input[0])[0].name, "refused", "uint8 instead of int8"

    def per_channel_activation(parts):
        scales, zeros = add_constant(parts, "many", np.full(16, .02, F)), add_constant(parts, "zeros", np.zeros(16, np.int8))
        for node in pair_of(parts, conv(parts).input[0]):
            node.input[1], node.input[2] = scales, zeros
        return pair_of(parts, conv(parts).input[0])[0].name, "refused", "one for the whole tensor"

    def computed_scale(parts):
        quantise, dequantise = pair_of(parts, conv(parts).input[0])
        parts.graph.node.insert(0, helper.make_node("ReduceMean", [parts.graph.input[0].name], ["live"], name="live", keepdims=0))
        quantise.input[1] = dequantise.input[1] = "live"
        return quantise.name, "refused", "must be a constant"

    def negative_scale(parts):
        scale = add_constant(parts, "negative", F(-.02))
        quantise, dequantise = pair_of(parts, conv(parts).input[0])
        quantise.input[1] = dequantise.input[1] = scale
        return quantise.name, "refused", "not positive"

    def scales_that_differ(parts):
        quantise, dequantise = pair_of(parts, conv(parts).input[0])
        dequantise.input[1] = add_constant(parts, "another", F(.5))
        return dequantise.name, "refused", "another one"

    def no_pair_on_the_residual(parts):
        add = parts.nodes("Add")[0]
        slot = next(i for i, name in enumerate(add.input) if parts.maker(name) == "DequantizeLinear")
        add.input[slot] = pair_of(parts, add.input[slot])[0].input[0]
        return add.name, "float", "identity branch"

    def pair_before_the_addition(parts):
        add = parts.nodes("Add")[0]
        slot = next(i for i, name in enumerate(add.input) if parts.maker(name) == "Conv")
        quantise, _ = pair_of(parts, conv(parts).input[0])
        position = list(parts.graph.node).index(add)
        for i, node in enumerate((helper.make_node("QuantizeLinear", [add.input[slot], *quantise.input[1:]], ["c"], name="extra.q"),
                                  helper.make_node("DequantizeLinear", ["c", *quantise.input[1:]], ["d"], name="extra.dq"))):
            parts.graph.node.insert(position + i, node)
        parts.nodes("Add")[0].input[slot] = "d"
        return add.name, "INT8", "leave that pair out"

    def float_input(parts):
        node = conv(parts)
        node.input[0] = pair_of(parts, node.input[0])[0].input[0]
        return node.name, "float", "comes without Q/DQ"

    def float_weight(parts):
        node = conv(parts)
        shape = list(parts.constants[parts.made[node.input[1]].input[0]].dims)
        node.input[1] = add_constant(parts, "real", np.ones(shape, F))
        return node.name, "float", "without DequantizeLinear"

    def wrong_axis(parts):
        weight = parts.made[conv(parts).input[1]]
        del weight.attribute[:]
        weight.attribute.append(helper.make_attribute("axis", 1))
        return weight.name, "refused", "axis 1 instead of 0"

    def store_as_int4(parts, weight):
        codes = parts.constants[weight.input[0]]
        small = np.clip(numpy_helper.to_array(codes), -7, 7)
        codes.CopyFrom(helper.make_tensor(codes.name, onnx.TensorProto.INT4, small.shape, small.flatten().tolist()))
        del parts.model.opset_import[:]
        parts.model.opset_import.append(helper.make_opsetid("", 21))

    def int4_convolution(parts):
        weight = parts.made[conv(parts).input[1]]
        store_as_int4(parts, weight)
        return weight.name, "refused", "Gemm and MatMul only"

    def int32_bias(parts):
        node = conv(parts)
        count = parts.constants[node.input[2]].dims[0]
        parts.graph.node.insert(0, helper.make_node(
            "DequantizeLinear", [add_constant(parts, "b", np.ones(count, np.int32)), add_constant(parts, "s", F(.01))], ["bias"], name="bias.dq"))
        node.input[2] = "bias"
        return "bias.dq", "refused", "leave the bias in float"

    def reduce_mean(parts):
        pool = parts.nodes("GlobalAveragePool")[0]
        pool.op_type = "ReduceMean"
        pool.attribute.extend([helper.make_attribute("axes", [2, 3]), helper.make_attribute("keepdims", 1)])
        return pool.name, "float", "GlobalAveragePool"

    def float_operator(parts):
        relu = parts.nodes("Relu")[2]
        relu.op_type = "Sigmoid"
        return relu.name, "float", "Sigmoid in float"

    def unrounded_sum(parts):
        add = parts.nodes("Add")[0]
        relu = next(n for n in parts.nodes("Relu") if n.input[0] == add.output[0])
        for node in parts.graph.node:
            if node.op_type == "QuantizeLinear" and node.input[0] == relu.output[0]:
                lost = next(n for n in parts.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == node.output[0]).output[0]
        for node in parts.graph.node:
            for i, name in enumerate(node.input):
                if name == lost:
                    node.input[i] = relu.output[0]
        return add.name, "float", "is not quantised"

    def cast_codes(parts):
        weight = parts.made[conv(parts).input[1]]
        store_as_int4(parts, weight)
        parts.graph.node.insert(0, helper.make_node("Cast", [weight.input[0]], ["cast"], name="cast", to=onnx.TensorProto.INT8))
        weight.input[0] = "cast"
        return weight.name, "refused", "a Cast stands between"

    def clipped_codes(parts):
        _, dequantise = pair_of(parts, conv(parts).input[0])
        position = list(parts.graph.node).index(dequantise)
        parts.graph.node.insert(position, helper.make_node(
            "Clip", [dequantise.input[0], add_constant(parts, "low", np.int8(-7)), add_constant(parts, "high", np.int8(7))], ["clipped"],
            name="clip"))
        dequantise.input[0] = "clipped"
        return "clip", "refused", "clips codes"

    def batch_norm(parts):
        relu = parts.nodes("Relu")[1]
        width = parts.constants[parts.made[relu.input[0]].input[2]].dims[0]
        relu.op_type = "BatchNormalization"
        relu.input.extend(add_constant(parts, n, np.ones(width, F)) for n in ("g", "h", "m", "v"))
        return relu.name, "float", "BatchNormalization in float"

    for fault in (asymmetric, unsigned, per_channel_activation, computed_scale, negative_scale, scales_that_differ, no_pair_on_the_residual,
                  pair_before_the_addition, float_input, float_weight, wrong_axis, int4_convolution, int32_bias, reduce_mean, float_operator,
                  unrounded_sum, cast_codes, clipped_codes, batch_norm):
        def case(fault=fault):
            parts = Parts(good)
            node, fate, words = fault(parts)
            del parts.graph.value_info[:]
            path = tools.folder / "faulty.onnx"
            onnx.save(parts.model, str(path))
            found = lint(tools, path)
            assert node in found, f"nothing about '{node}'"
            assert found[node][0] == fate and words in found[node][1], found[node]
        yield "lint: " + fault.__name__.replace("_", " "), case


def blocked_matrix(tools, rng):
    """int4 weights in groups of 32: legal ONNX, multiplied in float, the numbers of the plan."""

    values = rng.standard_normal((64, 10)).astype(F)
    graph = helper.make_graph([helper.make_node("MatMul", ["input", "w"], ["y"], name="matmul")], "net",
                              [helper.make_tensor_value_info("input", 1, [None, 64])], [helper.make_tensor_value_info("y", 1, [None, 10])],
                              [numpy_helper.from_array(values, "w")])
    path = tools.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    params = weight(values, 4, axis=0, group=32)
    plan = dict(activations={"input": activation(-3, 3, signed=True)}, weights={"w": params}, left_in_float={})
    exported, report = export(tools, path, plan)
    assert report["opset"] == 21 and report["nodes"][0]["fate"] == "INT4 weights", report
    parts = Parts(exported)
    assert not parts.nodes("QuantizeLinear"), "its input is rounded for nothing"
    dequantise = parts.nodes("DequantizeLinear")[0]
    assert parts.constants[dequantise.input[0]].data_type == onnx.TensorProto.INT4
    scales = np.repeat(np.array(params["scales"], F).reshape(2, 10), 32, axis=0)
    x = rng.standard_normal((5, 64)).astype(F)
    expected = x @ (np.clip(np.rint(values / scales), -7, 7) * scales)
    # With its optimisations ONNX Runtime rounds the inputs of such a product to 8 bits by itself (MatMulNBits).
    for found in (Runtime(exported, UNOPTIMISED).run({"input": x})["y"], tools.execute(exported, {"input": x})["y"]):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(exported, {"input": x})["y"], expected, atol=.02 * np.abs(expected).max())


def builder(tools):
    """The real builder, where there is one."""
    recipe = tools.folder / "good.trtexec.sh"
    assert recipe.exists()
    subprocess.run(["sh", "-n", str(recipe)], check=True)
    if shutil.which("trtexec") is None:
        return "trtexec not run: it is not installed here"
    done = subprocess.run(["sh", str(recipe)], capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return "trtexec built an engine"


def cases(tools, rng):
    for name in ZOO:
        for bits in (8, 4):
            yield f"{name} W{bits}", lambda: zoo_case(tools, name, bits, rng)
    yield from seeded_faults(tools, rng)
    yield "blocked matrix", lambda: blocked_matrix(tools, rng)
    yield "builder", lambda: builder(tools)


if __name__ == "__main__":
    run_cases(sys.argv[1:], cases, SEED, at_least=25)
