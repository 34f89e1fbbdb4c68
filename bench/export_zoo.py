"""Writes the models of timm and torchvision that people start from as ONNX files, by both of PyTorch's exporters: export_zoo.py FOLDER [NAME ...].

Needs an environment of its own with torch, torchvision, timm, onnx and onnxscript; nothing in the tests does. Weights are random,
from a seed; batch norms have running statistics and affine parameters that are not those of initialisation, as a trained
model's are not, so that folding and quantising have something to do. A file that is there is left as it is. Beside
NAME.EXPORTER.onnx lies NAME.npz with four inputs and the model's outputs in PyTorch.
"""
import argparse
import pathlib
import sys
import warnings

import numpy as np
import torch

TIMM = ["efficientnet_b0", "efficientnetv2_s", "convnext_tiny", "mobilenetv3_large_100", "mobilenetv4_conv_small",
        "mobileone_s0", "repvgg_a0", "regnety_002", "vit_tiny_patch16_224", "deit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224", "ghostnet_100", "hrnet_w18_small", "levit_128s", "edgenext_x_small",
        "poolformer_s12", "maxvit_rmlp_pico_rw_256", "dm_nfnet_f0", "efficientvit_b0", "mobilenetv2_100"]
TORCHVISION = ["resnet18", "resnet50", "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1", "inception_v3", "googlenet", "vgg11_bn"]
SEGMENTATION = ["fcn_resnet50", "deeplabv3_mobilenet_v3_large"]
DETECTION = ["ssdlite320_mobilenet_v3_large"]
SIZES = {"inception_v3": 299, "maxvit_rmlp_pico_rw_256": 256, "ssdlite320_mobilenet_v3_large": 320, "dm_nfnet_f0": 192}


class UNet(torch.nn.Module):
    """A small U-Net with transposed convolutions (Ronneberger et al. 2015)."""

    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        block = lambda i, o: torch.nn.Sequential(  # noqa: E731
            torch.nn.Conv2d(i, o, 3, padding=1, bias=False), torch.nn.BatchNorm2d(o), torch.nn.ReLU(),
            torch.nn.Conv2d(o, o, 3, padding=1, bias=False), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
        self.down = torch.nn.ModuleList([block(i, o) for i, o in zip((3,) + widths, widths)])
        self.up = torch.nn.ModuleList([torch.nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(widths, widths[1:])])
        self.merge = torch.nn.ModuleList([block(2 * a, a) for a in widths[:-1]])
        self.head = torch.nn.Conv2d(widths[0], 4, 1)

    def forward(self, x):
        kept = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else torch.nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for i in reversed(range(len(self.up))):
            x = self.merge[i](torch.cat([kept[i], self.up[i](x)], 1))
        return self.head(x)


class Only(torch.nn.Module):
    """Segmentation models answer with a dictionary."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["out"]


class Heads(torch.nn.Module):
    """A detector's raw outputs: what is behind them (anchors, non-maximum suppression) depends on the data."""

    def __init__(self, model):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, x):
        out = self.head(list(self.backbone(x).values()))
        return out["bbox_regression"], out["cls_logits"]


def build(name):
    import timm
    import torchvision
    torch.manual_seed(7)
    if name == "unet":
        return UNet()
    if name in TIMM:
        return timm.create_model(name, pretrained=False)
    if name in SEGMENTATION:
        return Only(getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, num_classes=21))
    if name in DETECTION:
        return Heads(getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None))
    more = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
    return getattr(torchvision.models, name)(weights=None, **more)


def settle(model, size):
    """Statistics of the batch norms as two batches leave them, affine parameters around those of initialisation."""
    generator = torch.Generator().manual_seed(11)
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)) and module.affine:
            module.momentum = None
            with torch.no_grad():
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) * 0.8 + 0.6)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)
        if isinstance(module, (torch.nn.Dropout,)):
            module.p = 0.0
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn((8, 3, size, size), generator=generator))
    return model.eval()


def export(name, folder):
    size = SIZES.get(name, 224)
    paths = {exporter: folder / f"{name}.{exporter}.onnx" for exporter in ("script", "dynamo")}
    if all(path.exists() for path in paths.values()):
        return
    model = settle(build(name), size)
    x = torch.randn((4, 3, size, size), generator=torch.Generator().manual_seed(13))
    with torch.no_grad():
        outputs = model(x)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    np.savez(folder / f"{name}.npz", input=x.numpy(), **{f"output{i}": o.numpy() for i, o in enumerate(outputs)})
    for exporter, path in paths.items():
        if path.exists():
            continue
        try:
            if exporter == "script":
                torch.onnx.export(model, (x[:1],), str(path), dynamo=False, opset_version=17, input_names=["input"],
                                  dynamic_axes={"input": {0: "N"}})
            else:
                torch.onnx.export(model, (x[:2],), str(path), dynamo=True, external_data=False, input_names=["input"],
                                  dynamic_shapes=({0: torch.export.Dim("N", min=1, max=4096)},), verbose=False)
            print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
        except Exception as error:  # noqa: BLE001 - an exporter that fails is a line of the table
            print(f"{path.name}: the exporter failed: {str(error).splitlines()[0][:120]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=["unet"] + TIMM + TORCHVISION + SEGMENTATION + DETECTION)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        try:
            export(name, args.folder)
        except Exception as error:  # noqa: BLE001
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:160]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
