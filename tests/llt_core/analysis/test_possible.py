"""What well-known fields can be: at least all that tasks, plugins and training take themselves."""

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from llt_core.analysis.headings import _AXES
from llt_core.analysis.possible import SPANS, impossible
from llt_core.spec.training import TrainingRecipe
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.transformer import Transformer
from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.perturbations.pixel_noise import PixelNoise

OWN = {
    "architecture.width": (Mlp, "width"),
    "architecture.depth": (Mlp, "depth"),
    "architecture.embedding_dim": (Transformer, "embedding_dim"),
    "train.batch_size": (TrainingRecipe, "batch_size"),
    "train.learning_rate": (TrainingRecipe, "learning_rate"),
    "train.weight_decay": (TrainingRecipe, "weight_decay"),
    "data_subset.fraction": (DataSubset, "fraction"),
    "label_noise.fraction": (LabelNoise, "fraction"),
    "pixel_noise.magnitude": (PixelNoise, "magnitude"),
}
VALUES = [-1, -0.5, 0, 0.25, 1, 1.5, 2, 64]


@pytest.mark.parametrize("field", SPANS)
def test_they_agree_with_the_fields_themselves(field):
    model, name = OWN[field]
    own = model.model_fields[name]
    kind = TypeAdapter(Annotated[own.annotation, *own.metadata])
    for value in VALUES:
        try:
            kind.validate_python(value)
            taken = True
        except ValidationError:
            taken = False
        # A width of others may be a multiple of something, and there a part is none of ours.
        part = isinstance(value, float) and value > 0
        if part and field.startswith("architecture."):
            continue
        assert bool(impossible(field, value)) != taken, value
        assert impossible(f"perturbation.{field}", value) == impossible(field, value)


def test_every_heading_that_means_a_field_has_a_span():
    assert {field.removeprefix("perturbation.") for field in _AXES} == set(SPANS)
