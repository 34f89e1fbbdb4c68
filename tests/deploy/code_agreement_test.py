"""Fake quantisation in our executor, an integer reference, and ONNX Runtime with and without its graph optimisation compute the same
codes: layer by layer, each given the codes that ONNX Runtime had before it, at least 99.9 % at every quantised activation and none off
by more than one; and from the image on, the same decisions. bench/quantized_agreement.py does the same on a trained model's test set.

    code_agreement_test.py DS_EXPORT QDQ_TOOL GRAPH_RUNNER
"""
import collections
import sys

from qdq_support import F, activation, min_max_plan, np, numpy_helper, onnx, ranges, run_cases, with_weights

from code_agreement import OPTIMISED, UNOPTIMISED, Agreement, Executor, Runtime, cut_at_codes, given, with_codes  # in tests/support
from integer_reference import IntegerReference

SEED = 20261124
SHAPE = ["--channels", 1, "--height", 28, "--width", 28]
IMAGES = 64
LEAST_SHARE, MOST_STEPS = .999, 1
# From the image on a code that differs makes others differ behind it, in a network of random weights more than in a trained one;
# decisions stay.
LEAST_SHARE_WHOLE = .97


def plan_at(folded, feeds, bits, folder):
    """Weights and activations at `bits`, the ends at 8; ranges from the network with these weights."""
    plan = min_max_plan(folded, feeds, bits)
    reference = with_weights(folded, plan, folder / "reference.onnx")
    seen = ranges(reference, feeds)
    plan["activations"] = {name: activation(*r, bits=bits) for name, r in seen.items()}
    ends = [onnx.load(str(folded)).graph.input[0].name]
    ends += [node.input[0] for node in onnx.load(str(folded)).graph.node if node.op_type == "Gemm"]
    plan["activations"] |= {name: activation(*seen[name]) for name in ends}
    return plan


class Subject:
    """One quantised file and all that run it."""

    def __init__(self, tools, folded, images, bits):
        self.folder, self.images = tools.folder, images
        image = onnx.load(str(folded)).graph.input[0].name
        self.feeds = {image: images}
        plan = plan_at(folded, self.feeds, bits, tools.folder)
        self.path, self.report = tools.export(folded, plan, name=f"w{bits}a{bits}")
        self.exposed, self.cut = tools.folder / "exposed.onnx", tools.folder / "cut.onnx"
        self.names = with_codes(self.path, self.exposed)
        self.optimised = tools.folder / "exposed.optimised.onnx"
        self.theirs = Runtime(self.exposed, OPTIMISED, self.optimised).run(self.feeds)
        cut_at_codes(self.path, self.cut, self.theirs)
        self.reference = IntegerReference(onnx.load(str(self.path)))
        self.logits = onnx.load(str(self.path)).graph.output[0].name
        self.runner = tools.runner

    def agreement(self, found):
        agreement = Agreement()
        agreement.add(self.names, found, self.theirs)
        return agreement

    def by_layer(self):
        feeds = self.feeds | given(self.theirs, self.names)
        yield "reference", self.reference.run(self.feeds, self.names, self.theirs)[1]
        yield "executor", Executor(self.runner, self.cut, self.folder).run(feeds)
        yield "no graph optimisation", Runtime(self.cut, UNOPTIMISED).run(feeds)

    def whole(self):
        outputs, codes = self.reference.run(self.feeds, self.names)
        yield "reference", codes | outputs
        yield "executor", Executor(self.runner, self.exposed, self.folder).run(self.feeds)
        yield "no graph optimisation", Runtime(self.exposed, UNOPTIMISED).run(self.feeds)


def agrees(subject):
    # What is compared are ONNX Runtime's integer kernels, also with the codes made visible.
    ops = collections.Counter(node.op_type for node in onnx.load(str(subject.optimised)).graph.node)
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(str(subject.path)).graph.node)
    assert ops["QLinearConv"] == convolutions and not ops["Conv"], dict(ops)
    assert len(subject.names) >= 30, f"only {len(subject.names)} activations are quantised"
    notes = []
    for name, found in subject.by_layer():
        agreement = subject.agreement(found)
        assert agreement.least_share >= LEAST_SHARE and agreement.largest <= MOST_STEPS, f"{name}: {agreement} at {agreement.worst}"
        notes.append(f"{name} {agreement.share:.5%}")
    for name, found in subject.whole():
        agreement = subject.agreement(found)
        assert agreement.share >= LEAST_SHARE_WHOLE, f"{name}, from the image on: {agreement}"
        top1 = (found[subject.logits].argmax(1) != subject.theirs[subject.logits].argmax(1)).sum()
        assert top1 == 0, f"{name}: {top1} decisions differ"
    return ", ".join(notes)


def wrong_files_are_noticed(subject):
    """Were one layer's scale, zero point or a weight's code another one, the comparison would say so."""
    def with_scale(graph):
        scale = next(t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and list(t.dims) == [32])
        scale.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(scale) * F(1.02)).astype(F), scale.name))

    def with_zero_point(graph):
        zero = next(t for t in graph.initializer if t.data_type == onnx.TensorProto.UINT8 and not t.dims and numpy_helper.to_array(t) > 0)
        zero.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(zero) + np.uint8(1)).astype(np.uint8), zero.name))

    def with_a_code(graph):
        weight = next(t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4)
        codes = numpy_helper.to_array(weight).copy()
        codes[0, 0, 1, 1] = -codes[0, 0, 1, 1] if codes[0, 0, 1, 1] else 100
        weight.CopyFrom(numpy_helper.from_array(codes, weight.name))

    for change in (with_scale, with_zero_point, with_a_code):
        model = onnx.load(str(subject.path))
        change(model.graph)
        agreement = subject.agreement(IntegerReference(model).run(subject.feeds, subject.names, subject.theirs)[1])
        assert agreement.least_share < LEAST_SHARE, f"{change.__name__}: {agreement}"


def cases(tools, rng):
    _, folded = tools.zoo("resnet20", rng, *SHAPE)
    images = rng.standard_normal((IMAGES, 1, 28, 28)).astype(F)
    for bits in (8, 4):
        yield f"ResNet-20 W{bits}A{bits}", lambda: agrees(Subject(tools, folded, images, bits))
    yield "wrong files are noticed", lambda: wrong_files_are_noticed(Subject(tools, folded, images[:8], 8))


if __name__ == "__main__":
    run_cases(sys.argv[1:], cases, SEED, at_least=3)
