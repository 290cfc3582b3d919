"""Jobs for the tests of the ray executor; llt finds them by PYTHONPATH alone."""

import os
import time


def place(payload, report):
    """Say where a job runs, after some seconds; keep a note of each time it is begun."""
    import ray

    node = ray.util.get_node_ip_address()
    with open(payload["notes"], "a") as notes:
        notes.write(f"{payload['number']} {node}\n")
    time.sleep(payload["seconds"])
    return {
        "square": payload["number"] ** 2,
        "node": node,
        "threads": os.environ["LLT_THREADS"],
        "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "home": os.environ["HOME"],
    }


def process(payload, report):
    """Return the process that runs the job, and its parent."""
    return {"pid": os.getpid(), "parent": os.getppid(), "home": os.environ["HOME"]}
