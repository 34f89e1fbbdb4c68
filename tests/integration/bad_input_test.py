"""What ds_quantize does with bad input, as a table: one clear error and no file, or a correct result.

    bad_input_test.py DS_QUANTIZE
"""
import gzip
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from case_report import Report  # noqa: E402

try:
    import numpy as np
    import onnx
    import onnxruntime
    onnxruntime.set_default_logger_severity(3)
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

SEED = 20261126
F = np.float32
CONFIG = """
model: {name: resnet8}
data: {type: synthetic, channels: 3, height: 8, width: 8, classes: 4, size: 40, test_batch_size: 8, mean: [0.5, 0.5, 0.5], stddev: [0.25, 0.25, 0.25]}
"""
# Of the float model's outputs, at 8 bits: a tiny network of random weights, calibrated on smooth pictures and tried on noise, some of
# which is beyond the ranges.
LEAST_SNR = 20.0
LEAST_SNR_OF_CONSTANTS = 35.0
SECONDS = 60


class Net:
    """conv -> relu -> conv -> relu -> pool -> gemm; a case changes what it wants other than that."""

    def __init__(self, shape=("batch", 3, 8, 8), classes=4, width=20):
        rng = np.random.default_rng(SEED)
        self.shape, self.classes, self.opset, self.extra_inputs = list(shape), classes, 17, []
        self.tensors = {"w1": rng.standard_normal((8, 3, 3, 3)) * .3, "b1": rng.uniform(-.2, .2, 8),
                        "w2": rng.standard_normal((width, 8, 3, 3)) * .2, "b2": rng.uniform(-.2, .2, width),
                        "w3": rng.standard_normal((classes, width)), "b3": rng.uniform(-.2, .2, classes)}
        self.tensors = {name: values.astype(F) for name, values in self.tensors.items()}
        make = helper.make_node
        self.nodes = [make("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4), make("Relu", ["c1"], ["r1"], name="r1"),
                      make("Conv", ["r1", "w2", "b2"], ["c2"], name="c2", pads=[1] * 4), make("Relu", ["c2"], ["r2"], name="r2"),
                      make("GlobalAveragePool", ["r2"], ["p"], name="p"), make("Flatten", ["p"], ["f"], name="f"),
                      make("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1)]

    def model(self, kind=TensorProto.FLOAT):
        tensors = [numpy_helper.from_array(v, n) for n, v in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "net", [helper.make_tensor_value_info("x", kind, self.shape), *self.extra_inputs],
                                  [helper.make_tensor_value_info("y", kind, [self.shape[0], self.classes])], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("own", 1)], ir_version=8)


def changed(change=lambda net: None, **arguments):
    """A model's bytes."""
    net = Net(**arguments)
    change(net)
    return net.model().SerializeToString()


def with_values(name, index, value):
    def change(net):
        net.tensors[name][index] = value
    return changed(change)


def scaled(name, factor):
    def change(net):
        net.tensors[name] = (net.tensors[name] * F(factor)).astype(F)
    return changed(change)


def replaced(index, *new):
    def change(net):
        net.nodes[index:index + 1] = new
    return changed(change)


def shared_weight():
    def change(net):
        net.nodes.insert(2, helper.make_node("Conv", ["r1", "same", "b1"], ["again"], name="again", pads=[1] * 4))
        net.nodes.insert(3, helper.make_node("Conv", ["again", "same", "b1"], ["r1b"], name="again2", pads=[1] * 4))
        net.tensors["same"] = np.random.default_rng(1).standard_normal((8, 8, 3, 3)).astype(F) * F(.1)
        net.nodes[4].input[0] = "r1b"
    return changed(change)


def only_relu():
    def change(net):
        net.nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"], name="p"), helper.make_node("Flatten", ["p"], ["f"], name="f"),
                     helper.make_node("Relu", ["f"], ["y"], name="r")]
        net.tensors, net.classes = {}, 3
    return changed(change)


def no_bias():
    def change(net):
        del net.nodes[0].input[2], net.nodes[2].input[2]
    return changed(change)


def grouped():
    def change(net):
        net.tensors["w2"] = net.tensors["w2"][:, :1].copy()
        net.tensors["w2"] = np.repeat(net.tensors["w2"], 1, 1)[:16]
        net.tensors["b2"], net.tensors["w3"] = net.tensors["b2"][:16], net.tensors["w3"][:, :16].copy()
        net.nodes[2].attribute.append(helper.make_attribute("group", 8))
    return changed(change)


def huge_bias_on_dead_weights():
    def change(net):
        net.tensors["w2"][3] *= F(1e-12)
        net.tensors["b2"][3] = 5
    return changed(change)


def idx_folder(folder, images, labels=None):
    """Fashion-MNIST's four files with so many images of zeros; labels of its own number, or none."""
    folder.mkdir(exist_ok=True)
    for split in ("train", "t10k"):
        with gzip.open(folder / f"{split}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">IIII", 0x803, images, 28, 28) + bytes(images * 784))
        if labels is not None:
            with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz", "wb") as file:
                file.write(struct.pack(">II", 0x801, labels) + bytes(labels))
    return folder


class Bench:
    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)
        self.config = self.write("config.yaml", CONFIG.encode())
        self.good = self.write("good.onnx", changed())
        self.output = self.folder / "out.onnx"

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def run(self, *options, model=None, data=None, output=None):
        if isinstance(model, bytes):
            model = self.write("model.onnx", model)
        arguments = ["--model", model or self.good, "--data", data or self.config, "--threads", 1, *options]
        arguments += ["--output", output or self.output] if output != "" else []
        return subprocess.run([str(a) for a in (self.program, *arguments)], capture_output=True, text=True, timeout=SECONDS, check=False)

    def refused(self, words, *options, **files):
        done = self.run(*options, **files)
        assert done.returncode > 0, f"it ended with {done.returncode} instead of an error: {done.stderr or done.stdout}"
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("Run with --help")]
        errors = [line for line in lines if line.startswith("ds_quantize:")] or lines
        assert len(errors) == 1, f"{len(errors)} errors instead of one: {done.stderr}"
        assert all(word in done.stderr for word in words), done.stderr
        assert not self.output.exists(), "a file was left behind"
        return errors[0][:110]

    def right(self, model, *options, least=LEAST_SNR, shape=(16, 3, 8, 8), data=None):
        """The file computes in ONNX Runtime nearly what the float model does."""
        done = self.run(*options, model=model, data=data)
        assert done.returncode == 0, done.stderr
        x = np.random.default_rng(SEED).uniform(-2, 2, shape).astype(F)
        logits = []
        for path in (self.folder / "model.onnx", self.output):
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            logits.append(np.concatenate([session.run(None, {"x": x[i:i + 2]})[0] for i in range(0, len(x), 2)]).astype(np.float64))
        self.output.unlink()
        assert np.isfinite(logits[1]).all(), "NaN or Inf"
        noise = np.square(logits[1] - logits[0]).sum()
        found = 10 * np.log10(np.square(logits[0]).sum() / max(noise, 1e-300))
        assert found >= least, f"{found:.1f} dB"
        return f"{min(found, 200):.1f} dB"


def files(b):
    good = b.good.read_bytes()
    yield "model that is not there", lambda: b.refused(["none.onnx"], model=b.folder / "none.onnx")
    yield "empty file", lambda: b.refused(["model.onnx"], model=b"")
    yield "random bytes", lambda: b.refused(["model.onnx"], model=np.random.default_rng(1).bytes(500))
    yield "torn file", lambda: b.refused(["model.onnx"], model=good[:len(good) // 2])
    yield "a YAML as model", lambda: b.refused(["config.yaml"], model=b.config)
    yield "a folder as model", lambda: b.refused([str(b.folder)], model=b.folder)
    yield "model that is quantised already", lambda: quantised_twice(b)
    yield "nothing to quantise", lambda: b.refused(["nothing to quantise"], "data.classes=3", model=only_relu())
    yield "operator that is not supported", lambda: b.refused(["Det"], model=replaced(1, helper.make_node(
        "Det", ["c1"], ["r1"], name="e")))
    yield "operator of another domain", lambda: b.refused(["Fast"], model=replaced(1, helper.make_node(
        "Fast", ["c1"], ["r1"], name="e", domain="own")))
    yield "edge to nowhere", lambda: b.refused(["nowhere"], model=replaced(1, helper.make_node("Relu", ["nowhere"], ["r1"], name="r")))
    yield "cycle", lambda: b.refused([""], model=replaced(1, helper.make_node("Add", ["c1", "r2"], ["r1"], name="r")))
    yield "weight of the wrong shape", lambda: b.refused(["c2"], model=changed(
        lambda net: net.tensors.update(w2=np.ones((20, 7, 3, 3), F))))
    yield "bias of the wrong length", lambda: b.refused(["c1"], model=changed(lambda net: net.tensors.update(b1=np.ones(5, F))))


def quantised_twice(b):
    first = b.folder / "first.onnx"
    assert b.run("--no-slow-layers-float", output=first).returncode == 0
    return b.refused(["quantised already"], model=first)


def shapes(b):
    yield "one channel, data of three", lambda: b.refused(["shape"], model=changed(shape=("batch", 1, 8, 8), change=lambda net: net.tensors.update(
        w1=np.ones((8, 1, 3, 3), F))))
    yield "another size of image", lambda: b.refused(["shape"], model=changed(shape=("batch", 3, 9, 9)))
    yield "rows as input", lambda: b.refused([""], model=changed(shape=("batch", 192)))
    yield "two inputs", lambda: b.refused(["input"], model=changed(
        lambda net: net.extra_inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))))
    yield "fewer classes than the data", lambda: b.refused(["3 classes", "4"], model=changed(classes=3))
    yield "more classes than the data keep their weights", lambda: b.right(changed(classes=9))
    yield "size of image left open", lambda: b.right(changed(shape=("batch", 3, "h", "w")))
    yield "fixed batch", lambda: b.right(changed(shape=(2, 3, 8, 8)))


def weights(b):
    yield "NaN in a weight", lambda: b.refused(["NaN"], model=with_values("w2", (3, 2, 1, 1), np.nan))
    yield "Inf in a weight", lambda: b.refused(["Inf"], model=with_values("w2", (3, 2, 1, 1), np.inf))
    yield "NaN in a bias", lambda: b.refused(["NaN"], model=with_values("b1", 2, np.nan))
    yield "activations beyond float", lambda: b.refused(["not finite", "Inf"], model=changed(
        lambda net: (net.tensors.update(w1=net.tensors["w1"] * F(1e25), w2=net.tensors["w2"] * F(1e25)))))
    yield "weights of 1e-20", lambda: b.right(scaled("w2", 1e-20))
    yield "denormal weights", lambda: b.right(scaled("w2", 1e-42))
    yield "weights of 1e15", lambda: b.right(scaled("w1", 1e15))
    yield "a layer of zeros", lambda: b.right(scaled("w2", 0), least=LEAST_SNR_OF_CONSTANTS)
    yield "a dead channel", lambda: b.right(with_values("w2", 4, 0))
    yield "a channel a million times the others", lambda: b.right(with_values("w3", 2, 1e6))
    yield "huge bias on dead weights", lambda: b.right(huge_bias_on_dead_weights())
    yield "a weight that two layers share", lambda: b.right(shared_weight())
    yield "no bias", lambda: b.right(no_bias())
    yield "channels in groups", lambda: b.right(grouped())


def activations(b):
    yield "a clamp that is always 0", lambda: b.right(with_values("b2", slice(None), -100))
    yield "constant activations", lambda: b.right(scaled("w1", 0))
    yield "one image", lambda: b.right(changed(), "--samples", 1, least=10)
    yield "more samples than there are", lambda: b.right(changed(), "--samples", 100000)
    yield "images that are all alike", lambda: b.right(changed(), "data.stddev=[1e30,1e30,1e30]", least=-5)
    yield "two bits", lambda: b.right(changed(), "--bits", 2, "--activation-bits", 2, "--end-bits", 2, least=-5)
    yield "group that does not divide", lambda: b.right(changed(), "--group", 32, "--bits", 4, least=10)


def options(b):
    for flag, value in (("--bits", 1), ("--bits", 9), ("--bits", "four"), ("--activation-bits", 0), ("--end-bits", 12), ("--method", "entropy"),
                        ("--group", 48), ("--samples", 0), ("--samples", -5), ("--profile", "tvm"), ("--threads", -1)):
        yield f"{flag} {value}", lambda flag=flag, value=value: b.refused([flag], flag, value)
    yield "option that is none", lambda: b.refused(["--quantize-harder"], "--quantize-harder")
    yield "no output", lambda: b.refused(["--output"], output="")
    yield "output that is no .onnx", lambda: b.refused([".onnx"], output=b.folder / "out.bin")
    yield "output that is the model", lambda: b.refused(["the model itself"], output=b.good)
    yield "output in a folder that is not there", lambda: b.refused(["none/out.onnx"], output=b.folder / "none/out.onnx")
    yield "output that cannot be written", lambda: b.refused(["/proc/out.onnx"], output="/proc/out.onnx")
    yield "TensorRT with 4-bit activations", lambda: b.refused(["4 bits"], "--profile", "tensorrt", "--activation-bits", 4)
    yield "TensorRT with a group that does not divide", lambda: b.refused(
        ["32", "20"], "--profile", "tensorrt", "--bits", 4, "--end-bits", 4, "--group", 32)


def data(b):
    yield "no YAML", lambda: b.refused(["none.yaml"], data=b.folder / "none.yaml")
    yield "YAML that is torn", lambda: b.refused(["torn.yaml"], data=b.write("torn.yaml", CONFIG.encode()[:60]))
    yield "key that is none", lambda: b.refused(["nonsense"], "data.nonsense=1")
    yield "data set that is not there", lambda: b.refused(["/nowhere"], "data.type=idx", "data.path=/nowhere", "data.mean=[0]", "data.stddev=[1]")
    yield "images without labels", lambda: b.refused(["labels"], "data.type=idx", f"data.path={idx_folder(b.folder / 'unlabelled', 5)}",
                                                     "data.mean=[0]", "data.stddev=[1]")
    yield "another number of labels", lambda: b.refused(["labels"], "data.type=idx", f"data.path={idx_folder(b.folder / 'fewer', 5, 4)}",
                                                        "data.mean=[0]", "data.stddev=[1]")
    yield "no images", lambda: b.refused([""], "data.type=idx", f"data.path={idx_folder(b.folder / 'none', 0, 0)}", "data.mean=[0]",
                                         "data.stddev=[1]")
    yield "no samples", lambda: b.refused(["data.size"], "data.size=0")
    yield "deviation of 0", lambda: b.refused(["stddev"], "data.stddev=[0,1,1]")
    yield "mean of another length", lambda: b.refused(["mean"], "data.mean=[0]", "data.stddev=[1]")
    yield "text for a network of images", lambda: b.refused([""], "data.type=text", "data.mean=[]", "data.stddev=[]",
                                                            f"data.path={b.write('text.txt', b'some words ' * 400)}")


def main(program):
    print(f"seed {SEED}")
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(program, folder)
        for table in (files, shapes, weights, activations, options, data):
            for name, case in table(bench):
                report.case(f"{table.__name__}: {name}", case)
                bench.output.unlink(missing_ok=True)
    report.finish(at_least=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
