"""Networks unlike those of the zoo, by hand and with random weights: what ONNX Runtime computes from them the engine computes.

    unlike_networks_test.py DS_EXPORT LIBRARY
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from engine import Engine

DS_EXPORT, LIBRARY = sys.argv[1:3]
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64, np.dtype(np.int8): TensorProto.INT8}


class Net:
    """An ONNX graph, node by node."""

    def __init__(self, seed=0):
        self.random, self.nodes, self.weights, self.inputs, self.feeds = np.random.default_rng(seed), [], [], [], {}

    def input(self, name, shape, dtype=np.float32, high=10):
        dtype = np.dtype(dtype)
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
        floats = dtype == np.float32
        self.feeds[name] = (self.random.standard_normal(shape) if floats else self.random.integers(-high, high, shape)).astype(dtype)
        return name

    def constant(self, values):
        values = np.asarray(values)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32) if values.dtype == np.float64 else values, f"c{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *shape):
        fan = max(1, int(np.prod(shape[1:])))
        return self.constant((self.random.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def save(self, path, *outputs):
        ports = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, ports, self.weights)
        onnx.save(onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)), path)


def session(path, fuses=True):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not fuses:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class UnlikeNetworks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ds_unlike_")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "net.onnx"

    def compiled(self, path):
        done = subprocess.run([DS_EXPORT, "--model", path, "--format", "dsm", "--output", path.with_suffix(".dsm"), "--explain"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        engine = Engine(LIBRARY, path.with_suffix(".dsm"), threads=2)
        self.addCleanup(engine.close)
        return engine, done.stdout

    def check(self, net, *outputs):
        net.save(self.path, *outputs)
        engine, explained = self.compiled(self.path)
        for theirs, ours in zip(session(self.path).run(None, net.feeds), engine.run(net.feeds), strict=True):
            self.assertEqual((theirs.shape, theirs.dtype), (ours.shape, ours.dtype))
            if theirs.dtype.kind == "f":
                self.assertLess(np.abs(theirs - ours).max(), 1e-4 * np.ptp(theirs))
            else:
                np.testing.assert_array_equal(theirs, ours)
        return explained

    def test_a_decoder_that_enlarges_by_transposed_convolutions_and_resizes(self):
        net = Net()
        x = net.input("x", [2, 3, 17, 20])
        down = net.op("Conv", net.op("Pad", x, net.constant(np.int64([0, 0, 2, 1, 0, 0, 1, 2])), mode="reflect"), net.weight(8, 3, 3, 3), strides=[2, 2])
        norm = net.op("GroupNormalization", down, net.weight(8), net.weight(8), num_groups=4)
        deep = net.op("Conv", net.op("Relu", norm), net.weight(12, 8, 3, 3), net.weight(12), strides=[2, 2], pads=[1, 1, 1, 1])
        deep = net.op("LeakyRelu", net.op("InstanceNormalization", deep, net.weight(12), net.weight(12)), alpha=0.2)
        up = net.op("ConvTranspose", deep, net.weight(12, 4, 3, 3), net.weight(8), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[0, 1], group=2)
        sized = net.op("Resize", up, "", "", net.constant(np.int64([2, 8, 9, 11])), mode="linear", coordinate_transformation_mode="align_corners")
        joined = net.op("Concat", sized, net.op("Resize", down, "", "", net.constant(np.int64([2, 8, 9, 11])), mode="cubic"), axis=1)
        self.check(net, net.op("Resize", net.op("Conv", joined, net.weight(2, 16, 1, 1)), "", net.constant(np.float32([1, 1, 1.7, 2.3])), mode="nearest"))

    def test_pads_that_follow_from_extents_in_floats(self):
        """SAME as PyTorch's older exporter writes it, twice: the second one's pads need the extents that the first one's leave."""
        net = Net(8)
        number, ints = (lambda x: net.constant(np.float32(x))), (lambda *x: net.constant(np.int64(x)))

        def same(x, kernel, stride):
            ends = []
            for axis in (3, 2):
                extent = net.op("Cast", net.op("Gather", net.op("Shape", x), ints(axis)), to=TensorProto.FLOAT)
                steps = net.op("Sub", net.op("Ceil", net.op("Div", extent, number(stride))), number(1))
                missing = net.op("Sub", net.op("Add", net.op("Mul", steps, number(stride)), number(kernel)), extent)
                missing = net.op("Clip", missing, number(0))
                before = net.op("Floor", net.op("Div", missing, number(2)))
                ends += [before, net.op("Sub", missing, before)]
            left, right, top, bottom = (net.op("Reshape", end, ints(1)) for end in ends)
            pads = net.op("Cast", net.op("Concat", top, left, bottom, right, axis=0), to=TensorProto.INT64)
            return net.op("Pad", x, pads, "", ints(2, 3))

        x = net.input("x", [2, 3, 18, 25])
        y = net.op("Conv", same(x, 3, 2), net.weight(5, 3, 3, 3), strides=[2, 2])
        self.check(net, net.op("Conv", same(y, 4, 3), net.weight(2, 5, 4, 4), strides=[3, 3]))

    def test_attention_s_heads_are_moved_once(self):
        """As exporters write them: all three transposed, then a slice of each, one transposed again."""
        net = Net(9)
        x = net.input("x", [1, 11, 24])
        heads = net.op("Reshape", net.op("MatMul", x, net.weight(24, 72)), net.constant(np.int64([1, 11, 3, 4, 6])))
        turned = net.op("Transpose", heads, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.op("Gather", turned, net.constant(np.int64(i)), axis=0) for i in range(3))
        scores = net.op("Mul", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), net.constant(np.float32(0.4)))
        mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
        y = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.constant(np.int64([1, 11, 24])))
        explained = self.check(net, y)
        self.assertEqual(sum(line.split()[1:2] == ["move"] for line in explained.splitlines()), 4, explained)

    def test_a_speech_network_of_one_dimension_and_recurrences(self):
        net = Net(1)
        x = net.input("x", [2, 5, 23])
        y = net.op("Conv", x, net.weight(6, 5, 3), net.weight(6), strides=[2], pads=[1, 1], dilations=[1])
        y = net.op("AveragePool", net.op("Erf", y), kernel_shape=[2], strides=[1])
        steps = net.op("Transpose", y, perm=[2, 0, 1])
        all_steps, last, _ = net.op("LSTM", steps, net.weight(2, 28, 6), net.weight(2, 28, 7), net.weight(2, 56), outputs=3, hidden_size=7,
                                    direction="bidirectional")
        flat = net.op("Reshape", net.op("Transpose", all_steps, perm=[0, 2, 1, 3]), net.constant(np.int64([11, 2, 14])))
        backwards, _ = net.op("GRU", flat, net.weight(1, 15, 14), net.weight(1, 15, 5), net.weight(1, 30), outputs=2, hidden_size=5, direction="reverse",
                              linear_before_reset=1)
        self.check(net, backwards, last, net.op("CumSum", net.op("ReduceLogSumExp", backwards, net.constant(np.int64([0, 3]))), net.constant(np.int64(2))))

    def test_windows_that_are_shifted_and_attend_under_a_mask(self):
        net = Net(2)
        x = net.input("x", [1, 8, 8, 12])
        one, end = net.constant(np.int64([2])), net.constant(np.int64([9]))
        rolled = net.op("Concat", net.op("Slice", x, one, end, net.constant(np.int64([1]))),
                        net.op("Slice", x, net.constant(np.int64([0])), one, net.constant(np.int64([1]))), axis=1)
        windows = net.op("Reshape", net.op("Transpose", net.op("Reshape", rolled, net.constant(np.int64([1, 2, 4, 2, 4, 12]))), perm=[0, 1, 3, 2, 4, 5]),
                         net.constant(np.int64([4, 16, 12])))
        q, k, v = (net.op("MatMul", windows, net.weight(12, 12)) for _ in range(3))
        scores = net.op("Einsum", q, k, equation="bik,bjk->bij")
        mask = net.constant(np.random.default_rng(5).random((4, 16, 16)) > 0.3)
        shares = net.op("Softmax", net.op("Where", mask, scores, net.constant(np.float32(-100))), axis=-1)
        mixed = net.op("Mul", net.op("MatMul", shares, v), net.op("Sqrt", net.op("Abs", net.op("ReduceMean", v, net.constant(np.int64([0, 2]))))))
        scaled = net.op("Div", mixed, net.op("Max", net.op("ReduceL2", mixed, net.constant(np.int64([-1]))), net.constant(np.float32(1e-6))))
        self.check(net, net.op("LayerNormalization", scaled, net.weight(12), net.weight(12), axis=-1))

    def test_integers_that_choose_and_count(self):
        net = Net(3)
        x, n = net.input("x", [3, 20]), net.input("n", [3, 4], np.int64)
        values, places = net.op("TopK", x, net.constant(np.int64([5])), outputs=2, axis=1)
        even = net.op("Equal", net.op("Mod", n, net.constant(np.int64(2))), net.constant(np.int64(0)))
        chosen = net.op("Where", even, net.op("Mul", n, n), net.op("Sub", net.constant(np.int64([[1], [2], [3]])), n))
        picked = net.op("GatherElements", x, net.op("Abs", n), axis=1)
        spread = net.op("ScatterElements", x, places, values, axis=1, reduction="add")
        best = net.op("ArgMax", spread, axis=0, keepdims=0)
        self.check(net, values, places, chosen, picked, spread, best, net.op("Cast", net.op("Greater", x, spread), to=TensorProto.INT32))

    def test_volumes(self):
        net = Net(4)
        x = net.input("x", [2, 3, 6, 7, 5])
        y = net.op("Conv", x, net.weight(4, 3, 3, 3, 2), net.weight(4), strides=[1, 2, 1], pads=[1, 1, 0, 1, 1, 1])
        self.check(net, net.op("MaxPool", y, kernel_shape=[2, 2, 2], strides=[2, 1, 1]), net.op("AveragePool", y, kernel_shape=[2, 3, 2], pads=[1, 1, 0, 0, 1, 1]))

    def test_norms_of_sequences_and_volumes(self):
        net = Net(8)
        norm = lambda x, channels: net.op("BatchNormalization", x, *(net.weight(channels) for _ in range(3)),  # noqa: E731
                                          net.constant(np.linspace(0.5, 2, channels, dtype=np.float32)))
        x, v = net.input("x", [2, 5, 23]), net.input("v", [2, 3, 4, 6, 5])
        self.check(net, net.op("HardSwish", norm(x, 5)), norm(v, 3))

    def test_a_mask_of_positions(self):
        net = Net(9)
        x, n = net.input("x", [3, 400]), net.input("n", [3], np.int64, 400)
        length = net.op("Gather", net.op("Shape", x), net.constant(np.int64(1)))
        positions = net.op("Range", net.constant(np.int64(0)), length, net.constant(np.int64(1)))
        mask = net.op("Less", net.op("Unsqueeze", positions, net.constant(np.int64([0]))), net.op("Unsqueeze", n, net.constant(np.int64([1]))))
        self.check(net, net.op("Where", mask, x, net.constant(np.float32(0))))

    def test_codes_in_and_out(self):
        net = Net(5)
        scale, zero = net.constant(np.float32(0.05)), net.constant(np.int8(3))
        x = net.input("x", [1, 4, 5, 5], np.int8, 127)
        real = net.op("DequantizeLinear", x, scale, zero)
        self.check(net, net.op("QuantizeLinear", net.op("Relu", net.op("Neg", real)), scale, zero))

    def test_attention_between_codes_stays_in_integers(self):
        """Against what the graph says node by node: ONNX Runtime's products of two uint8 saturate on processors without VNNI."""
        net = Net(6)
        x = net.input("x", [1, 4, 16, 8])
        q, k, v = (net.op("MatMul", x, net.weight(8, 8)) for _ in range(3))
        shares = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        net.save(self.path, net.op("MatMul", shares, v))
        codes = self.path.with_name("codes.onnx")

        class Calibration(CalibrationDataReader):
            feeds = iter([{"x": np.random.default_rng(i).standard_normal([1, 4, 16, 8]).astype(np.float32)} for i in range(8)])

            def get_next(self):
                return next(self.feeds, None)

        quantize_static(str(self.path), str(codes), Calibration(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)
        engine, explained = self.compiled(codes)
        self.assertRegex(explained, r"matmul8 +\S+")
        self.assertRegex(explained, r"softmax8 +\S+")
        theirs, ours = session(codes, fuses=False).run(None, net.feeds)[0], engine.run(net.feeds)[0]
        self.assertLess(np.abs(theirs - ours).max(), 0.01 * np.ptp(theirs))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
