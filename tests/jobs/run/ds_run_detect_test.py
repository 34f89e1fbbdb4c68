"""ds_run --task detect as a user runs it, against ONNX Runtime, NumPy and ONNX's NonMaxSuppression.

    ds_run_detect_test.py DS_EXPORT DS_RUN
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
import yolov5
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

try:
    import PIL.Image
except ImportError:
    print("skipped: needs Pillow (launch/packages/python-test.txt)")
    sys.exit(77)

DS_EXPORT, DS_RUN = sys.argv[1:3]
SIDE = 96
KEYS = ["x0", "y0", "x1", "y1"]


def run(*command, code=0):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def session(model):
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), providers=["CPUExecutionProvider"])


def suppression(boxes_of_class):
    """ONNX's own operator."""
    def port(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)
    constants = [numpy_helper.from_array(np.array(boxes_of_class, np.int64), "most")]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["chosen"])
    graph = helper.make_graph([node], "g", [port("boxes", [1, None, 4]), port("scores", [1, None, None]), port("iou", [1]), port("least", [1])],
                              [port("chosen", [None, 3], TensorProto.INT64)], constants)
    return session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


SUPPRESSION = suppression(100000)


def expected(rows, size, side=SIDE, least=0.25, iou=0.45, most=300, objectness=True):
    """The boxes of [N, 5 + C] rows, or [N, 4 + C] without objectness, as ultralytics shows them: a box has its best class; in pixels of a
    picture of that size."""
    rows = rows.astype(np.float32)
    scores = rows[:, 4:5] * rows[:, 5:] if objectness else rows[:, 4:]
    if objectness:
        scores = np.where(rows[:, 4:5] > least, scores, 0)
    best = scores.argmax(1)
    alone = np.where(np.arange(scores.shape[1]) == best[:, None], scores, 0)
    half = rows[:, 2:4] / np.float32(2)
    corners = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1)
    feed = {"boxes": corners[None][..., [1, 0, 3, 2]], "scores": alone.T[None], "iou": np.array([iou], np.float32), "least": np.array([least], np.float32)}
    chosen = SUPPRESSION.run(None, feed)[0]
    picks = sorted(((alone[i, c], -i, c) for _, c, i in chosen), reverse=True)[:most]
    height, width = size
    scale = min(side / height, side / width)
    left, top = (side - round(width * scale)) // 2, (side - round(height * scale)) // 2
    found = []
    for score, i, label in picks:
        box = (corners[-i].astype(np.float64) - [left, top, left, top]) / scale
        found.append((int(label), float(score), *np.clip(box, 0, [width, height, width, height])))
    return found


def average_precision(found, truth, label, least=0.5):
    """By the definition: recall sampled at 101 points."""
    def overlap(a, b):
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        common = max(sides[0], 0) * max(sides[1], 0)
        return common / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common, 1e-12)
    rows, count = [], 0
    for boxes, lines in zip(found, truth, strict=True):
        left = [np.array(line[1:]) for line in lines if line[0] == label]
        count += len(left)
        for box in sorted((box for box in boxes if box[0] == label), key=lambda box: -box[1]):
            overlaps = [overlap(np.array(box[2:]), other) for other in left]
            right = bool(overlaps) and max(overlaps) >= least
            if right:
                left.pop(int(np.argmax(overlaps)))
            rows.append((box[1], right))
    rows.sort(key=lambda row: -row[0])
    right = np.cumsum([row[1] for row in rows])
    recall, precision = right / count, right / np.arange(1, len(rows) + 1)
    return np.mean([max(precision[recall >= point - 1e-12], default=0) for point in np.linspace(0, 1, 101)])


class Pictures(CalibrationDataReader):
    def __init__(self):
        random = np.random.default_rng(9)
        self.feeds = iter([{"images": random.random((1, 3, SIDE, SIDE), np.float32)} for _ in range(8)])

    def get_next(self):
        return next(self.feeds, None)


class Detect(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_detect_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.pixels = np.random.default_rng(5).integers(0, 256, (64, SIDE, 3), dtype=np.uint8)
        cls.picture = cls.save("wide.png", cls.pixels)
        cls.onnx, cls.decode = cls.folder / "decoded.onnx", None
        cls.decode = yolov5.save(cls.onnx, "decoded")

    @classmethod
    def save(cls, name, pixels):
        PIL.Image.fromarray(pixels).save(cls.folder / name)
        return cls.folder / name

    def export(self, path, *arguments):
        dsm = path.with_suffix(".dsm")
        run(DS_EXPORT, "--model", path, "--format", "dsm", "--output", dsm, *arguments)
        return dsm

    def found(self, dsm, picture, *arguments):
        text = run(DS_RUN, "--task", "detect", "--model", dsm, "--image", picture, "--format", "json", *arguments)
        return [(box["class"], box["score"], *(box[key] for key in KEYS)) for box in json.loads(text)]

    def letterboxed(self):
        """The picture of 64 lines in the middle of 96."""
        values = np.full((3, SIDE, SIDE), 114, np.float32)
        values[:, 16:80] = self.pixels.transpose(2, 0, 1)
        return values[None] / np.float32(255)

    def assert_same_boxes(self, ours, theirs, tolerance):
        self.assertEqual([box[0] for box in ours], [box[0] for box in theirs])
        np.testing.assert_allclose(np.array(ours), np.array(theirs), atol=tolerance, rtol=1e-4)

    def test_a_network_with_its_decode_gives_the_boxes_of_onnx_runtime(self):
        rows = session(self.onnx).run(None, {"images": self.letterboxed()})[0][0]
        dsm = self.export(self.onnx)
        for options in ({}, {"least": 0.1, "iou": 0.2}, {"least": 0.4, "most": 3}):
            with self.subTest(**options):
                theirs = expected(rows, (64, SIDE), **options)
                self.assertGreater(len(theirs), 2)
                flags = {"least": "--score", "iou": "--iou", "most": "--most"}
                arguments = [word for name, value in options.items() for word in (flags[name], value)]
                self.assert_same_boxes(self.found(dsm, self.picture, *arguments), theirs, 1e-2)

    def test_heads_without_a_decode_give_the_same_boxes(self):
        theirs = expected(session(self.onnx).run(None, {"images": self.letterboxed()})[0][0], (64, SIDE))
        anchors = ";".join(",".join(map(str, grid.ravel())) for grid in yolov5.ANCHORS)
        for form in ("heads", "cells"):
            path = self.folder / f"{form}.onnx"
            yolov5.save(path, form)
            dsm = self.export(path)
            for arguments in ((), ("--detector", "yolov5-heads", "--anchors", anchors)):
                with self.subTest(form=form, arguments=arguments):
                    self.assert_same_boxes(self.found(dsm, self.picture, *arguments), theirs, 1e-2)

    def test_an_int8_network_finds_what_onnx_runtime_finds(self):
        path = self.folder / "int8.onnx"
        quantize_static(str(self.onnx), str(path), Pictures(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, nodes_to_exclude=self.decode)
        dsm = self.export(path)
        # Without suppression: of random boxes that hide each other, a code decides which stays.
        theirs = expected(session(path).run(None, {"images": self.letterboxed()})[0][0], (64, SIDE), iou=1, most=1000)
        ours = self.found(dsm, self.picture, "--iou", 1, "--most", 1000)
        self.assertGreater(len(theirs), 10)
        self.assertLess(abs(len(ours) - len(theirs)), 0.05 * len(theirs) + 1)
        again = sum(any(box[0] == other[0] and abs(box[1] - other[1]) < 0.05 and np.abs(np.subtract(box[2:], other[2:])).max() < 2
                        for other in ours) for box in theirs)
        self.assertGreater(again, 0.95 * len(theirs))
        # The codes have the same bits; the decode's floats do not.
        self.assert_same_boxes(self.found(dsm, self.picture, "--iou", 1, "--most", 1000, "--isa", "scalar", "--threads", 2), ours, 1e-3)

    def test_a_small_picture_is_enlarged_and_its_boxes_are_in_its_own_pixels(self):
        pixels = self.pixels[:48, :32]
        picture = self.save("tall.png", pixels)
        values = np.full((SIDE, SIDE, 3), 114, np.uint8)
        values[:, 16:80] = np.asarray(PIL.Image.fromarray(pixels).resize((64, 96), PIL.Image.Resampling.BILINEAR))
        rows = session(self.onnx).run(None, {"images": values.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)})[0][0]
        # Without suppression: of random boxes that hide each other, a bit in a pixel decides which stays.
        theirs, ours = expected(rows, (48, 32), iou=1, most=1000), self.found(self.export(self.onnx), picture, "--iou", 1, "--most", 1000)
        self.assertLessEqual(max(box[4] for box in ours), 32)
        self.assertLessEqual(max(box[5] for box in ours), 48)
        again = sum(any(box[0] == other[0] and np.abs(np.subtract(box[2:], other[2:])).max() < 0.5 for other in ours) for box in theirs)
        self.assertGreater(again, 0.95 * len(theirs))

    def rows_of_pixels(self, name, turned):
        """A network whose boxes are the picture's pixels: [1, 3, S, S] as 8 numbers a box."""
        side, numbers = 32, 8
        boxes = 3 * side * side // numbers
        scale = np.array([side, side, side / 3, side / 3, 1, 1, 1, 1], np.float32)
        constants = [numpy_helper.from_array(np.array([1, boxes, numbers]), "shape"), numpy_helper.from_array(scale, "scale")]
        nodes = [helper.make_node("Reshape", ["images", "shape"], ["flat"]), helper.make_node("Mul", ["flat", "scale"], ["rows"])]
        nodes += [helper.make_node("Transpose", ["rows"], ["turned"], perm=[0, 2, 1])] if turned else []
        ports = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side]),
                 helper.make_tensor_value_info("turned" if turned else "rows", TensorProto.FLOAT, None)]
        path = self.folder / name
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        pixels = np.random.default_rng(11).integers(0, 256, (side, side, 3), dtype=np.uint8)
        values = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        return self.export(path), self.save(f"{name}.png", pixels), values.reshape(boxes, numbers) * scale

    def test_suppression_is_onnx_runtimes_box_by_box(self):
        for turned in (False, True):
            dsm, picture, rows = self.rows_of_pixels(f"pixels{int(turned)}.onnx", turned)
            for iou in (0.0, 0.1, 0.5, 0.9):
                with self.subTest(turned=turned, iou=iou):
                    ours = self.found(dsm, picture, "--score", 0.05, "--iou", iou, "--most", 100000)
                    theirs = expected(rows, (32, 32), 32, least=0.05, iou=iou, most=100000, objectness=not turned)
                    self.assertGreater(len(theirs), 4)
                    self.assert_same_boxes(ours, theirs, 1e-6)

    def test_average_precision_is_that_of_the_definition(self):
        data, random = self.folder / "data", np.random.default_rng(21)
        for name in ("images", "labels"):
            (data / name).mkdir(parents=True)
        dsm, found, truth = self.export(self.onnx), [], []
        for number in range(6):
            picture = self.save(f"data/images/{number}.png", random.integers(0, 256, (64, SIDE, 3), dtype=np.uint8))
            boxes = [box for box in self.found(dsm, picture, "--score", 0.3, "--iou", 0.2) if box[4] - box[2] > 4 and box[5] - box[3] > 4]
            found.append(self.found(dsm, picture, "--score", 0.05))
            # Some of what it finds, moved a little, and one that it cannot find.
            kept = [box for box in boxes if random.random() < 0.4]
            lines = [(box[0], *np.clip(np.array(box[2:]) + random.normal(0, 2, 4), 0, [SIDE, 64, SIDE, 64])) for box in kept if number != 5]
            lines = [line for line in lines if line[1] < line[3] and line[2] < line[4]]
            shares = [(c, (x0 + x1) / 2 / SIDE, (y0 + y1) / 2 / 64, (x1 - x0) / SIDE, (y1 - y0) / 64) for c, x0, y0, x1, y1 in lines]
            if shares:  # a picture without a file shows nothing
                (data / "labels" / f"{number}.txt").write_text("".join("%d %.8f %.8f %.8f %.8f\n" % line for line in shares), encoding="utf-8")
            truth.append(lines)
        score = json.loads(run(DS_RUN, "--task", "detect", "--model", dsm, "--data", data, "--score", 0.05, "--format", "json"))
        theirs = {label: average_precision(found, truth, label) for label in sorted({line[0] for lines in truth for line in lines})}
        self.assertEqual([score["pictures"], score["true_boxes"]], [6, sum(map(len, truth))])
        self.assertGreater(len(theirs), 1)
        self.assertTrue(any(0.05 < value < 0.95 for value in theirs.values()), theirs)
        for label, value in theirs.items():
            self.assertAlmostEqual(score["ap50"][str(label)], value, delta=1e-6)
        self.assertAlmostEqual(score["map50"], np.mean(list(theirs.values())), delta=1e-6)
        self.assertRegex(run(DS_RUN, "--task", "detect", "--model", dsm, "--data", data, "--limit", 1), r"pictures +1\n")
        (data / "labels" / "3.txt").write_text("0 0.5 0.5 2 0.5\n", encoding="utf-8")
        self.assertIn("3.txt:1: '0 0.5 0.5 2 0.5' is no box", run(DS_RUN, "--task", "detect", "--model", dsm, "--data", data, code=1))
        self.assertIn("no picture", run(DS_RUN, "--task", "detect", "--model", dsm, "--data", self.folder, code=1))

    def test_boxes_are_drawn_and_named(self):
        dsm, names, drawing = self.export(self.onnx), self.folder / "names.txt", self.folder / "boxes.png"
        names.write_text("person\nbicycle\ncar, \"red\"\ntruck\n", encoding="utf-8")
        text = run(DS_RUN, "--task", "detect", "--model", dsm, "--image", self.picture, "--labels", names, "--output", drawing, "--format", "csv",
                   "--most", 4)
        drawn = np.asarray(PIL.Image.open(drawing))
        self.assertEqual(drawn.shape, self.pixels.shape)
        changed = (drawn != self.pixels).any(2)
        self.assertGreater(changed.mean(), 0.01)
        lines = text.strip().split("\n")
        self.assertEqual(lines[0], "class,name,score,x0,y0,x1,y1")
        for line in lines[1:]:
            x0, y0, x1, y1 = (float(word) for word in line.split(",")[-4:])
            corner = min(round(y0), 63), min(round(x0), SIDE - 1)
            self.assertTrue(x1 - x0 < 1 or y1 - y0 < 1 or changed[corner], line)
        self.assertRegex(run(DS_RUN, "--task", "detect", "--model", dsm, "--image", self.picture, "--labels", names), r"(?m)^0\.\d+ .*  (person|bicycle|car|truck)")

    def test_what_does_not_go_together_is_said(self):
        dsm, names = self.export(self.onnx), self.folder / "one.txt"
        names.write_text("person\n", encoding="utf-8")
        classifier = self.folder / "classifier.dsm"
        run(DS_EXPORT, "--model", "zoo:resnet8", "--format", "dsm", "--output", classifier)
        two = self.folder / "two.dsm"
        two_onnx = self.folder / "two.onnx"
        yolov5.save(two_onnx, "heads", height=64)
        run(DS_EXPORT, "--model", two_onnx, "--format", "dsm", "--output", two)
        detect = (DS_RUN, "--task", "detect", "--image", self.picture)
        for message, command in (
                ("names 1 classes", (*detect, "--model", dsm, "--labels", names)),
                ("a detector's are [1, N, 5 + C]", (*detect, "--model", classifier)),
                ("takes --image", (DS_RUN, "--task", "detect", "--model", dsm)),
                ("takes --image", (*detect, "--model", dsm, "--data", self.folder)),
                ("--anchors has 'x'", (*detect, "--model", two, "--anchors", "x")),
                ("anchors are there for 1 grids", (*detect, "--model", two, "--anchors", "1,2")),
                ("[1, N, 5 + C]", (*detect, "--model", two, "--detector", "yolov5")),
                ("No such file", (DS_RUN, "--task", "detect", "--image", self.folder / "none.png", "--model", dsm)),
                ("csv is for --task detect", (DS_RUN, "--model", dsm, "--image", self.picture, "--format", "csv"))):
            with self.subTest(message):
                self.assertIn(message, run(*command, code=1))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
