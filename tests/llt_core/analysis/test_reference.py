"""The published results: the sample archive against the published table, and layouts made here."""

import csv
import io
import os
import pickle
import statistics
import tarfile
from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis.reference import read_reference
from llt_core.analysis.reference_files import read_file
from llt_core.analysis.reference_layout import UnknownNameError, axes, place
from llt_core.errors import RequestError

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
SAMPLE = SHARED / "published/reference_results_sample.tar.gz"
TABLE = SHARED / "published/resnet18_cifar10_lr_decay.csv"
published = pytest.mark.skipif(not SAMPLE.exists(), reason="needs the published results")

CELL = "different_knobs_subset_10/bs_32/lr_decay/ResNet18_w4"
MEANS = {
    "train_loss_mean": "train_loss",
    "train_acc_mean": "train_accuracy",
    "test_loss_mean": "test_loss",
    "test_acc_mean": "test_accuracy",
    "top_eig_mean": "hessian_top_eigenvalue",
    "trace_mean": "hessian_trace",
    "cka_softmax_mean": "cka",
    "cka_logits_mean": "cka_logits",
    "l2_mean": "l2_distance",
    "mc_train_err": "mode_connectivity",
    "mc_test_err": "mode_connectivity_test_error",
    "curve_tr_err_t0.00": "mode_connectivity_curve_t0",
    "curve_tr_err_t0.25": "mode_connectivity_curve_t0.25",
    "curve_tr_err_t0.50": "mode_connectivity_curve_t0.5",
    "curve_tr_err_t0.75": "mode_connectivity_curve_t0.75",
    "curve_tr_err_t1.00": "mode_connectivity_curve_t1",
}
"""Column of the published table → quantity whose mean it is."""


@pytest.fixture(scope="module")
def sample():
    return read_reference(SAMPLE)


@pytest.fixture(scope="module")
def table():
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def values(rows, cell, name):
    width, batch = cell
    return [
        row["value"]
        for row in rows
        if row["name"] == name
        and (row["architecture.width"], row["train.batch_size"]) == (width, batch)
    ]


def cell_of(row):
    return int(row["width"]), int(row["batch_size"])


def common(sample, table):
    mine = {(row["architecture.width"], row["train.batch_size"]) for row in sample.rows}
    both = [row for row in table if cell_of(row) in mine]
    assert len(both) == 9
    return both


@published
@pytest.mark.parametrize("column", MEANS)
def test_every_mean_is_the_published_one_to_the_printed_digits(sample, table, column):
    for row in common(sample, table):
        mean = statistics.fmean(values(sample.rows, cell_of(row), MEANS[column]))
        assert f"{mean:.6g}" == row[column], row


@published
def test_the_published_spread_is_the_sample_standard_deviation(sample, table):
    for row in common(sample, table):
        found = values(sample.rows, cell_of(row), "test_accuracy")
        assert f"{statistics.stdev(found):.6g}" == row["test_acc_std"]
        assert f"{statistics.pstdev(found):.6g}" != row["test_acc_std"]


@published
def test_no_column_of_the_published_table_is_left_out(table):
    assert set(table[0]) == {*MEANS, "width", "batch_size", "n_models", "test_acc_std"}


@published
def test_the_formula_of_connectivity_on_all_published_curves(table):
    points = [column for column in table[0] if column.startswith("curve_tr_err")]
    ts = [float(column.split("_t")[-1]) for column in points]
    for row in table:
        file = io.BytesIO()
        np.savez(file, **curve([float(row[column]) for column in points], ts=ts))
        told = {r.name: r.value for r in read_file(file.getvalue(), "curve.npz", "", (0, 1))}
        printed = float(row["mc_train_err"])
        assert told["mode_connectivity"] == pytest.approx(printed, rel=1e-4, abs=1e-4)


@published
def test_models_and_pairs_stay_single(sample, table):
    row = common(sample, table)[0]
    mine = [
        r for r in sample.rows if (r["architecture.width"], r["train.batch_size"]) == cell_of(row)
    ]
    assert [r["seeds"] for r in mine if r["name"] == "train_loss"] == list("01234")
    assert len({r["seeds"] for r in mine if r["seeds"].count("+") == 0}) == int(row["n_models"])
    pairs = [r["seeds"] for r in mine if r["name"] == "cka"]
    assert len(pairs) == len(set(pairs)) == 10
    assert pairs[0] == "0+1"
    assert {r["n"] for r in mine if r["name"] == "cka"} == {2}
    assert [r["seeds"] for r in mine if r["name"] == "mode_connectivity"] == ["0+1"]


@published
def test_what_is_missing_or_no_number_has_a_status_and_is_listed(sample):
    odd = [row for row in sample.rows if row["status"] != "ok"]
    assert {(r["architecture.width"], r["train.batch_size"]) for r in odd} == {(1, 19)}
    assert all(row["value"] is None and row["n"] == 0 and row["reason"] for row in odd)
    missing = [r for r in odd if r["status"] == "missing"]
    assert sorted((r["name"], r["seeds"]) for r in missing) == [
        (name, model) for name in ("test_accuracy", "test_loss") for model in "01234"
    ]
    broken = [r for r in odd if r["status"] == "not_finite"]
    assert {r["seeds"] for r in broken} == {"0+3", "1+3", "2+3", "3+4"}
    assert {r["name"] for r in broken} == {"cka", "cka_logits"}
    assert len(values(sample.rows, (1, 19), "cka")) == 10
    told = {(p.quantity, p.reason) for p in sample.problems}
    assert told == {
        ("cka", "the file says nan, nan (pairs 0+3, 1+3, 2+3, 3+4)"),
        ("cka_logits", "the file says nan, nan (pairs 0+3, 1+3, 2+3, 3+4)"),
        ("test_loss", "loss_acc_test.pkl is missing (models 0, 1, 2, 3, 4)"),
        ("test_accuracy", "loss_acc_test.pkl is missing (models 0, 1, 2, 3, 4)"),
    }


@published
def test_every_row_says_where_it_is_from(sample):
    assert {row["origin"] for row in sample.rows} == {f"published: {SAMPLE.name}"}
    with tarfile.open(SAMPLE) as archive:
        files = set(archive.getnames())
    assert {row["source"] for row in sample.rows if row["status"] != "missing"} <= files
    assert sample.kinds == {"architecture.width": "load", "train.batch_size": "temperature"}


@published
def test_the_folder_it_unpacks_to_reads_the_same(sample, tmp_path):
    with tarfile.open(SAMPLE) as archive:
        for member in archive:
            if member.isfile():
                file = tmp_path / member.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.extractfile(member).read())
    unpacked = read_reference(tmp_path)
    for one, other in zip(unpacked.rows, sample.rows, strict=True):
        assert one | {"origin": ""} == other | {"origin": ""}
    assert unpacked.problems == sample.problems


# Layouts made here


def scores(*accuracies, loss=0.5):
    return {i: {"nll": loss, "loss": loss, "accuracy": a} for i, a in enumerate(accuracies)}


def write(folder, name, document):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".npz"):
        np.savez(file, **document)
    else:
        file.write_bytes(document if isinstance(document, bytes) else pickle.dumps(document))


def curve(train, test=None, ts=(0, 0.5, 1)):
    arrays = {f"tr_{kind}": np.array(train, float) for kind in ("err", "nll")}
    arrays |= {f"te_{kind}": np.array(test or train, float) for kind in ("err", "nll")}
    return {"ts": np.array(ts, float), **arrays}


def one(imported, name, seeds=None):
    (row,) = [r for r in imported.rows if r["name"] == name and seeds in (None, r["seeds"])]
    return row


def test_each_field_that_a_folder_can_state(tmp_path):
    expected = {
        "different_knobs_subset_03/bs_1024/normal/ResNet18_w128": {
            "architecture.width": 128,
            "data_subset.fraction": 0.3,
            "label_noise.fraction": 0.0,
            "train.batch_size": 1024,
            "train.learning_rate": 0.05,
            "train.weight_decay": 5e-4,
            "train.recipe": "standard",
        },
        "a/b/different_knobs_random_label_0075/lr_0.0015625/lr_scaling/VGG11_w2": {
            "architecture": "vgg11",
            "data_subset.fraction": 1.0,
            "label_noise.fraction": 0.075,
            "train.batch_size": 128,
            "train.learning_rate": 0.0015625,
            "train.recipe": "lr_scaling",
        },
        "different_knobs_subset_noisy_10/wd_5e-05/small_wd/ResNet18_w1": {
            "data_subset.fraction": 1.0,
            "label_noise.fraction": 0.1,
            "train.weight_decay": 5e-5,
            "train.recipe": "small_wd",
        },
        "different_knobs_subset_7/bs_17/lr_decay/ResNet18_w1": {"data_subset.fraction": 0.7},
        "different_knobs_random_label_0/bs_16/lr_decay/ResNet18_w1": {
            "label_noise.fraction": 0.0,
            "train.learning_rate": 0.1,
        },
    }
    for cell, fields in expected.items():
        write(tmp_path, f"{cell}/metrics/loss_acc.pkl", scores(50.0))
        assert fields.items() <= axes(cell).items()
    imported = read_reference(tmp_path)
    assert set(imported.cells) == set(expected)
    assert set(imported.kinds) >= {"label_noise.fraction", "train.weight_decay", "train.recipe"}
    assert imported.kinds["label_noise.fraction"] == "load"
    assert imported.kinds["train.weight_decay"] == "temperature"


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("different_knobs_augmix_10/bs_32/lr_decay/ResNet18_w4", "augmix"),
        ("different_knobs_subset_20/bs_32/lr_decay/ResNet18_w4", "20"),
        ("different_knobs_subset_10/dropout_3/lr_decay/ResNet18_w4", "dropout_3"),
        ("different_knobs_subset_10/bs_3.5/lr_decay/ResNet18_w4", "bs_3.5"),
        ("different_knobs_subset_10/bs_32/cosine/ResNet18_w4", "cosine"),
        ("different_knobs_subset_10/bs_32/lr_decay/ViT_w4", "ViT_w4"),
        ("different_knobs_subset_10/bs_32/lr_decay/ResNet18", "no width"),
        ("different_knobs_subset_10/bs_32/lr_decay/ResNet18_w0", "architecture.width 0, which"),
        ("different_knobs_subset_10/bs_0/lr_decay/ResNet18_w4", "a whole number from 1 on"),
    ],
)
def test_a_folder_that_is_not_understood_is_named_and_the_rest_is_read(tmp_path, cell, part):
    with pytest.raises(UnknownNameError, match=part):
        axes(cell)
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0))
    write(tmp_path, f"{cell}/metrics/loss_acc.pkl", scores(60.0))
    imported = read_reference(tmp_path)
    assert imported.cells == (CELL,)
    assert any(p.cell == cell and part in p.reason for p in imported.problems)


def test_only_files_of_cells_have_a_place():
    assert place("results/notes/README.md") is None
    assert place("a/b/c/d/metrics/loss_acc.pkl") is None
    assert place(f"{CELL}/net_exp_0.pkl") is None
    ring = place(f"curve_fitting_{CELL}/connecting_4_0/curve.npz")
    assert (ring.cell, ring.pair) == (CELL, (4, 0))


def test_the_sums_of_a_curve_and_further_pairs(tmp_path):
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0, 60.0, 70.0))
    write(tmp_path, f"{CELL}/metrics/curve_test.npz", curve((10, 30, 20), (4, 1, 2)))
    ring = f"curve_fitting_{CELL}"
    write(tmp_path, f"{ring}/connecting_0_1/curve.npz", curve((0, 99, 0)))
    write(tmp_path, f"{ring}/connecting_1_2/curve.npz", curve((5, 5, 7, 5), ts=(0, 0.2, 0.5, 1)))
    imported = read_reference(tmp_path)
    told = {r["name"]: r["value"] for r in imported.rows if r["seeds"] == "0+1"}
    assert told["mode_connectivity"] == -15
    assert told["mode_connectivity_barrier"] == 15
    assert told["mode_connectivity_dip"] == -15
    assert told["mode_connectivity_peak"] == -30
    assert told["mode_connectivity_test_error"] == 2
    assert told["mode_connectivity_test_loss_dip"] == 2
    assert told["mode_connectivity_curve_t0.5"] == 30
    assert told["mode_connectivity_curve_test_t1"] == 2
    assert one(imported, "mode_connectivity", "1+2")["value"] == -2
    assert one(imported, "mode_connectivity_curve_t0.2", "1+2")["value"] == 5
    assert one(imported, "mode_connectivity", "1+2")["source"].endswith("1_2/curve.npz")


def test_a_pair_is_the_mean_of_both_orders(tmp_path):
    layers = {0: {0: [1.0, 1.0], 1: [0.8, 0.4]}, 1: {0: [0.9, 0.6], 1: [1.0, 1.0]}}
    write(
        tmp_path,
        f"{CELL}/metrics/CKA_mixup_alpha_16.0.pkl",
        {"representation_similarity": layers},
    )
    imported = read_reference(tmp_path)
    assert one(imported, "cka", "0+1")["value"] == pytest.approx(0.5, abs=1e-15)
    assert one(imported, "cka_logits", "0+1")["value"] == pytest.approx(0.85, abs=1e-15)


def test_numbers_that_are_none_and_entries_that_are_absent(tmp_path):
    write(
        tmp_path,
        f"{CELL}/metrics/hessian.pkl",
        {
            0: {"top_eigenvalue": [np.float32(2.0)], "trace": np.float64("inf")},
            1: {"top_eigenvalue": [], "trace": np.float64(3.0)},
            2: {"top_eigenvalue": ["many"], "trace": 10**400},
        },
    )
    imported = read_reference(tmp_path)
    tops = [r for r in imported.rows if r["name"] == "hessian_top_eigenvalue"]
    assert [(r["value"], r["status"]) for r in tops] == [
        (2.0, "ok"),
        (None, "missing"),
        (None, "missing"),
    ]
    assert "no number at 2, 'top_eigenvalue', 0" in tops[2]["reason"]
    traces = [r["status"] for r in imported.rows if r["name"] == "hessian_trace"]
    assert traces == ["not_finite", "ok", "not_finite"]


def test_a_damaged_file_costs_only_itself(tmp_path):
    whole = pickle.dumps({0: {"top_eigenvalue": [1.0], "trace": 2.0}})
    npz = io.BytesIO()
    np.savez(npz, **curve((1, 2, 3)))
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0, 60.0))
    write(tmp_path, f"{CELL}/metrics/hessian.pkl", whole[:-4])
    write(tmp_path, f"{CELL}/metrics/model_dist.pkl", b"")
    write(tmp_path, f"{CELL}/metrics/loss_acc_test.pkl", [1, 2])
    file = tmp_path / CELL / "metrics/curve_test.npz"
    file.write_bytes(npz.getvalue()[:300])
    imported = read_reference(tmp_path)
    lost = {r["name"]: r["reason"] for r in imported.rows if r["status"] == "missing"}
    assert one(imported, "train_accuracy", "1")["value"] == 60.0
    assert lost["hessian_trace"].startswith("hessian.pkl is no whole pickle")
    assert lost["l2_distance"].startswith("model_dist.pkl is no whole pickle")
    assert lost["test_loss"] == "loss_acc_test.pkl is no mapping of models"
    assert lost["mode_connectivity"].startswith("curve_test.npz is no whole .npz file")
    assert lost["cka"] == "CKA_mixup_alpha_16.0.pkl is missing"
    assert {p.quantity for p in imported.problems} == set(lost)


def test_a_cell_of_which_nothing_can_be_read_is_left_out_and_named(tmp_path):
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0))
    other = CELL.replace("w4", "w8")
    write(tmp_path, f"{other}/metrics/loss_acc.pkl", b"")
    imported = read_reference(tmp_path)
    assert {row["architecture.width"] for row in imported.rows} == {4}
    (problem,) = (p for p in imported.problems if p.cell == other)
    assert problem.reason == (
        "no file of it can be read (loss_acc.pkl is no whole pickle: pickle exhausted before "
        "seeing STOP): it is left out"
    )


def test_what_is_not_imported_is_counted(tmp_path):
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0))
    write(tmp_path, f"{CELL}/metrics/hessian_test.pkl", {})
    write(tmp_path, f"{CELL}/metrics/hessian.log", b"")
    write(tmp_path, "README.md", b"")
    reasons = [p.reason for p in read_reference(tmp_path).problems if not p.cell]
    assert reasons == [
        "hessian_test.pkl is not imported (1 of them)",
        "README.md: in no cell's folder, not imported",
    ]


def test_a_cell_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path, f"one/{CELL}/metrics/loss_acc.pkl", scores(50.0))
    write(tmp_path, f"two/{CELL}/metrics/loss_acc.pkl", scores(60.0))
    with pytest.raises(RequestError, match="two folders mean the same cell") as caught:
        read_reference(tmp_path)
    assert f"one/{CELL}" in caught.value.where
    assert f"two/{CELL}" in caught.value.where


def test_nothing_to_read_is_said(tmp_path):
    write(tmp_path, "README.md", b"")
    with pytest.raises(RequestError, match="no published results found"):
        read_reference(tmp_path)
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", b"")
    with pytest.raises(RequestError, match="no published results found that can be") as caught:
        read_reference(tmp_path)
    assert "loss_acc.pkl is no whole pickle" in caught.value.where
    with pytest.raises(RequestError, match="there is no archive or folder"):
        read_reference(tmp_path / "nowhere")


def test_progress_counts_files(tmp_path):
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(50.0))
    write(tmp_path, f"{CELL}/metrics/hessian.log", b"")
    seen = []
    read_reference(tmp_path, progress=seen.append)
    assert seen == [1, 2]


def test_a_cell_with_absurdly_many_models_is_not_believed(tmp_path):
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(*[1.0] * 5))
    write(tmp_path, f"{CELL}/metrics/model_dist.pkl", {"model_distance": scores(*[1.0] * 500)})
    imported = read_reference(tmp_path)
    assert "numbered from 0 to at most 31" in one(imported, "l2_distance", "0+1")["reason"]


@pytest.mark.parametrize("limit", [5, 6])
def test_more_numbers_than_the_limit(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("llt_core.analysis.reference.MAX_ROWS", limit)
    write(tmp_path, f"{CELL}/metrics/loss_acc.pkl", scores(1.0, 2.0, 3.0))
    if limit == 6:
        assert read_reference(tmp_path).rows
    else:
        with pytest.raises(RequestError, match="more than 5 numbers"):
            read_reference(tmp_path)
