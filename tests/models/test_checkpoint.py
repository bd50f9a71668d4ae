"""What is no model is refused by name, before torch is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import make
from transformers import BlipForConditionalGeneration

from edgecap.core.errors import EdgecapError, InputError, UnsupportedError
from edgecap.models.checkpoint import INDEX, WEIGHTS, open_checkpoint, read_header
from edgecap.models.registry import load


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("blip", "tiny", tmp_path_factory.mktemp("blip"))


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refusal(model: Path | str, kind: type[EdgecapError] = InputError) -> EdgecapError:
    """How opening `model` is refused; in well under half a second."""
    start = time.process_time()
    with pytest.raises(kind) as refused:
        open_checkpoint(model)
    assert time.process_time() - start < 0.2
    return refused.value


def rewrite(model: Path, change: Callable[[dict], object]) -> None:
    file = model / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


def test_a_whole_model_opens(whole: Path) -> None:
    opened = open_checkpoint(str(whole))
    assert (opened.model_type, opened.architecture) == ("blip", "BlipForConditionalGeneration")
    assert opened.weights == (whole / WEIGHTS,)
    assert opened.source == opened.name == whole.name


def test_a_trained_copy_is_not_called_by_its_base(model: Path) -> None:
    rewrite(model, lambda config: config.update(_name_or_path="/home/somebody/base"))
    assert open_checkpoint(str(model)).source == model.name


def test_nothing_heavy_is_imported_to_refuse(model: Path) -> None:
    rewrite(model, lambda config: config.update(model_type="blipp"))
    script = f"""
import sys
from edgecap.core.errors import EdgecapError
from edgecap.models.checkpoint import open_checkpoint
try:
    open_checkpoint({str(model)!r})
except EdgecapError as error:
    print(error)
assert not {{"torch", "transformers", "numpy", "safetensors"}} & set(sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "'blipp' has no adapter; the nearest is blip" in ran.stdout
    assert "docs/adapters.md" in ran.stdout


def test_an_unknown_architecture_of_a_known_family(model: Path) -> None:
    rewrite(model, lambda c: c.update(architectures=["BlipForQuestionAnswering"]))
    error = refusal(model, UnsupportedError)
    assert error.code == "model.architecture"
    assert "BlipForQuestionAnswering" in error.message
    assert "known: BlipForConditionalGeneration" in error.message


def test_code_of_a_checkpoint_is_not_run(model: Path) -> None:
    rewrite(model, lambda c: c.update(auto_map={"AutoModel": "modeling.Mine"}))
    error = refusal(model, UnsupportedError)
    assert error.code == "model.remote_code"
    assert "blip" in error.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "model.json"),
        ("[1]", "model.json"),
        ("\ud800".encode("utf-8", "surrogatepass"), "model.json"),
        ("{}", "model.config"),
        ('{"model_type": 3}', "model.config"),
    ],
)
def test_a_damaged_config(model: Path, text: str | bytes, code: str) -> None:
    (model / "config.json").write_bytes(text.encode() if isinstance(text, str) else text)
    assert refusal(model).code == code


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("config.json", "model.config"),
        ("vocab.txt", "model.tokenizer"),
        ("preprocessor_config.json", "model.processor"),
        (WEIGHTS, "model.weights"),
    ],
)
def test_a_missing_file(model: Path, missing: str, code: str) -> None:
    (model / missing).unlink()
    assert refusal(model).code == code


def test_an_image_processor_inside_the_processor(model: Path) -> None:
    """Where transformers 5 saves it."""
    inner = json.loads((model / "preprocessor_config.json").read_text())
    (model / "preprocessor_config.json").unlink()
    (model / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    assert open_checkpoint(model).model_type == "blip"


def test_a_pickle_is_refused_with_the_line_that_converts_it(model: Path) -> None:
    (model / WEIGHTS).rename(model / "pytorch_model.bin")
    error = refusal(model, UnsupportedError)
    assert error.code == "model.pickle"
    code = error.hint.split('python -c "')[1].rstrip('"')
    compile(code, "hint", "exec")
    assert "BlipForConditionalGeneration" in code
    assert str(model) in code


def test_the_line_that_converts_a_pickle_makes_a_whole_checkpoint(model: Path) -> None:
    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()
    for given in (model, model / "pytorch_model.bin"):
        hint = refusal(given, UnsupportedError).hint
    exec(hint.split('python -c "')[1].rstrip('"'), {})
    assert open_checkpoint(model).weights == (model / WEIGHTS,)


def test_a_pickle_given_as_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    error = refusal(tmp_path / "model.pt", UnsupportedError)
    assert error.code == "model.pickle"
    assert "python -c" not in error.hint and "save_pretrained" in error.hint


@pytest.mark.parametrize(
    ("model_type", "nearest"),
    [("instructblip", "blip"), ("siglip2", "siglip"), ("llava_next_video", "llava_onevision")],
)
def test_an_unknown_family_names_the_nearest(model: Path, model_type: str, nearest: str) -> None:
    rewrite(model, lambda config: config.update(model_type=model_type))
    assert f"the nearest is {nearest}." in refusal(model, UnsupportedError).message


@pytest.mark.parametrize("keep", [0, 4, 20, 3000, -1])
def test_weights_that_end_too_early(model: Path, keep: int) -> None:
    file = model / WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    assert refusal(model).code == "model.corrupt"


def test_weights_with_more_behind_them(model: Path) -> None:
    file = model / WEIGHTS
    file.write_bytes(file.read_bytes() + b"\0")
    assert refusal(model).code == "model.corrupt"


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {"data_offsets": [0]}}', b"{"])
def test_weights_with_a_strange_header(model: Path, header: bytes) -> None:
    (model / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    assert refusal(model).code == "model.corrupt"


def test_a_header_says_what_a_file_holds(whole: Path) -> None:
    header = read_header(whole / WEIGHTS)
    bias = header["text_decoder.cls.predictions.bias"]
    assert (bias["dtype"], bias["shape"]) == ("F32", [97])


@pytest.fixture
def sharded(model: Path) -> Path:
    loaded = BlipForConditionalGeneration.from_pretrained(model)
    (model / WEIGHTS).unlink()
    loaded.save_pretrained(model, max_shard_size="60KB")
    assert (model / INDEX).is_file()
    return model


def test_shards_open_and_load(sharded: Path) -> None:
    opened = open_checkpoint(sharded)
    assert len(opened.weights) > 1
    assert load(opened).interface.dims["V"] == 97


def test_a_parameter_that_the_files_lack_is_not_drawn_at_random(model: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, model / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError, match="holds no vision_model.post_layernorm.weight"):
        load(open_checkpoint(model))


def test_a_config_of_another_size_is_refused(model: Path) -> None:
    rewrite(model, lambda c: c["text_config"].update(intermediate_size=40))
    with pytest.raises(InputError, match="intermediate.dense.* nor [0-9]+ others"):
        load(open_checkpoint(model))


def test_an_image_processor_of_another_size_is_refused(model: Path) -> None:
    file = model / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"height": 32', '"height": 48'))
    with pytest.raises(UnsupportedError, match="makes 48x32 px, and the model takes 32x32"):
        load(open_checkpoint(model))


def test_images_without_colours_are_refused(model: Path) -> None:
    file = model / "preprocessor_config.json"
    value = json.loads(file.read_text()) | {"image_mean": [0.5], "image_std": [0.5]}
    file.write_text(json.dumps(value))
    with pytest.raises(InputError, match="image_mean must have 3 values, got 1"):
        load(open_checkpoint(model))


def test_a_missing_shard_is_named(sharded: Path) -> None:
    shard = open_checkpoint(sharded).weights[1]
    shard.unlink()
    error = refusal(sharded)
    assert error.code == "model.weights"
    assert shard.name in error.message


@pytest.mark.parametrize("table", [[], {"a": 1}, {"a": "../model.safetensors"}])
def test_a_damaged_index(sharded: Path, table: object) -> None:
    (sharded / INDEX).write_text(json.dumps({"weight_map": table}))
    assert refusal(sharded).code == "model.index"


def test_what_is_no_model_at_all(tmp_path: Path) -> None:
    assert refusal(tmp_path).code == "model.config"
    assert refusal(tmp_path / "no such place").code == "model.missing"
    assert refusal(tmp_path / "weights.pt").code == "model.missing"
    (tmp_path / "photo.jpg").write_bytes(b"x")
    assert refusal(tmp_path / "photo.jpg").code == "model.file"


def test_a_directory_has_no_revision(whole: Path) -> None:
    with pytest.raises(InputError, match="only hub ids have one"):
        open_checkpoint(whole, revision="main")


def test_a_hub_id_is_looked_up_in_the_cache_alone(whole: Path, tmp_path: Path) -> None:
    """Files there are links into blobs, as huggingface_hub lays them out."""
    store = tmp_path / "hub" / "models--someone--blip"
    commit = "0" * 40
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text(commit)
    (store / "snapshots" / commit).mkdir(parents=True)
    shutil.copytree(whole, store / "blobs")
    for blob in (store / "blobs").iterdir():
        (store / "snapshots" / commit / blob.name).symlink_to(f"../../blobs/{blob.name}")
    script = """
import sys
from edgecap.core.errors import EdgecapError
from edgecap.models.checkpoint import open_checkpoint
for name in sys.argv[1:]:
    try:
        print(open_checkpoint(name).architecture)
    except EdgecapError as error:
        print(error.code, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, "someone/blip", "someone/else"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")},
    )
    found, missing = ran.stdout.splitlines()
    assert found == "BlipForConditionalGeneration"
    assert missing.startswith("hub.missing")
    assert "edgecap pull someone/else" in missing


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: bsd-3-clause\ntags: [a]\n---\ntext", "bsd-3-clause"),
        ('---\ntags: [a]\nlicense: "mit"\n---\n', "mit"),
        ("# BLIP\nlicense: mit", "unknown"),
        ("---\ntags: [a]\n---\nlicense: mit", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_license_is_that_of_the_model_card(model: Path, card: str | None, license: str) -> None:
    if card is not None:
        (model / "README.md").write_text(card)
    assert open_checkpoint(model).license == license


def test_a_config_without_architectures_is_of_the_familys_class(model: Path) -> None:
    rewrite(model, lambda config: config.pop("architectures"))
    opened = open_checkpoint(model)
    assert opened.architecture == "BlipForConditionalGeneration"
    assert load(opened).interface.dims["V"] == 97


@pytest.mark.parametrize("name", [WEIGHTS, "vocab.txt"])
def test_a_clone_without_git_lfs_is_told_to_pull(name: str, model: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    (model / name).write_text(pointer)
    error = refusal(model)
    assert error.code == "model.pointer"
    assert name in error.message and error.hint.endswith(f"git -C {model} lfs pull")


def test_an_adapter_of_peft_is_no_model(model: Path) -> None:
    (model / "config.json").unlink()
    (model / WEIGHTS).rename(model / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "base_model_name_or_path": "someone/blip"}
    (model / "adapter_config.json").write_text(json.dumps(settings))
    error = refusal(model, UnsupportedError)
    assert error.code == "model.adapter"
    assert "someone/blip" in error.message and "merge_and_unload" in error.hint


def test_a_directory_of_a_trainers_checkpoints_names_the_newest(model: Path) -> None:
    for age, step in enumerate((1000, 500)):
        inner = Path(shutil.copytree(model, model.parent / "run" / f"checkpoint-{step}"))
        os.utime(inner, (1e9 - age, 1e9 - age))
    error = refusal(model.parent / "run")
    assert error.code == "model.config"
    assert error.hint.endswith("checkpoint-1000")


def test_a_trainers_own_files_are_left_alone(model: Path) -> None:
    """Pickles beside safetensors are neither read nor refused."""
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        (model / name).write_bytes(b"PK")
    assert open_checkpoint(model).weights == (model / WEIGHTS,)


def test_rounded_weights_are_refused(model: Path) -> None:
    rounded = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    rewrite(model, lambda config: config.update(quantization_config=rounded))
    error = refusal(model, UnsupportedError)
    assert error.code == "model.quantised" and "bitsandbytes" in error.message


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_weights_saved_inside_a_wrapper_say_so(prefix: str, model: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    renamed = {prefix + name: tensor for name, tensor in tensors.items()}
    save_file(renamed, model / WEIGHTS, metadata={"format": "pt"})
    error = refusal(model)
    assert error.code == "model.wrapped" and repr(prefix) in error.message


@pytest.mark.parametrize("pickled", [False, True])
def test_a_repository_of_pickles_alone_is_converted_into_a_directory(
    pickled: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not into the hub's cache, whose files are links; pull leaves its pickle out."""
    tensors = load_file(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    snapshot = Path(
        shutil.copytree(model, tmp_path / "models--someone--blip" / "snapshots" / ("0" * 40))
    )
    if pickled:
        (snapshot / "pytorch_model.bin").write_bytes(b"PK")
    error = refusal(snapshot, UnsupportedError)
    assert error.code == ("model.pickle" if pickled else "model.weights")
    code = error.hint.split('python -c "')[1].rstrip('"')

    monkeypatch.chdir(tmp_path)  # "someone/blip", as if transformers fetched it
    there = Path(shutil.copytree(model, tmp_path / "someone" / "blip"))
    torch.save(tensors, there / "pytorch_model.bin")
    exec(code, {})
    assert open_checkpoint(tmp_path / "blip").weights == (tmp_path / "blip" / WEIGHTS,)
