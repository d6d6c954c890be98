#!/usr/bin/env python3
"""Trains the network of examples/digits.onnx and writes it with its held-out samples.

    python3 examples/train.py            under a minute on one core; writes digits.onnx, samples/*.npz and labels.txt beside this script

Needs scikit-learn (for its handwritten digits: 1,797 grey images of 8 x 8), torch for the training and onnx to write the file; made with
scikit-learn 1.9, torch 2.13, onnx 1.22. The seed is fixed and one thread is used, so the same versions on the same kind of CPU give the same file.

The network has what convolutional networks are made of, small: convolution with batch normalization, two residual blocks, a depthwise separable
convolution with stride 2, max pooling, two fully connected layers. Batch normalization stays nodes of its own, so that there is something to fold.
Each sample file holds 36 held-out images as {"image": float32 (36,1,8,8)}; labels.txt gives the file and its digits in order.
"""
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

HELD_OUT, PER_FILE, EPOCHS, BATCH, SEED = 360, 36, 40, 64, 1


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.block1 = Residual(32)
        self.depthwise, self.depthwise_bn = nn.Conv2d(32, 32, 3, stride=2, padding=1, groups=32, bias=False), nn.BatchNorm2d(32)
        self.pointwise, self.pointwise_bn = nn.Conv2d(32, 64, 1, bias=False), nn.BatchNorm2d(64)
        self.block2 = Residual(64)
        self.fc1, self.fc2 = nn.Linear(256, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.block1(torch.relu(self.stem_bn(self.stem(x))))
        x = torch.relu(self.depthwise_bn(self.depthwise(x)))
        x = self.block2(torch.relu(self.pointwise_bn(self.pointwise(x))))
        x = torch.max_pool2d(x, 2).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


def shifted(images, generator):
    """Each image moved by up to one pixel in both directions: the only augmentation."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    offset = torch.randint(0, 3, (len(images), 2), generator=generator)
    return torch.stack([p[:, y:y + 8, x:x + 8] for p, (y, x) in zip(padded, offset.tolist())])


def train(images, digits):
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    network = Network()
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for i in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[i:i + BATCH]
            loss = nn.functional.cross_entropy(network(shifted(images[pick], generator)), digits[pick], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


class Writer:
    """Collects nodes and weights; every method appends one operator and returns the name of its output."""

    def __init__(self, network):
        self.weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
        self.nodes, self.initializers = [], []

    def weight(self, name):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(self.weights[name]), name))
        return name

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name + "_out"], name, **attributes))
        return name + "_out"

    def conv_bn(self, x, name, bn, stride=1, groups=1):
        kernel = self.weights[name + ".weight"].shape[2]
        x = self.node("Conv", [x, self.weight(name + ".weight")], name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                      pads=[kernel // 2] * 4, group=groups)
        parts = [self.weight(f"{bn}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.node("BatchNormalization", [x, *parts], bn)

    def residual(self, x, name):
        y = self.node("Relu", [self.conv_bn(x, f"{name}.conv1", f"{name}.bn1")], f"{name}.relu1")
        y = self.conv_bn(y, f"{name}.conv2", f"{name}.bn2")
        return self.node("Relu", [self.node("Add", [x, y], f"{name}.add")], f"{name}.relu2")

    def gemm(self, x, name):
        return self.node("Gemm", [x, self.weight(name + ".weight"), self.weight(name + ".bias")], name, transB=1)

    def graph(self):
        x = self.node("Relu", [self.conv_bn("image", "stem", "stem_bn")], "stem_relu")
        x = self.residual(x, "block1")
        x = self.node("Relu", [self.conv_bn(x, "depthwise", "depthwise_bn", stride=2, groups=32)], "depthwise_relu")
        x = self.node("Relu", [self.conv_bn(x, "pointwise", "pointwise_bn")], "pointwise_relu")
        x = self.residual(x, "block2")
        x = self.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
        x = self.node("Flatten", [x], "flatten", axis=1)
        x = self.node("Relu", [self.gemm(x, "fc1")], "fc1_relu")
        self.gemm(x, "fc2")
        self.nodes[-1].output[0] = "scores"
        return helper.make_graph(self.nodes, "digits", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
                                 [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])], self.initializers)


def main():
    here = pathlib.Path(__file__).parent
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    digits = data.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(images))
    test, rest = order[:HELD_OUT], order[HELD_OUT:]
    network = train(torch.from_numpy(images[rest]), torch.from_numpy(digits[rest]))
    with torch.no_grad():
        accuracy = float((network(torch.from_numpy(images[test])).argmax(1).numpy() == digits[test]).mean())

    model = helper.make_model(Writer(network).graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="examples/train.py")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, here / "digits.onnx")
    (here / "samples").mkdir(exist_ok=True)
    lines = []
    for number, start in enumerate(range(0, HELD_OUT, PER_FILE)):
        pick, name = test[start:start + PER_FILE], f"digits-{number}.npz"
        np.savez_compressed(here / "samples" / name, image=images[pick])
        lines.append(" ".join([name, *map(str, digits[pick])]))
    (here / "labels.txt").write_text("\n".join(lines) + "\n")
    print(f"{sum(v.numel() for v in network.state_dict().values() if v.ndim)} numbers, accuracy {accuracy:.4f} on {HELD_OUT} held-out images")


if __name__ == "__main__":
    main()
