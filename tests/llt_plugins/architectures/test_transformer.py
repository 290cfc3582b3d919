import copy
import inspect
import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_model, save_model
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, softmax

from llt_core.interfaces import RequestError, TaskDescription
from llt_plugins.architectures.networks.blocks import Attention, Projection
from llt_plugins.architectures.networks.transformer import sinusoids
from llt_plugins.architectures.transformer import Transformer


def words(outputs=13, longest=9, padding=0):
    return TaskDescription(
        modality="text", input_shape=(longest,), outputs=outputs, padding=padding
    )


def built(task=None, seed=0, **parameters):
    settings = {"embedding_dim": 16, "layers": 2, "heads": 4, **parameters}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Transformer(**settings).build(task or words())


def tokens(rows, length, seed=1, vocabulary=13):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, vocabulary, (rows, length), generator=generator)


BOTH = pytest.mark.parametrize("norm", ["pre", "post"])


def count(d, layers, ratio, vocabulary, tied, norm):
    """The formula: attention 4d², feed-forward 2rd² + rd + d, each normalisation 2d."""
    attention, feedforward, normal = 4 * d * d, 2 * ratio * d * d + ratio * d + d, 2 * d
    encoder = attention + feedforward + 2 * normal
    decoder = 2 * attention + feedforward + 3 * normal
    last = 2 * normal if norm == "pre" else 0
    return layers * (encoder + decoder) + last + (1 if tied else 3) * vocabulary * d


@BOTH
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("d", "layers", "ratio"), [(8, 1, 2), (64, 6, 4), (512, 6, 4)])
def test_it_has_as_many_parameters_as_the_formula_says(d, layers, ratio, tied, norm):
    architecture = Transformer(
        embedding_dim=d, layers=layers, feedforward_ratio=ratio, tie_embeddings=tied, norm=norm
    )
    with torch.device("meta"):
        model = architecture.build(words(outputs=4_000))
    found = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found == count(d, layers, ratio, 4_000, tied, norm)


def test_the_base_model_of_the_paper_has_44_million_parameters_besides_its_vocabulary():
    assert count(512, 6, 4, 0, True, "post") == 44_101_632


def test_one_table_serves_all_three_places_when_tied():
    tied, untied = built(), built(tie_embeddings=False)
    tables = [name for name, p in tied.named_parameters() if p.shape == (13, 16)]
    assert tables == ["embedding.weight"]
    assert Transformer().embeddings(tied) == ["embedding"]
    assert Transformer().embeddings(untied) == ["embedding", "target_embedding"]
    loss = tied(source=tokens(2, 5), target=tokens(2, 4)).square().mean()
    assert torch.autograd.grad(loss, tied.embedding.weight)[0].abs().min(1).values.max() > 0
    source, target = tokens(2, 5), tokens(2, 4)
    before = untied(source=source, target=target)
    with torch.no_grad():
        untied.classifier.weight.zero_()
    assert before.abs().max() > 0
    assert not untied(source=source, target=target).any()


def test_initialisation_is_glorots_and_that_of_unit_logits():
    model = built(embedding_dim=64, heads=8, layers=1, task=words(outputs=500))
    assert model.embedding.weight.std().item() == pytest.approx(1 / 8, rel=0.02)
    for module in model.modules():
        if isinstance(module, Projection):
            bound = math.sqrt(6 / sum(module.weight.shape))
            assert 0.98 * bound < module.weight.abs().max() <= bound
            assert module.bias is None or not module.bias.any()
    logits = model.eval()(source=tokens(8, 9), target=tokens(8, 9))
    assert logits.std().item() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("dim", [8, 7])
def test_positions_are_those_of_section_3_5(dim):
    table = sinusoids(20, dim)
    assert table.shape == (20, dim)
    for position in (0, 3, 19):
        for column in range(dim):
            angle = position / 10_000 ** (2 * (column // 2) / dim)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)


def test_attention_is_equation_1():
    attention = Attention(6, 2).double()
    x, memory = (torch.randn(3, n, 6, dtype=torch.float64) for n in (4, 5))
    keep = torch.rand(3, 1, 1, 5) > 0.3
    keep[..., 0] = True
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        q, k, v = (
            y @ layer.weight[part].T
            for y, layer in (
                (x, attention.query),
                (memory, attention.key),
                (memory, attention.value),
            )
        )
        scores = (q @ k.transpose(1, 2) / math.sqrt(3)).masked_fill(~keep[:, 0], -torch.inf)
        heads.append(softmax(scores, -1) @ v)
    expected = torch.cat(heads, -1) @ attention.output.weight.T
    torch.testing.assert_close(attention(x, memory, keep), expected)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@BOTH
def test_it_is_the_transformer_of_torch(norm):
    """The same weights in torch.nn.Transformer give the same outputs."""
    d, source, target = 16, tokens(3, 7), tokens(3, 5)
    source[1, 4:] = 0
    model = built(norm=norm).eval()
    theirs = nn.Transformer(
        d, 4, 2, 2, 4 * d, batch_first=True, norm_first=norm == "pre", dropout=0.0
    )
    theirs.encoder.norm = model.encoder_norm
    theirs.decoder.norm = model.decoder_norm
    with torch.no_grad():
        for ours, other in zip(model.encoder, theirs.encoder.layers, strict=True):
            _attention(ours.attention, other.self_attn)
            _rest(ours, other, [ours.attended, ours.fed])
        for ours, other in zip(model.decoder, theirs.decoder.layers, strict=True):
            _attention(ours.attention, other.self_attn)
            _attention(ours.lookup, other.multihead_attn)
            _rest(ours, other, [ours.attended, ours.looked, ours.fed])
        table = sinusoids(9, d)
        x = model.embedding(source) * 4 + table[:7]
        y = model.embedding(target) * 4 + table[:5]
        hidden = theirs(
            x,
            y,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(5),
            src_key_padding_mask=(source == 0).float() * -1e30,
            memory_key_padding_mask=(source == 0).float() * -1e30,
        )
        expected = hidden @ model.embedding.weight.T
        torch.testing.assert_close(model(source=source, target=target), expected)


def _attention(ours, other):
    parts = (ours.query, ours.key, ours.value)
    other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    other.in_proj_bias.zero_()
    other.out_proj.weight.copy_(ours.output.weight)
    other.out_proj.bias.zero_()


def _rest(ours, other, residuals):
    for mine, theirs in (
        (ours.feedforward.widen, other.linear1),
        (ours.feedforward.narrow, other.linear2),
    ):
        theirs.load_state_dict(mine.state_dict())
    for number, residual in enumerate(residuals, start=1):
        getattr(other, f"norm{number}").load_state_dict(residual.norm.state_dict())


@BOTH
def test_padding_changes_nothing_wherever_it_stands(norm):
    model = built(norm=norm).eval().double()
    source, target = tokens(3, 6), tokens(3, 5)
    expected = model(source=source, target=target)
    nothing = torch.zeros(3, 4, dtype=torch.int64)
    mixed = torch.zeros(3, 12, dtype=torch.int64)
    mixed[:, [1, 2, 5, 6, 8, 11]] = source
    for padded in (torch.cat([source, nothing], 1), torch.cat([nothing, source], 1), mixed):
        actual = model(source=padded, target=target)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    longer = torch.cat([target, nothing], 1)
    actual = model(source=source, target=longer)[:, :5]
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@BOTH
def test_a_batch_of_rows_is_the_rows_one_by_one(norm):
    """Bucketing may change which sentences share a batch, never what comes out."""
    model = built(norm=norm).eval().double()
    source, target = tokens(4, 9), tokens(4, 8)
    lengths = [(9, 3), (1, 8), (4, 1), (6, 6)]
    for row, (read, written) in enumerate(lengths):
        source[row, read:] = 0
        target[row, written:] = 0
    together = model(source=source, target=target)
    for row, (read, written) in enumerate(lengths):
        alone = model(source=source[row : row + 1, :read], target=target[row : row + 1, :written])
        torch.testing.assert_close(together[row, :written], alone[0], rtol=1e-11, atol=1e-11)


@BOTH
def test_later_target_tokens_change_nothing(norm):
    model = built(norm=norm).eval().double()
    source, target = tokens(2, 6), tokens(2, 8)
    expected = model(source=source, target=target)
    for known in range(1, 8):
        other = torch.cat([target[:, :known], tokens(2, 8 - known, seed=known)], dim=1)
        actual = model(source=source, target=other)
        torch.testing.assert_close(actual[:, :known], expected[:, :known], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(actual[:, known:], expected[:, known:])


def test_a_prefix_decoded_anew_is_the_whole():
    model = built().eval().double()
    source, target = tokens(2, 6), tokens(2, 12)  # longer than the positions prepared
    source[1, 3:] = 0
    whole = model(source=source, target=target)
    memory = model.encode(source)
    assert memory.shape == (2, 6, 16)
    for length in (1, 9, 10, 12):
        part = model.decode(target[:, :length], memory, source)
        torch.testing.assert_close(part, whole[:, :length], rtol=1e-12, atol=1e-12)
    assert len(model.positions) == 9  # nothing was kept


@BOTH
@pytest.mark.parametrize("kernel", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], ids=str)
def test_much_padding_is_no_reason_for_nan(norm, kernel):
    model = built(norm=norm)
    source, target = torch.zeros(3, 40, dtype=torch.int64), tokens(3, 5)
    source[0, 0], source[1, 39] = 4, 5  # the third row is nothing but padding
    target[:, 2:] = 0
    with sdpa_kernel(kernel):
        for mode in (True, False):
            model.train(mode)
            outputs = model(source=source, target=target)
            slopes = torch.autograd.grad(outputs.square().mean(), list(model.parameters()))
            assert outputs.isfinite().all()
            assert all(slope.isfinite().all() for slope in slopes)


def test_without_a_padding_token_every_token_is_read():
    model = built(task=words(padding=None)).eval()
    source, target = tokens(2, 5), tokens(2, 4)
    before = model(source=source, target=target)
    longer = torch.cat([source, torch.zeros(2, 1, dtype=torch.int64)], dim=1)
    assert not torch.allclose(model(source=longer, target=target), before, atol=1e-3)


def test_dropout_is_where_the_paper_has_it_and_off_in_eval_mode():
    model = built(dropout=0.5)
    drops = [name for name, m in model.named_modules() if isinstance(m, nn.Dropout)]
    assert len(drops) == 1 + 2 * 2 + 2 * 3
    assert all(model.get_submodule(name).p == 0.5 for name in drops)
    source, target = tokens(2, 5), tokens(2, 4)
    assert not torch.equal(*(model(source=source, target=target) for _ in range(2)))
    model.eval()
    assert torch.equal(*(model(source=source, target=target) for _ in range(2)))


def test_probes_are_the_blocks():
    architecture = Transformer(embedding_dim=8, layers=2)
    model = architecture.build(words())
    assert architecture.probes(model) == ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"embedding_dim": 20}, "embedding_dim = 16 or 24, or heads = 5"),
        ({"embedding_dim": 4}, "embedding_dim = 8, or heads = 4"),
        ({"embedding_dim": 7, "heads": 2}, "embedding_dim = 6 or 8, or heads = 1"),
    ],
)
def test_heads_that_do_not_share_equally_are_refused_with_what_would(parameters, said):
    architecture = Transformer(**parameters)
    assert said in architecture.refuses(words())
    with pytest.raises(RequestError, match="cannot share"):
        architecture.build(words())


@pytest.mark.parametrize("dim", [8, 16, 24, 64, 128, 256, 512])
def test_the_load_axis_of_the_paper_is_accepted(dim):
    assert Transformer(embedding_dim=dim).refuses(words()) is None


@pytest.mark.parametrize(
    "wrong", [{"embedding_dim": 0}, {"layers": 0}, {"dropout": 1.0}, {"norm": "none"}]
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Transformer(**wrong)


def test_a_checkpoint_holds_tied_vectors_once_and_no_positions(tmp_path):
    model, other = built(seed=1).eval(), built(seed=2).eval()
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"), strict=True)
    texts = {"source": tokens(2, 5), "target": tokens(2, 4)}
    assert torch.equal(model(**texts), other(**texts))
    assert "positions" not in model.state_dict()
    twin = copy.deepcopy(model)
    assert torch.equal(model(**texts), twin(**texts))
    assert list(inspect.signature(model.forward).parameters) == ["source", "target"]


@BOTH
def test_it_learns_to_turn_a_sentence_round(norm):
    """A task that needs the source, its positions, and the target so far."""
    architecture = Transformer(embedding_dim=32, layers=1, heads=4, dropout=0.0, norm=norm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture.build(words(outputs=10, longest=6))
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(250):
            source = tokens(64, 6, seed=step, vocabulary=7) + 2
            turned = source.flip(1)
            target = torch.cat([torch.ones(64, 1, dtype=torch.int64), turned[:, :-1]], dim=1)
            logits = model(source=source, target=target)
            loss = cross_entropy(logits.flatten(0, 1), turned.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    right = (logits.argmax(-1) == turned).float().mean().item()
    assert right > 0.95
