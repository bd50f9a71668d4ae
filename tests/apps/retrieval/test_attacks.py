"""An index is read strictly: what is damaged, lies or belongs elsewhere is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refusal
from reseal import reseal
from tiny_onnx import image

from edgecap.apps.retrieval import build, open_index, store, update
from edgecap.apps.retrieval.manifest import MANIFEST
from edgecap.core.errors import BundleError, InputError
from edgecap.runtime import Captioner


def files(root: Path) -> list[Path]:
    return sorted(file for file in root.iterdir() if file.name != MANIFEST)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damage_to_a_file_goes_unseen(made: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(files(made)))
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole + b"\0", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]]
        )
    )
    try:
        file.write_bytes(damaged)
        assert refusal(lambda: open_index(made)).startswith("index.")
    finally:
        file.write_bytes(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_manifest_is_refused_or_reads_as_another_one(
    made: Path, data: st.DataObject
) -> None:
    """Its own words are not hashed; whatever they are, nothing but a BundleError comes of it."""
    file = made / MANIFEST
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 2))
    cut = data.draw(st.booleans())
    with_byte = whole[:at] + data.draw(st.binary(min_size=1, max_size=1)) + whole[at + 1 :]
    try:
        file.write_bytes(whole[:at] if cut else with_byte)
        try:
            open_index(made)
        except BundleError as error:
            assert error.code.startswith("index.")
        else:
            assert not cut
    finally:
        file.write_bytes(whole)


def change(made: Path, **fields: object) -> None:
    told = json.loads((made / MANIFEST).read_bytes())
    (made / MANIFEST).write_text(json.dumps({**told, **fields}))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"schema": 1}, "index.schema"),
        ({"schema": 3}, "index.schema"),
        ({"surprise": 1}, "index.unknown_field"),
        ({"embedding": "4"}, "index.field_type"),
        ({"embedding": 8}, "index.manifest"),
        ({"folder": "relative"}, "index.manifest"),
        ({"segments": []}, "index.manifest"),
        ({"files": {"../x": {"sha256": "0" * 64, "size": 1}}}, "index.path"),
        ({"next_key": 1}, "index.entries"),
        ({"graph": {"file": "graph-1.usearch", "before": 7, "rows": 7}}, "index.manifest"),
    ],
)
def test_a_manifest_that_lies(made: Path, fields: dict[str, object], code: str) -> None:
    change(made, **fields)
    assert refusal(lambda: open_index(made)) == code


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("path", "../../etc/passwd", "index.path"),
        ("path", "/etc/passwd", "index.path"),
        ("path", "", "index.path"),
        ("path", 7, "index.entries"),
        ("key", -1, "index.entries"),
        ("key", 1, "index.entries"),
        ("key", True, "index.entries"),
        ("surprise", 1, "index.entries"),
    ],
)
def test_an_entry_that_lies(made: Path, field: str, value: object, code: str) -> None:
    """Sealed anew, so that only the content is wrong."""
    reseal(made, lambda rows: rows[0].update({field: value}))
    assert refusal(lambda: open_index(made)) == code


def test_what_is_no_index(made: Path, folder: Path, tmp_path: Path) -> None:
    assert refusal(lambda: open_index(tmp_path / "absent")) == "index.missing"
    assert refusal(lambda: open_index(folder / "0.png")) == "index.missing"
    assert refusal(lambda: open_index(folder)) == "index.foreign"
    for name in ("entries", "vectors"):
        file = next(made.glob(f"{name}-*"))
        aside = file.rename(tmp_path / "aside")
        assert refusal(lambda: open_index(made)) == "index.missing_file"
        file.symlink_to(aside)
        assert refusal(lambda: open_index(made)) == "index.missing_file"
        file.unlink()
        aside.rename(file)
    open_index(made)


def test_a_refresh_while_it_is_read(
    made: Path, folder: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of before is read; then its files go, and it names others."""
    before, rest = store.read_manifest(made), store.read_manifest
    (folder / "new.png").write_bytes(image(9, 40, 30))
    update(folder, made, captioner, "tiny")
    assert store.read_manifest(made) != before
    answers = iter([before])
    monkeypatch.setattr(store, "read_manifest", lambda root: next(answers, None) or rest(root))
    assert len(open_index(made)) == 8


def test_a_graph_of_another_index_is_refused(
    tmp_path: Path, captioner: Captioner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", 3)
    out = tmp_path / "index"
    update(folder, out, captioner, "tiny")
    query = captioner.embed_texts(["a dog"])[0]
    assert len(open_index(out).search(query, 3)) == 3
    file = next(out.glob("graph-*"))
    for wrong in (b"no graph", build.graph.build(np.arange(2), np.eye(2, 4, dtype=np.float32))):
        file.write_bytes(wrong)
        told = json.loads((out / MANIFEST).read_bytes())
        change(out, files={**told["files"], file.name: store._entry_of(file).__dict__})
        assert refusal(lambda: open_index(out).search(query, 3)) == "index.graph"


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_numbers_of_hits(made: Path, k: int) -> None:
    assert refusal(lambda: open_index(made).search(np.ones(4, np.float32), k)) == "search.number"


def test_a_damaged_index_is_made_anew_in_its_place(
    folder: Path, made: Path, captioner: Captioner
) -> None:
    (made / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="json") as caught:
        update(folder, made, captioner, "tiny")
    assert "--overwrite" in caught.value.hint
    for file in folder.glob("*.png"):
        file.write_bytes(b"no image")
    shutil.rmtree(folder / "deep")
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    with pytest.raises(InputError, match="could be read"):
        update(folder, made, captioner, "tiny", overwrite=True)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    for i in range(3):
        (folder / f"{i}.png").write_bytes(image(i, 64, 30))
    assert update(folder, made, captioner, "tiny", overwrite=True).embedded == 3
    assert len(open_index(made)) == 3
    assert len(list(made.iterdir())) == 3  # nothing of the old one
    with pytest.raises(InputError, match="not an index"):
        update(folder, folder, captioner, "tiny", overwrite=True)
