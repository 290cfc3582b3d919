"""CIFAR-style residual networks of any width (He, Zhang, Ren and Sun 2016).

Nothing works in place on what a layer returned, so hooks see its own output; only the sum of
a block, which no layer returned, is activated in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu


class Shortcut(nn.Sequential):
    """A 1×1 convolution and batch normalisation where the shape changes; else the identity.

    Every ``stride``-th pixel is taken first and convolved with stride 1: the same function as
    a strided convolution, whose backward pass corrupts memory on x86 CPUs when channels are
    few (oneDNN issue 6035).
    """

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        if stride != 1 or incoming != outgoing:
            self.append(nn.Conv2d(incoming, outgoing, 1, bias=False))
            self.append(nn.BatchNorm2d(outgoing))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outgoing, H/s, W/s)`` for ``(B, incoming, H, W)``."""
        shortcut = x[..., :: self.stride, :: self.stride]
        for module in self:
            shortcut = module(shortcut)
        return shortcut


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut: ``(B, I, H, W)`` → ``(B, k, H/s, W/s)``."""

    expansion = 1

    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = Shortcut(incoming, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum of branch and shortcut."""
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions: ``(B, I, H, W)`` → ``(B, 4k, H/s, W/s)``.

    The stride sits on the 3×3 convolution.
    """

    expansion = 4

    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__()
        outgoing = self.expansion * channels
        self.conv1 = nn.Conv2d(incoming, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outgoing, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outgoing)
        self.shortcut = Shortcut(incoming, outgoing, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum of branch and shortcut."""
        y = relu(self.bn1(self.conv1(x)))
        y = relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return relu(y + self.shortcut(x), inplace=True)


class Stem(nn.Module):
    """3×3 convolution, batch normalisation, ReLU: ``(B, C, H, W)`` → ``(B, k, H, W)``."""

    def __init__(self, incoming: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(incoming, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated features."""
        return relu(self.bn(self.conv(x)))


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, global average pooling, one linear layer.

    Maps images ``(B, C, H, W)`` to logits ``(B, outputs)``. The stages have k, 2k, 4k and
    8k channels and strides 1, 2, 2, 2. Averaging over whatever is left of the image is
    the "average pool 4" of the paper on 32×32 inputs, and lets 28×28 inputs through too.

    Parameters
    ----------
    block
        Kind of residual block.
    blocks
        Number of blocks of each of the four stages.
    width
        Channels k of the stem and of the first stage.
    channels
        Channels C of the images.
    outputs
        Number of classes.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        width: int,
        channels: int,
        outputs: int,
    ) -> None:
        super().__init__()
        self.stem = Stem(channels, width)
        incoming = width
        for stage, count in enumerate(blocks):
            wide = width * 2**stage
            layers = nn.Sequential()
            for index in range(count):
                layers.append(block(incoming, wide, 2 if stage > 0 and index == 0 else 1))
                incoming = wide * block.expansion
            self.add_module(f"stage{stage + 1}", layers)
        self.blocks = tuple(blocks)
        self.classifier = nn.Linear(incoming, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, outputs)`` for images ``(B, C, H, W)``."""
        x = self.stem(x)
        for stage in range(len(self.blocks)):
            x = self.get_submodule(f"stage{stage + 1}")(x)
        logits: Tensor = self.classifier(adaptive_avg_pool2d(x, 1).flatten(1))
        return logits

    def probes(self) -> list[str]:
        """Return the names of the stem, every block and the classifier, in forward order."""
        blocks = [
            f"stage{stage}.{index}"
            for stage, count in enumerate(self.blocks, start=1)
            for index in range(count)
        ]
        return ["stem", *blocks, "classifier"]
