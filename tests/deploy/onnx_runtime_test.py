"""Quantised exports in ONNX Runtime: what it fuses, what it computes, how large the files are, and our executor beside it.

    onnx_runtime_test.py DS_EXPORT QDQ_TOOL GRAPH_RUNNER
"""
import subprocess
import sys

from qdq_support import (F, activation, helper, min_max_plan, np, numpy_helper, onnx, optimised_ops, run_cases,
                         ranges, run, snr, values_in_runtime, weight, weights_of, with_values_given, with_weights)

SEED = 20260103
IMAGES = {  # zoo models: arguments of ds_export, shape of a batch
    "resnet20": (["--channels", 1, "--height", 28, "--width", 28], (8, 1, 28, 28)),
    "mobilenet_v2": (["--height", 32, "--width", 32], (4, 3, 32, 32)),
    "resnet50": (["--height", 32, "--width", 32], (2, 3, 32, 32)),
}
# Every width on the smallest; the ends where layers are depthwise; one of the packed ones in the largest file.
WIDTHS = {"resnet20": (8, 4, 2), "mobilenet_v2": (8, 2), "resnet50": (4,)}
FLOAT_OPS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "Add", "MatMul", "Relu", "Clip", "MaxPool", "NhwcFusedConv")
# Activations of 8 bits by min and max cost this much against the same network with quantised weights, whatever the weights' width.
# A scale that is a factor of two off anywhere costs more.
LEAST_SNR = 30.0
SIZES = {8: .26, 4: .135, 2: .075}  # of the float file, ResNet-20


def plan_for(tools, folded, feeds, bits):
    """(plan, the float model with the plan's weights), ranges taken from the latter."""
    plan = min_max_plan(folded, feeds, bits)
    reference = with_weights(folded, plan, tools.folder / "reference.onnx")
    plan["activations"] = {name: activation(*r) for name, r in ranges(reference, feeds).items()}
    return plan, reference


def scale_of(path, name):
    """Of the QuantizeLinear or DequantizeLinear that gives a value."""
    graph = onnx.load(str(path)).graph
    node = next(n for n in graph.node if name in n.output)
    return float(numpy_helper.to_array(next(t for t in graph.initializer if t.name == node.input[1])))


def executor_agrees(tools, folded, plan, feeds, flags=()):
    """Every value that is quantised, computed by our executor from the codes that ONNX Runtime's integer kernels had before it,
    is at most one step from theirs, and hardly any are one step apart. Returns that share."""
    path, _ = tools.export(folded, plan, "readable", *flags, name="readable")
    apart = tools.folder / "apart.onnx"
    names = with_values_given(path, apart)
    theirs = values_in_runtime(path, names, feeds)
    ours = tools.execute(apart, feeds | {name + ".given": theirs[name] for name in names})
    off, count = 0, 0
    for name in names:
        steps = np.abs(ours[name].astype(np.float64) - theirs[name]) / scale_of(path, name)
        assert steps.max() <= 1 + 1e-3, f"{name}: {steps.max():.2f} steps apart"
        off, count = off + int((steps > .5).sum()), count + steps.size
    assert off / count <= 1e-3, f"{off} of {count} codes differ"
    return off / count


def zoo_case(tools, name, bits, rng):
    arguments, shape = IMAGES[name]
    before, folded = tools.zoo(name, rng, *arguments)
    feeds = {"input": rng.standard_normal(shape).astype(F)}
    plan, reference = plan_for(tools, folded, feeds, bits)
    path, report = tools.export(folded, plan)
    left = [n for n in report["nodes"] if not n["quantised"]]
    assert not left, left
    ops = optimised_ops(path)
    assert not any(ops[op] for op in FLOAT_OPS), dict(ops)
    convs = sum(node.op_type == "Conv" for node in onnx.load(str(folded)).graph.node)
    assert ops["QLinearConv"] == convs and ops["QGemm"] == 1, dict(ops)
    assert ops["QuantizeLinear"] == 1 and ops["DequantizeLinear"] == 1, f"codes leave the integers: {dict(ops)}"
    close = snr(run(reference, feeds)["logits"], run(path, feeds)["logits"])
    assert close >= LEAST_SNR, f"{close:.1f} dB to the float model with these weights"
    apart = executor_agrees(tools, folded, plan, feeds)
    whole = snr(run(path, feeds)["logits"], tools.execute(path, feeds)["logits"])
    assert whole >= LEAST_SNR, f"{whole:.1f} dB between the executor and ONNX Runtime"
    share = report["bytes"] / before.stat().st_size
    if name == "resnet20":
        assert share <= SIZES[bits], f"{share:.2%} of the float file"
    return f"{close:.1f} dB, {apart:.4%} of codes a step apart, {report['bytes']} bytes, {share:.2%}"


def wrong_scales(tools, rng):
    """The bound on the signal would notice: any one scale twice what it should be."""
    _, folded = tools.zoo("resnet20", rng, *IMAGES["resnet20"][0])
    feeds = {"input": rng.standard_normal(IMAGES["resnet20"][1]).astype(F)}
    plan, reference = plan_for(tools, folded, feeds, 8)
    expected = run(reference, feeds)["logits"]
    for name in ("layer1.0.conv1.folded_weight", "layer3.2.conv2.folded_weight", "fc.weight"):
        path, _ = tools.export(folded, plan)
        model = onnx.load(str(path))
        wanted = np.array(plan["weights"][name]["scales"], F)
        scale = next(t for t in model.graph.initializer if t.dims and t.data_type == 1 and t.dims[0] == wanted.size
                     and np.array_equal(numpy_helper.to_array(t), wanted))
        scale.CopyFrom(numpy_helper.from_array(wanted * 2, scale.name))
        onnx.save(model, str(tools.folder / "wrong.onnx"))
        found = snr(expected, run(tools.folder / "wrong.onnx", feeds)["logits"])
        assert found < LEAST_SNR, f"{name}: {found:.1f} dB with twice the scale"


class Net:
    """A small float model, node by node."""

    def __init__(self, rng, shape):
        self.rng, self.nodes, self.constants, self.count = rng, [], [], 0
        self.shape = shape

    def constant(self, values):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(values), f"c{self.count}"))
        return f"c{self.count}"

    def op(self, op, *inputs, out=None, **attributes):
        self.count += 1
        out = out or f"{op.lower()}{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [out] if isinstance(out, str) else out,
                                           name=out if isinstance(out, str) else out[0] + ".node", **attributes))
        return out

    def conv(self, x, i, o, k=3, **attributes):
        w = self.rng.standard_normal((o, i, k, k)) * (2 / (i * k * k)) ** .5
        return self.op("Conv", x, self.constant(w.astype(F)), self.constant(self.rng.uniform(-.3, .3, o).astype(F)),
                       pads=[k // 2] * 4, **attributes)

    def model(self, *outputs, opset=17):
        graph = helper.make_graph(self.nodes, "net", [helper.make_tensor_value_info("input", 1, list(self.shape))],
                                  [helper.make_tensor_value_info(o, 1, None) for o in outputs], self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(made)


def checked(tools, net, outputs, bits=8, at_least=LEAST_SNR, flags=(), change=None):
    """Exports a small net by a min-max plan; (optimised ops, report, path, plan) once the numbers are found right."""
    float_path = tools.save(net.model(*outputs))
    folded = tools.folder / "folded.onnx"
    tools.call(tools.qdq, "fold", float_path, folded)
    feeds = {"input": net.rng.standard_normal(net.shape).astype(F)}
    plan, reference = plan_for(tools, folded, feeds, bits)
    if change:
        change(plan)
        reference = with_weights(folded, plan, tools.folder / "reference.onnx")
    path, report = tools.export(folded, plan, *flags)
    for output in outputs:
        close = snr(run(reference, feeds)[output], run(path, feeds)[output])
        assert close >= at_least, f"{output}: {close:.1f} dB"
    executor_agrees(tools, folded, plan, feeds, [flag for flag in flags if flag != "readable"])
    return optimised_ops(path), report, path, plan


def floats(report):
    return {n["node"]: n["reason"] for n in report["nodes"] if not n["quantised"]}


def small_cases(tools, rng):
    def chain():
        """Pools, a mean, Concat with scales that differ, Split, Slice, Transpose: integers all the way but for the windows' averages."""
        net = Net(rng, (2, 4, 12, 12))
        a = net.op("Relu", net.conv("input", 4, 8))
        b = net.op("Relu", net.conv(a, 8, 8))
        c = net.op("Concat", net.op("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]),
                   net.op("AveragePool", b, kernel_shape=[2, 2], strides=[2, 2]), axis=1)
        halves = net.op("Split", c, out=["low", "high"], axis=1)
        d = net.op("Mul", net.op("Sigmoid", halves[0]), halves[1])
        e = net.op("Slice", d, net.constant(np.array([0])), net.constant(np.array([5])), net.constant(np.array([2])))
        f = net.op("ReduceMean", net.op("Transpose", e, perm=[0, 1, 3, 2]), axes=[2, 3], keepdims=0)
        net.op("Gemm", f, net.constant(rng.standard_normal((8, 3)).astype(F)), net.constant(rng.standard_normal(3).astype(F)), out="y")
        ops, report, _, _ = checked(tools, net, ["y"])
        assert list(floats(report).values()) == ["ONNX Runtime averages windows faster in float"], floats(report)
        assert ops["AveragePool"] == 1 and not ops["QLinearAveragePool"], dict(ops)
        assert not any(ops[op] for op in FLOAT_OPS + ("Concat", "Mul", "Sigmoid", "ReduceMean", "GlobalAveragePool") if op != "Clip"), dict(ops)

    def depthwise():
        net = Net(rng, (2, 8, 9, 9))
        x = net.op("Clip", net.conv("input", 1, 8, group=8), net.constant(F(0)), net.constant(F(6)))
        net.op("Add", net.conv(x, 8, 8, 1), "input", out="y")
        ops, report, _, _ = checked(tools, net, ["y"], bits=4)
        assert not floats(report) and ops["QLinearConv"] == 2 and ops["QLinearAdd"] == 1, (floats(report), dict(ops))

    def hard_swish():
        """What has no integer form stays float and says so; the convolutions beside it do not suffer."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("HardSwish", net.conv("input", 4, 8))
        net.op("Relu", net.conv(x, 8, 4), out="y")
        ops, report, _, _ = checked(tools, net, ["y"])
        assert set(reason.split()[-1] for reason in floats(report).values()) == {"HardSwish"}, floats(report)
        assert ops["QLinearConv"] == 2 and not ops["Conv"], dict(ops)

    def float_island():
        """A node that the plan leaves in float, and its float weight."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("Relu", net.conv("input", 4, 8))
        island = net.conv(x, 8, 8)
        net.op("Relu", net.conv(net.op("Relu", island), 8, 4), out="y")
        ops, report, _, _ = checked(tools, net, ["y"], change=lambda plan: plan["left_in_float"].update({island: "too sensitive"}))
        assert floats(report)[island] == "too sensitive" and ops["QLinearConv"] == 2, (floats(report), dict(ops))
        assert ops["Conv"] + ops["FusedConv"] == 1, dict(ops)

    def four_bit_activations():
        """W4A4 in integers: codes are clipped to 0..15 between the kernels."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("Relu", net.conv("input", 4, 8))
        net.op("Relu", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 4), out="y")

        def narrow(plan):
            for name, params in plan["activations"].items():
                top = params["scales"][0] * 255
                # A third of the range, so that codes beyond 15 would show.
                if params["zero_points"] == [0] and name != "y":
                    plan["activations"][name] = activation(0, top / 3, bits=4)
        ops, report, path, plan = checked(tools, net, ["y"], bits=4, at_least=-5, change=narrow)
        assert not floats(report) and ops["QLinearConv"] == 3, (floats(report), dict(ops))
        assert any(p["bits"] == 4 for p in plan["activations"].values()) and ops["Clip"] == 2, dict(ops)

    def matmul():
        net = Net(rng, (2, 5, 16))
        x = net.op("MatMul", "input", net.constant(rng.standard_normal((16, 8)).astype(F)))
        net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]), out="y")
        ops, report, _, _ = checked(tools, net, ["y"], bits=4)
        assert not floats(report) and ops["QLinearMatMul"] == 2, (floats(report), dict(ops))

    def grouped_weights():
        """Scales for groups of 32: right numbers, in float."""
        net = Net(rng, (3, 80))
        net.op("Gemm", "input", net.constant(rng.standard_normal((10, 80)).astype(F)), net.constant(np.zeros(10, F)), transB=1, out="y")
        path = tools.save(net.model("y"))
        feeds = {"input": rng.standard_normal(net.shape).astype(F)}
        _, name, values, _ = next(weights_of(onnx.load(str(path))))
        plan = dict(activations={}, weights={name: weight(values, 4, axis=1, group=32)}, left_in_float={})
        quantised, report = tools.export(path, plan)
        assert report["opset"] == 21 and len(floats(report)) == 1, report
        blocks = np.repeat(np.array(plan["weights"][name]["scales"], F).reshape(10, 3), 32, axis=1)[:, :80]
        expected = feeds["input"] @ (np.clip(np.rint(values / blocks), -7, 7) * blocks).T
        for found in (run(quantised, feeds)["y"], tools.execute(quantised, feeds)["y"]):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    def every_width():
        for bits, kind, opset in ((2, "INT2", 25), (3, "INT4", 21), (4, "INT4", 21), (5, "INT8", 17), (6, "INT8", 17), (7, "INT8", 17)):
            net = Net(rng, (2, 4, 8, 8))
            x = net.op("Relu", net.conv("input", 4, 8))
            net.op("Relu", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 4), out="y")
            ops, report, path, _ = checked(tools, net, ["y"], bits=bits)
            kinds = {onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load(str(path)).graph.initializer if len(t.dims) == 4}
            assert kinds == {kind, "INT8"}, kinds  # first and last layer at 8
            assert report["opset"] == opset and ops["QLinearConv"] == 3, (report["opset"], dict(ops))

    def direct():
        """Without the Cast ONNX Runtime keeps 4-bit convolutions in float; the report knows."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("Relu", net.conv("input", 4, 8))
        middle = net.conv(x, 8, 8)
        net.op("Relu", net.conv(net.op("Relu", middle), 8, 4), out="y")
        ops, report, _, _ = checked(tools, net, ["y"], bits=4, flags=["direct"])
        assert "no Cast" in floats(report)[middle], floats(report)
        assert ops["Conv"] + ops["FusedConv"] == 1 and ops["QLinearConv"] == 2, dict(ops)

    def opsets():
        for opset in range(13, 26):
            net = Net(rng, (2, 4, 8, 8))
            x = net.op("MaxPool", net.op("Relu", net.conv("input", 4, 8)), kernel_shape=[2, 2])
            net.op("GlobalAveragePool", net.op("Relu", net.conv(x, 8, 4)), out="y")
            bits = 2 if opset >= 25 else 4 if opset >= 21 else 8
            ops, report, path, _ = checked(tools, net, ["y"], bits=bits, flags=[f"opset={opset}", "readable"])
            assert onnx.load(str(path)).opset_import[0].version == opset and ops["QLinearConv"] == 2, dict(ops)

    def large_bias():
        """A bias of more than 32 bits: the weight's scale gives way, and the sum does not wrap."""
        net = Net(rng, (2, 4, 8, 8))
        c = net.conv("input", 4, 8)
        bias = next(t for t in net.constants if t.name == net.nodes[0].input[2])
        values = numpy_helper.to_array(bias).copy()
        values[3], values[5] = 9.0, -7.0
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        weights = next(t for t in net.constants if t.name == net.nodes[0].input[1])
        w = numpy_helper.to_array(weights).copy()
        w[[3, 5]] *= 1e-9
        weights.CopyFrom(numpy_helper.from_array(w, weights.name))
        net.op("Identity", c, out="y")
        _, report, _, _ = checked(tools, net, ["y"])
        assert report["enlarged"], report

    def readable():
        """Values keep their names where the file need not be small, and the numbers are the same."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("Relu", net.conv("input", 4, 8), out="first")
        net.op("Relu", net.conv(x, 8, 8), out="y")
        _, _, path, plan = checked(tools, net, ["y"], flags=["readable"])
        model = onnx.load(str(path))
        assert any(node.op_type == "DequantizeLinear" and node.output[0] == "first" for node in model.graph.node)
        feeds = {"input": rng.standard_normal(net.shape).astype(F)}
        compact, _ = tools.export(tools.folder / "folded.onnx", plan, name="compact")
        assert compact.stat().st_size < path.stat().st_size
        np.testing.assert_array_equal(run(compact, feeds)["y"], run(path, feeds)["y"])

    def again():
        """A quantised file is read back, and written again computes the same."""
        net = Net(rng, (2, 4, 8, 8))
        x = net.op("Relu", net.conv("input", 4, 8))
        net.op("Relu", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 4), out="y")
        _, _, path, _ = checked(tools, net, ["y"], bits=2)
        second = tools.folder / "second.onnx"
        tools.call(tools.ds_export, "--model", path, "--format", "onnx", "--output", second, "--opset", 25)
        feeds = {"input": rng.standard_normal(net.shape).astype(F)}
        np.testing.assert_array_equal(run(path, feeds)["y"], run(second, feeds)["y"])
        assert optimised_ops(second)["QLinearConv"] == 3

    def other_profile():
        """A file for one runtime is not passed off as one for the other, nor is a float one."""
        net = Net(rng, (2, 4, 8, 8))
        net.op("Relu", net.conv("input", 4, 8), out="y")
        _, _, path, _ = checked(tools, net, ["y"])
        for source, fragment in ((path, "was calibrated for one runtime"), (tools.folder / "folded.onnx", "is not quantised")):
            other = tools.folder / "other.onnx"
            done = subprocess.run([tools.ds_export, "--model", source, "--profile", "tensorrt", "--format", "onnx", "--output", other],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 1 and not other.exists()
            assert fragment in done.stderr and "ds_quantize --profile tensorrt" in done.stderr, done.stderr

    for case in (chain, depthwise, hard_swish, float_island, four_bit_activations, matmul, grouped_weights, every_width, direct, opsets,
                 large_bias, readable, again, other_profile):
        yield case.__name__, case


def bad_plans(tools, rng):
    """One line that names the culprit, and no file."""
    net = Net(rng, (2, 4, 8, 8))
    net.op("Relu", net.conv("input", 4, 8), out="y")
    path = tools.save(net.model("y"))
    feeds = {"input": rng.standard_normal(net.shape).astype(F)}
    good = min_max_plan(path, feeds)
    name = next(iter(good["weights"]))

    def broken(part, key, **fields):
        plan = {kind: dict(entries) for kind, entries in good.items()}
        plan[part][key] = dict(plan[part].get(key, good["activations"]["y"]), **fields)
        return plan

    for what, plan, words in (
            ("unknown activation", broken("activations", "nobody"), ["nobody"]),
            ("unknown weight", broken("weights", "nobody"), ["nobody"]),
            ("unknown node", good | {"left_in_float": {"nobody": "x"}}, ["nobody"]),
            ("too few scales", broken("weights", name, scales=[.1] * 7), [name, "7 scales"]),
            ("too few zero points", broken("weights", name, zero_points=[0] * 7), [name, "7 zero points"]),
            ("axis that is none", broken("weights", name, axis=9), [name, "axis 9"]),
            ("scale 0", broken("activations", "y", scales=[0.0]), ["'y'", "positive"]),
            ("scale below 0", broken("activations", "y", scales=[-1.0]), ["'y'", "positive"]),
            ("zero point outside", broken("activations", "y", zero_points=[-1]), ["'y'", "zero point"]),
            ("no scale", broken("activations", "y", scales=[], zero_points=[]), ["'y'", "0 scales"]),
            ("9 bits", broken("activations", "y", bits=9), ["'y'", "bits"]),
            ("a channel's scales for an activation", broken("activations", "y", axis=1), ["'y'", "axis 1"]),
            ("a bias as weight", broken("weights", "c3"), ["c3"])):
        def refused():
            line = tools.refused(path, plan)
            assert all(word in line for word in words), line
        yield f"refused: {what}", refused
    yield "refused: opset 29", lambda: check_words(tools.refused(path, good, "opset=29"), "13 to 28")


def check_words(line, *words):
    assert all(word in line for word in words), line


def cases(tools, rng):
    for name in IMAGES:
        for bits in WIDTHS[name]:
            yield f"{name} W{bits}A8", lambda: zoo_case(tools, name, bits, rng)
    yield "wrong scales are noticed", lambda: wrong_scales(tools, rng)
    for name, case in [*small_cases(tools, rng), *bad_plans(tools, rng)]:
        yield name.replace("_", " "), case


if __name__ == "__main__":
    run_cases(sys.argv[1:], cases, SEED, at_least=35)
