"""MobileNetV3 in plain PyTorch (Howard et al. 2019, "Searching for MobileNetV3", tables 1 and 2), laid out as torchvision's, and
MobileNetV3-Small's export for fine-tuning, as docs/onnx.md says. As a program, for trying that out:

    mobilenet_v3.py FILE.onnx [--channels 1] [--classes 100] [--momentum 0.1] [--seed 1]
"""
import argparse
import warnings

import torch
from torch import nn

# Kernel, expanded width, output width, squeeze-and-excite, activation, stride: a row of the paper's table each.
ROWS = [(3, 16, 16, True, nn.ReLU, 2), (3, 72, 24, False, nn.ReLU, 2), (3, 88, 24, False, nn.ReLU, 1),
        (5, 96, 40, True, nn.Hardswish, 2), (5, 240, 40, True, nn.Hardswish, 1), (5, 240, 40, True, nn.Hardswish, 1),
        (5, 120, 48, True, nn.Hardswish, 1), (5, 144, 48, True, nn.Hardswish, 1), (5, 288, 96, True, nn.Hardswish, 2),
        (5, 576, 96, True, nn.Hardswish, 1), (5, 576, 96, True, nn.Hardswish, 1)]
LARGE_ROWS = [(3, 16, 16, False, nn.ReLU, 1), (3, 64, 24, False, nn.ReLU, 2), (3, 72, 24, False, nn.ReLU, 1), (5, 72, 40, True, nn.ReLU, 2),
              (5, 120, 40, True, nn.ReLU, 1), (5, 120, 40, True, nn.ReLU, 1), (3, 240, 80, False, nn.Hardswish, 2),
              (3, 200, 80, False, nn.Hardswish, 1), (3, 184, 80, False, nn.Hardswish, 1), (3, 184, 80, False, nn.Hardswish, 1),
              (3, 480, 112, True, nn.Hardswish, 1), (3, 672, 112, True, nn.Hardswish, 1), (5, 672, 160, True, nn.Hardswish, 2),
              (5, 960, 160, True, nn.Hardswish, 1), (5, 960, 160, True, nn.Hardswish, 1)]
# The stem's, the last convolution's, and of each block two or, where it widens, three.
BATCH_NORMS = 2 + sum(2 + (expanded != before) for (_, expanded, *_), before in
                      zip(ROWS, [16] + [row[2] for row in ROWS]))


def round_to_8(width):
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def conv_norm(inputs, outputs, kernel=1, stride=1, groups=1, activation=None):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.pool, self.gate = nn.AdaptiveAvgPool2d(1), nn.Hardsigmoid()
        self.down, self.relu, self.up = nn.Conv2d(width, round_to_8(width // 4), 1), nn.ReLU(), nn.Conv2d(round_to_8(width // 4), width, 1)

    def forward(self, x):
        return x * self.gate(self.up(self.relu(self.down(self.pool(x)))))


class Block(nn.Module):
    def __init__(self, inputs, kernel, expanded, outputs, squeeze, activation, stride):
        super().__init__()
        self.adds = stride == 1 and inputs == outputs
        layers = [conv_norm(inputs, expanded, activation=activation)] if expanded != inputs else []
        layers.append(conv_norm(expanded, expanded, kernel, stride, expanded, activation))
        if squeeze:
            layers.append(SqueezeExcite(expanded))
        self.block = nn.Sequential(*layers, conv_norm(expanded, outputs))

    def forward(self, x):
        return x + self.block(x) if self.adds else self.block(x)


class MobileNetV3(nn.Module):
    """`momentum` of the running statistics: torchvision has 0.01, for runs of many thousands of steps; 0.1 is PyTorch's default."""

    def __init__(self, rows, hidden, channels, classes, momentum=0.01):
        super().__init__()
        blocks, width = [conv_norm(channels, 16, 3, 2, activation=nn.Hardswish)], 16
        for row in rows:
            blocks.append(Block(width, *row))
            width = row[2]
        blocks.append(conv_norm(width, 6 * width, activation=nn.Hardswish))
        self.features, self.pool = nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(6 * width, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


class MobileNetV3Small(MobileNetV3):
    def __init__(self, channels, classes, momentum=0.01):
        super().__init__(ROWS, 1024, channels, classes, momentum)


class MobileNetV3Large(MobileNetV3):
    def __init__(self, channels, classes, momentum=0.01):
        super().__init__(LARGE_ROWS, 1280, channels, classes, momentum)


def export(path, network, channels, **extra):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.randn(2, channels, 28, 28),), str(path), dynamo=False, opset_version=17,
                          training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, input_names=["x"],
                          output_names=["logits"], **extra)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--momentum", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    network = MobileNetV3Small(args.channels, args.classes, args.momentum).eval()
    export(args.path, network, args.channels, dynamic_axes={"x": {0: "batch"}})


if __name__ == "__main__":
    main()
