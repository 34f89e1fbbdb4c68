"""Layer by layer, the codes that the engine makes are ONNX Runtime's to one, from the same codes: no differences add up.

    layers_test.py DS_EXPORT LIBRARY SCRIPTS

SCRIPTS is the folder of layer_by_layer.py.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

DS_EXPORT, LIBRARY, SCRIPTS = sys.argv[1:4]
sys.path.insert(0, SCRIPTS)
import layer_by_layer  # noqa: E402

# The layers that each has at least.
NETWORKS = {"lenet": 8, "resnet8": 12, "mobilenet_v3_small": 100}


class Samples(CalibrationDataReader):
    def __init__(self, network):
        self.feeds = iter([layer_by_layer.feed_of(network, seed) for seed in range(100, 104)])

    def get_next(self):
        return next(self.feeds, None)


class LayerByLayer(unittest.TestCase):
    def test_codes_are_onnx_runtimes_to_one(self):
        with tempfile.TemporaryDirectory(prefix="ds_layers_") as name:
            folder = pathlib.Path(name)
            for network, least in NETWORKS.items():
                for activations in (QuantType.QUInt8, QuantType.QInt8):
                    with self.subTest(network=network, activations=str(activations)):
                        self.check(folder, network, least, activations)

    def test_weights_of_eight_bits_too(self):
        """As the file says it: ONNX Runtime's own integer kernels saturate on processors without VNNI, but for weights of seven bits."""
        with tempfile.TemporaryDirectory(prefix="ds_layers_") as name:
            self.check(pathlib.Path(name), "mobilenet_v3_small", 100, QuantType.QUInt8, plain=True)

    def check(self, folder, network, least, activations, plain=False):
        path, folded, quantised = (folder / f"{network}{ending}.onnx" for ending in ("", ".folded", ".int8"))
        subprocess.run([DS_EXPORT, "--model", f"zoo:{network}", "--format", "onnx", "--output", path], check=True, capture_output=True)
        quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
        model = layer_by_layer.Network(layer_by_layer.fixed(layer_by_layer.onnx.load(folded)))
        quantize_static(str(folded), str(quantised), Samples(model), quant_format=QuantFormat.QDQ, activation_type=activations,
                        weight_type=QuantType.QInt8, per_channel=True, reduce_range=not plain)
        found = layer_by_layer.compare(DS_EXPORT, LIBRARY, quantised, plain=plain)
        self.assertGreaterEqual(len(found), least)
        self.assertEqual([row for row in found if row[2] is None], [], "refused")
        self.assertEqual([row for row in found if row[2] > 1], [], "further than one code")
        self.assertLess(np.mean([row[3] for row in found]), 0.01)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
