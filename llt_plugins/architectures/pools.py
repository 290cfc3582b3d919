"""The rule of pooling networks: an image must outlive its pools, or the network is refused."""

from __future__ import annotations

from llt_core.interfaces import TaskDescription

_TIMES = {2: ("two", "twice"), 5: ("five", "five times")}


def pooled_away(task: TaskDescription, pools: int) -> str | None:
    """Say why images of ``task`` do not outlive ``pools`` 2x2 pools; None if they do.

    >>> small = TaskDescription(modality="image", input_shape=(1, 28, 28), outputs=10)
    >>> pooled_away(small, 2) is None
    True
    >>> pooled_away(small, 5).partition(",")[0]
    'its five 2x2 pools halve the image five times and need 32x32 pixels'
    """
    height, width = task.input_shape[-2:]
    smallest = 2**pools
    if min(height, width) >= smallest:
        return None
    count, times = _TIMES[pools]
    return (
        f"its {count} 2x2 pools halve the image {times} and need {smallest}x{smallest} pixels, "
        f"but the task gives {height}x{width}: choose resnet18 or mlp, or a task with larger images"
    )
