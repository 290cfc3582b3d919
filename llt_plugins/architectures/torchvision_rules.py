"""What is known of torchvision's models without importing torchvision.

The smallest images were found by trying every model of torchvision 0.29, in train and
eval mode; a model that a later version adds is tried when it is built.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

SMALLEST: tuple[tuple[str, int], ...] = (
    ("alexnet", 63),
    ("convnext", 32),
    ("densenet", 29),
    ("googlenet", 15),
    ("inception", 75),
    ("squeezenet1_0", 21),
    ("squeezenet1_1", 17),
    ("swin", 4),
    ("vgg", 32),
)
"""Start of a name, and the least height and width that its models can read."""

MAXVIT_STEP = 224
"""MaxViT halves the image five times and cuts the rest into 7×7 windows."""

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the classification models, read from torchvision's source text.

    Empty where torchvision is not installed, or no longer marks its models that way.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return ()
    files = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    return tuple(
        sorted(name for file in files for name in _REGISTERED.findall(file.read_text("utf-8")))
    )


def unknown(name: str, known: tuple[str, ...]) -> str:
    """Return the sentence that answers an unknown ``name``, with its near matches."""
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    return f"torchvision has no classification model called {name!r}{hint}"


def wrong_shape(name: str, shape: tuple[int, ...]) -> str | None:
    """Say why the model cannot read images of ``shape`` ``(C, H, W)``; None if it may."""
    channels, height, width = shape
    if channels not in (1, 3):
        return f"torchvision models read 1 or 3 channels, but the task gives {channels}"
    given = f"but the task gives {height}x{width}"
    smallest = next((size for start, size in SMALLEST if name.startswith(start)), 1)
    if min(height, width) < smallest:
        return (
            f"{name} needs images of at least {smallest}x{smallest} pixels, {given}: choose "
            "resnet18, or a task with larger images"
        )
    if name.startswith("maxvit") and (height != width or height % MAXVIT_STEP):
        return f"{name} needs square images whose side is a multiple of {MAXVIT_STEP}, {given}"
    patch = patch_size(name)
    if patch and (height != width or height % patch):
        return f"{name} cuts square images into patches of {patch}x{patch} pixels, {given}"
    return None


def patch_size(name: str) -> int | None:
    """Return the patch size of a vision transformer, which is part of its name; else None."""
    match = re.fullmatch(r"vit_[a-z]+_(\d+)", name)
    return int(match[1]) if match else None


def options(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the keyword arguments that fit the model to images of ``shape`` ``(C, H, W)``."""
    if name.startswith("vit_"):
        return {"image_size": shape[1]}
    if name.startswith("maxvit"):
        return {"input_size": tuple(shape[1:])}
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    return {}
