"""The metrics of an evaluation against their textbook definitions, on one rank and on two with shards of unlike sizes.

    metrics_test.py DS_TRAIN MPIRUN

The model gives back what it is fed (an identity that trains with a rate too small to change it), so that the test split's arrays
are the scores. 31 samples in batches of 4 a rank: the ranks' last batches differ, one is empty.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from onnx import TensorProto

import task_models

DS_TRAIN, MPIRUN = sys.argv[1:3]
from training_case import ENVIRONMENT  # noqa: E402

SAMPLES = 31
RANDOM = np.random.default_rng(20)


def scores(*shape):
    """Multiples of a quarter: full of ties."""
    return (RANDOM.integers(-8, 8, shape) / 4).astype(np.float32)


def untied(*shape):
    """No sample has two highest classes."""
    return (scores(*shape) + np.arange(shape[1]).reshape((1, -1) + (1,) * (len(shape) - 2)) / 1024).astype(np.float32)


def softmax(x):
    """Of float32 along axis 1, in float64."""
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def area(score, positive):
    """Chance that a positive scores above a negative, a tie counted half (Hanley and McNeil 1982)."""
    p, n = score[positive][:, None], score[~positive][None]
    return ((p > n) + 0.5 * (p == n)).mean()


def of_classes(said, labels, classes):
    """F1 and intersection over union, class by class; a class that neither has is left out."""
    f1, iou = [], []
    for c in range(classes):
        both, either = ((said == c) & (labels == c)).sum(), ((said == c) | (labels == c)).sum()
        if either == 0:
            continue
        precision, recall = both / max(1, (said == c).sum()), both / max(1, (labels == c).sum())
        f1.append(0 if both == 0 else 2 * precision * recall / (precision + recall))
        iou.append(both / either)
    return np.mean(f1), np.mean(iou)


def classes_expected(x, labels):
    counted = labels != 255
    rows, labels = np.moveaxis(x, 1, -1)[counted], labels[counted]
    said, p = rows.argmax(1), softmax(rows)
    f1, iou = of_classes(said, labels, rows.shape[1])
    ranked = rows[:, 1:2] - rows[:, :1] if rows.shape[1] == 2 else p.astype(np.float32)
    areas = [area(ranked[:, i], labels == c) for i, c in enumerate([1] if rows.shape[1] == 2 else range(rows.shape[1]))
             if 0 < (labels == c).sum() < len(labels)]
    own = rows[np.arange(len(rows)), labels]
    return {"accuracy": (said == labels).mean(), "top5": ((rows >= own[:, None]).sum(1) <= 5).mean(), "f1": f1, "mean_iou": iou,
            "auc": np.mean(areas), "perplexity": np.exp(-np.log(p[np.arange(len(p)), labels]).mean())}


def labels_expected(x, labels):
    counted, yes, said = labels >= 0, labels > 0.5, x > 0
    f1, iou, areas = [], [], []
    for k in range(x.shape[1]):
        c = counted[:, k]
        both, either = (yes & said)[c, k].sum(), (yes | said)[c, k].sum()
        f1.append(2 * both / (yes[c, k].sum() + said[c, k].sum()))
        iou.append(both / either)
        areas.append(area(x[c, k], yes[c, k]))
    return {"accuracy": (yes == said)[counted].mean(), "f1": np.mean(f1), "mean_iou": np.mean(iou), "auc": np.mean(areas)}


class Metrics(unittest.TestCase):
    def evaluate(self, x, labels, loss, metrics, name):
        """What the evaluation of the test split (x, labels) says, on one rank and on two."""
        with tempfile.TemporaryDirectory(prefix="ds_metrics_test") as folder:
            place = pathlib.Path(folder)
            for split in ("train", "test"):
                (place / "data" / split).mkdir(parents=True)
                np.save(place / "data" / split / "x.npy", x)
                np.save(place / "data" / split / "labels.npy", labels)
            model, width = task_models.Model(0), x.shape[1]
            if x.ndim == 2:
                y = model.op("Gemm", "x", model.constant(np.eye(width, dtype=np.float32), "weight"))
            else:
                y = model.op("Conv", "x", model.constant(np.eye(width, dtype=np.float32).reshape(width, width, 1, 1), "weight"))
            model.save(place / "model.onnx", [("x", TensorProto.FLOAT, ["batch", *x.shape[1:]])], y, ["batch", *x.shape[1:]])
            (place / "c.yaml").write_text(f"""
run: {{name: c, epochs: 1, threads: 1, output: {place}/runs}}
model: {{onnx: {place}/model.onnx}}
data: {{type: tensors, path: {place}/data, batch_size: 4, test_batch_size: 4}}
optimizer: {{name: sgd, learning_rate: 1.0e-30, weight_decay: 0}}
loss: {{{loss}, metrics: [{", ".join(metrics)}]}}
precision: {{mode: fp32}}
log: {{every_steps: 3}}
""")
            found = []
            for ranks in (1, 2):
                command = [DS_TRAIN, "--config", place / "c.yaml", f"run.name=r{ranks}"]
                if ranks > 1:
                    command = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-np", ranks, *command]
                done = subprocess.run([str(word) for word in command], cwd=place, env=ENVIRONMENT, capture_output=True, text=True,
                                      timeout=120)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                run = place / "runs" / f"r{ranks}"
                found.append(json.loads((run / "summary.json").read_text())["final_test_metrics"])
                heading, *rows = (run / "metrics.csv").read_text().splitlines()
                self.assertTrue(rows[0].split(",")[2] == "train" and metrics[0] in heading, rows[0])
                column = heading.split(",").index(metrics[0])
                # The rate is nil: one rank's training row says what the test of the same data does.
                trained = [float(row.split(",")[column]) for row in rows if row.split(",")[2] == "train"]
                self.assertTrue(trained, name)
                self.assertRegex(done.stdout, rf"train loss [0-9.]+, {metrics[0]} [0-9.]+%?(, \w+ [0-9.]+%?)*; test loss")
        return found

    def check(self, name, x, labels, loss, expected, exact=True):
        alone, together = self.evaluate(x, labels, loss, list(expected), name)
        for metric, value in expected.items():
            self.assertAlmostEqual(alone[metric], value, delta=1e-6 * max(1, value), msg=f"{name}: {metric}")
            if metric in ("mae", "rmse", "perplexity"):  # sums of numbers that are no integers, in another order
                self.assertAlmostEqual(together[metric], alone[metric], delta=1e-12 * alone[metric], msg=f"{name}: {metric}")
            else:
                self.assertEqual(together[metric], alone[metric], f"{name}: {metric}")

    def test_several_classes_one_of_which_never_occurs(self):
        x, labels = untied(SAMPLES, 8), RANDOM.integers(0, 7, SAMPLES)
        self.check("classes", x, labels, "name: cross_entropy", classes_expected(x, labels))

    def test_two_classes_full_of_ties(self):
        x = scores(SAMPLES, 2)
        x[:, 1] += 0.125
        labels = RANDOM.integers(0, 2, SAMPLES)
        expected = classes_expected(x, labels)
        self.check("two", x, labels, "name: cross_entropy", {k: expected[k] for k in ("f1", "accuracy", "auc", "perplexity")})

    def test_pixels_that_do_not_count_and_a_class_that_nobody_has(self):
        x, labels = untied(SAMPLES, 4, 5, 3), RANDOM.integers(0, 2, (SAMPLES, 5, 3))
        x[:, 3] -= 100  # neither said
        labels[:, 0] = 255  # nor labelled
        expected = classes_expected(x, labels)
        self.check("pixels", x, labels, "name: cross_entropy, ignore_index: 255",
                   {k: expected[k] for k in ("mean_iou", "accuracy", "f1")})

    def test_labels_of_which_some_do_not_count(self):
        x, labels = scores(SAMPLES, 3) + 0.125, RANDOM.integers(0, 2, (SAMPLES, 3)).astype(np.float32)
        labels[3, 1] = labels[20, 2] = -1
        expected = labels_expected(x, labels)
        self.check("labels", x.astype(np.float32), labels, "name: bce, ignore_index: -1", {k: expected[k] for k in ("f1", "accuracy", "mean_iou", "auc")})

    def test_numbers(self):
        x, labels = scores(SAMPLES, 2), RANDOM.standard_normal((SAMPLES, 2)).astype(np.float32)
        error = x.astype(np.float64) - labels
        self.check("numbers", x, labels, "name: huber", {"mae": np.abs(error).mean(), "rmse": np.sqrt((error**2).mean())})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
