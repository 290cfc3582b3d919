"""Version and defaults of every built-in plugin and of the training recipe.

Write them anew after a change that you meant: ``python tests/golden/make_defaults.py``
"""

import json
from pathlib import Path
from typing import Any

from llt_core.plugins import Catalogue
from llt_core.plugins.finder import BUILT_IN
from llt_core.plugins.loader import load
from llt_core.spec import RECIPES, TrainingRecipe

FILE = Path(__file__).with_name("defaults.json")


def defaults(model: Any) -> dict[str, Any]:
    """Return the default of every field as JSON, ``"required"`` where there is none."""
    found = {}
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        found[name] = "required" if field.is_required() else json.loads(json.dumps(value))
    return found


def snapshot() -> dict[str, Any]:
    """Return what results depend on without anybody setting it."""
    entries = [e for e in Catalogue.discover().entries if e.package == BUILT_IN]
    plugins = {}
    for entry in sorted(entries, key=lambda e: (e.kind, e.name)):
        cls = load(entry)
        plugins[f"{entry.kind} {entry.name}"] = {
            "version": cls.version,
            "defaults": defaults(cls),
            **{
                key: getattr(entry, key)
                for key in ("architecture", "recipe")
                if getattr(entry, key)
            },
        }
    recipe = {"version": TrainingRecipe.version, "defaults": defaults(TrainingRecipe)}
    return {
        "plugins": plugins,
        "recipe": recipe,
        "recipes": {k: dict(v) for k, v in RECIPES.items()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(snapshot(), indent=1) + "\n", encoding="utf-8")
    print(f"{FILE} written")
