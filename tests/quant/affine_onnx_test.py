"""quant/affine.h against ONNX Runtime's QuantizeLinear and DequantizeLinear: every code and every bit of the reals.

    affine_onnx_test.py AFFINE_DUMP_PROGRAM
"""
import itertools
import subprocess
import sys
import unittest

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper
except ImportError as missing:
    print(f"skipped: {missing} (launch/setup.sh --dev)")
    sys.exit(77)

PROGRAM = sys.argv[1]
ELEMENTS = {(2, True): "INT2", (2, False): "UINT2", (4, True): "INT4", (4, False): "UINT4",
            (8, True): "INT8", (8, False): "UINT8"}


def ours(bits, signed, axis, group, x, scales, zero_points):
    command = [PROGRAM, bits, int(signed), -1 if axis is None else axis, group, *x.shape]
    done = subprocess.run([str(word) for word in command], input=x.tobytes() + scales.tobytes() + zero_points.tobytes(),
                          capture_output=True, check=True)
    codes = np.frombuffer(done.stdout, np.int32, x.size).reshape(x.shape)
    return codes, np.frombuffer(done.stdout, np.float32, x.size, 4 * x.size).reshape(x.shape)


def session(element, opset, axis, group, x, scales, zero_points):
    kind = getattr(TensorProto, element)
    attributes = {} if axis is None else {"axis": axis}
    if group:
        attributes["block_size"] = group
    zero_point = helper.make_tensor("z", kind, scales.shape, zero_points.flatten().tolist())
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
         helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes)],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor("s", TensorProto.FLOAT, scales.shape, scales.flatten().tolist()), zero_point])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10 if opset < 23 else 13)
    options = ort.SessionOptions()
    # Its optimiser would remove the pair.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Affine(unittest.TestCase):
    def compare(self, bits, signed, shape, axis, group):
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if axis is None:
            scale_shape = ()
        elif group:
            scale_shape = tuple(-(-n // group) if i == axis else n for i, n in enumerate(shape))
        else:
            scale_shape = (shape[axis],)
        random = np.random.default_rng(20240611)
        scales = random.uniform(0.01, 0.3, scale_shape).astype(np.float32)
        zero_points = random.integers(low, high + 1, scale_shape).astype(np.int32)
        x = (random.standard_normal(shape) * 0.15 * (high - low) / 2).astype(np.float32)
        if axis is None:
            # Ties, and what saturates.
            ties = (np.arange(x.size, dtype=np.float32) - x.size // 2 + np.float32(0.5)) * np.float32(0.25)
            scales = np.float32(0.25)
            x = np.where(random.random(shape) < 0.5, ties.reshape(shape), x * 8).astype(np.float32)
            x.flat[:4] = [3e38, -3e38, np.inf, -np.inf]
            x.flat[4:8] = [1e-45, -1e-45, 0.0, -0.0]
        codes, reals = ours(bits, signed, axis, group, x, np.asarray(scales), zero_points)
        element = ELEMENTS[bits, signed]
        wanted = session(element, 25 if bits == 2 else 21, axis, group, x, np.asarray(scales), zero_points).run(
            ["y"], {"x": x})[0]
        np.testing.assert_array_equal(reals, wanted)
        # The reals are codes times scales: equal reals are equal codes.
        self.assertTrue(((codes >= low) & (codes <= high)).all())
        self.assertGreater(len(np.unique(codes)), min(4, high - low))

    def test_every_code_and_real_is_onnx_runtimes(self):
        layouts = [((1031,), None, 0), ((7, 13, 3), None, 0), ((7, 13, 3), 0, 0), ((7, 13, 3), 1, 0), ((5, 67), 1, 0),
                   ((64, 9), 0, 32), ((3, 128), 1, 32), ((3, 67, 5), 1, 32), ((130, 4), 0, 64), ((2, 300), 1, 128)]
        for (bits, signed), (shape, axis, group) in itertools.product(ELEMENTS, layouts):
            with self.subTest(bits=bits, signed=signed, shape=shape, axis=axis, group=group):
                self.compare(bits, signed, shape, axis, group)


if __name__ == "__main__":
    print(f"onnx {onnx.__version__}, ONNX Runtime {ort.__version__}")
    unittest.main(argv=sys.argv[:1], verbosity=2)
