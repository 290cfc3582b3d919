"""What a wrong manifest is told: the file, the table, the key, and what was expected."""

import pytest

from llt_core.plugins.errors import ManifestError
from llt_core.plugins.manifest import Entry, check_entries, parse_entries, read_manifest

GOOD = 'kind = "metric"\ntarget = "a.b:C"\nsummary = "a number"\n'


def parse(path, text):
    path.write_text(text, encoding="utf-8")
    return parse_entries(read_manifest(path), package="p", version="1", source=str(path))


def test_everything_declared_is_kept(tmp_path):
    (entry,) = parse(
        tmp_path / "registry.toml",
        f"[x-1]\n{GOOD}"
        'cost = "much"\npaper = "A 1999"\nsince = "0.1"\nmember = "m"\n'
        'needs = { extra = "ray", gpu = true, download = "3 MB" }\n',
    )
    assert entry == Entry(
        name="x-1",
        kind="metric",
        target="a.b:C",
        summary="a number",
        package="p",
        package_version="1",
        cost="much",
        needs={"extra": "ray", "gpu": True, "download": "3 MB"},
        paper="A 1999",
        since="0.1",
        member="m",
        source=str(tmp_path / "registry.toml"),
    )
    assert entry.qualified == "p/x-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = \n", ["line 1"]),
        ("x = 1\n", ["table [x]", "'x' is not a table"]),
        (f"[x]\n{GOOD}colour = 1\nage = 2\n", ["table [x]", "age, colour", "only kind, target"]),
        ('[x]\ntarget = "a:B"\nsummary = "s"\n', ["table [x]", "'kind' is missing"]),
        ('[x]\nkind = "metric"\nsummary = "s"\n', ["table [x]", "'target' is missing"]),
        ('[x]\nkind = "metric"\ntarget = "a:B"\n', ["table [x]", "'summary' is missing"]),
        (f"[x]\n{GOOD}cost = 3\n", ["table [x]", "'cost' is not a text"]),
        ('[x]\nkind = ["metric"]\ntarget = "a:B"\nsummary = "s"\n', ["'kind' is not a text"]),
        (f"[x]\n{GOOD}".replace("metric", "metrik"), ["'metrik'", "task, architecture"]),
        (f"[x]\n{GOOD}".replace("a.b:C", "a.b.C"), ["'a.b.C' names no class", "module:Class"]),
        (f"[x]\n{GOOD}".replace("a.b:C", "a:B:C"), ["names no class"]),
        (f"[x]\n{GOOD}".replace("a.b:C", ":C"), ["names no class"]),
        (f'["a/b"]\n{GOOD}', ["'a/b' cannot be typed"]),
        (f'["a:b"]\n{GOOD}', ["'a:b' cannot be typed"]),
        (f'[""]\n{GOOD}', ["'' cannot be typed"]),
        (f'[x]\n{GOOD}needs = "scipy"\n', ["table [x]", "'needs' is not a table"]),
        (f"[x]\n{GOOD}needs = {{ day = 2020-01-01 }}\n", ["'needs' is not a table of plain"]),
    ],
)
def test_a_wrong_manifest_is_told_where(tmp_path, text, words):
    with pytest.raises(ManifestError) as caught:
        parse(tmp_path / "registry.toml", text)
    for word in (str(tmp_path / "registry.toml"), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "registry.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError, match="cannot read the manifest") as caught:
        read_manifest(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"name": "x"}], "is not a registration"),
        ([Entry("x", "metrik", "a:B", "s")], "unknown kind 'metrik'"),
        ([Entry("x", "metric", "a.B", "s")], "names no class"),
        ([Entry("x y", "metric", "a:B", "s")], "cannot be typed"),
        ([Entry("x", "metric", "a:B", "s", needs="much")], "'needs' is not a table"),
        ([Entry("x", "metric", "a:B", "s")] * 2, "registered twice"),
    ],
)
def test_registrations_in_python_keep_the_same_rules(entries, words):
    with pytest.raises(ManifestError, match=words):
        check_entries(entries, package="p", version="1", source="p.hooks")


def test_registrations_in_python_belong_to_their_package():
    claimed = Entry("x", "metric", "a:B", "s", package="llt", package_version="9", cost="1")
    (entry,) = check_entries([claimed], package="p", version="1", source="p.hooks")
    assert (entry.qualified, entry.package_version, entry.source) == ("p/x", "1", "p.hooks")
    assert entry.cost == "1"
