"""Bundles that are not whole, or not what they should be: refused before anything of them is used."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import safetensors.numpy
from jax import export
from stored_models import LENGTH, batch_of, short, workdir

from sercl_jax.errors import UserError
from sercl_jax.inference import bundle, loading, packing
from sercl_jax.inference.bundle import open_bundle
from sercl_jax.inference.packing import Request
from sercl_jax.inference.pipeline import PROBABILITY

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    packing.write(short(loading.pipeline_of(workdir(folder / "run", "probe"))), folder / "bundle",
                  Request(frames=True))
    return folder / "bundle"


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def program_of(path: Path) -> Path:
    return path / "programs" / f"results-{LENGTH}.stablehlo"


def rewrite(path: Path, change) -> None:
    """Changes bundle.json as one would who wants it to be believed: its checksums fit."""
    sheet = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    change(sheet)
    sheet["sha256"] = bundle.signature(sheet)
    (path / "bundle.json").write_text(json.dumps(sheet), encoding="utf-8")


def replace(path: Path, name: str, content: bytes) -> None:
    """Puts another file in the place of one, with its checksum."""
    (path / name).write_bytes(content)
    rewrite(path, lambda sheet: sheet["files"][name].update(bytes=len(content), sha256=bundle.sum_of(path / name)))


def replace_program(path: Path, content: bytes) -> None:
    replace(path, f"programs/{program_of(path).name}", content)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors", "config.json", "README.md",
                                  f"programs/results-{LENGTH}.stablehlo", f"programs/frames-{LENGTH}.stablehlo"])
def test_every_file_must_be_whole_and_as_it_was(copy, name):
    whole = (copy / name).read_bytes()
    middle = len(whole) // 2
    other = bytes([whole[middle] ^ 1])
    for content in (whole[:-7], whole[:middle] + other + whole[middle + 1:], b"", whole + b" \n{}"):
        (copy / name).write_bytes(content)
        with pytest.raises(UserError, match=Path(name).name.replace(".", "[.]")):
            open_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match="is missing"):
        open_bundle(copy)
    (copy / name).write_bytes(whole)
    open_bundle(copy)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "programs/../../outside", "programs\\x", "C:/x", "",
                                  ".", "programs//x", "./config.json", "a\x00b"])
def test_no_file_is_outside(copy, name):
    (copy.parent / "outside").write_bytes(b"secret")
    rewrite(copy, lambda sheet: sheet["files"].update({name: {"bytes": 6, "sha256": "0" * 64}}))
    with pytest.raises(UserError, match="not inside the bundle"):
        open_bundle(copy)


def test_a_program_s_name_must_be_among_the_checked_ones(copy):
    shutil.copy(program_of(copy), copy.parent / "outside")
    rewrite(copy, lambda sheet: sheet["programs"]["results"][str(LENGTH)].update(file="../outside"))
    with pytest.raises(UserError, match="facts cannot be read"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "programs"])
def test_links_are_refused(copy, name):
    (copy / name).rename(copy.parent / "aside")
    (copy / name).symlink_to(copy.parent / "aside")
    with pytest.raises(UserError, match="is a link"):
        open_bundle(copy)


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.update(version=2), "format version 2, and this sercl_jax reads 1; install a newer"),
    (lambda s: s.update(version="1"), "format version '1'"),
    (lambda s: s.update(version=True), "format version True"),
    (lambda s: s.update(format="other"), "is none of a bundle"),
    (lambda s: s["inputs"].update(kind="pickle"), "not known to this version"),
    (lambda s: s["inputs"].update(command="rm"), "not known to this version"),
    (lambda s: s["card"].update(kind="oracle"), "not those of its card"),
    (lambda s: s["card"].update(strange=1), "facts cannot be read"),
    (lambda s: s.update(batch_size=0), "not those of its card"),
    (lambda s: s.update(batch_size="many"), "facts cannot be read"),
    (lambda s: s["programs"].pop("frames"), "not those of its card"),
    (lambda s: s["programs"].update(results={"7": s["programs"]["results"][str(LENGTH)]}), "not those of its card"),
    (lambda s: s["card"]["labels"].append("calm"), "not those of its card"),
    (lambda s: s["card"].update(labels=[1, 2, 3]), "not those of its card"),
    (lambda s: s["card"].update(seconds="2"), "facts cannot be read"),
    (lambda s: s["files"].pop("weights.safetensors"), "not those of its card"),
    (lambda s: s["files"].update({"config.json": "no"}), "no checksum of config.json"),
    (lambda s: s.update(files=[]), "lists no files"),
    (lambda s: s.update(programs=[]), "facts cannot be read"),
])
def test_facts_that_do_not_fit_are_refused(copy, change, message):
    rewrite(copy, change)
    with pytest.raises(UserError, match=message):
        open_bundle(copy)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": "sercl_jax bundle"}', "\udcff"])
def test_a_sheet_that_is_none_is_refused(copy, text):
    (copy / "bundle.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"bundle\.json"):
        open_bundle(copy)


def test_a_folder_without_a_sheet_is_no_bundle(tmp_path):
    with pytest.raises(UserError, match="is no bundle"):
        open_bundle(tmp_path)


def test_weights_that_are_none_are_refused(copy):
    replace(copy, "weights.safetensors", b"\x80\x04\x95pickled")
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        open_bundle(copy)


def said(path: Path):
    opened = open_bundle(path)
    return opened.run(batch_of(opened, 1), [PROBABILITY])


def other_program(function, path: Path, platforms=("cpu",), **options) -> bytes:
    """A function of the arguments that the program of a bundle has."""
    theirs = export.deserialize(bytearray(program_of(path).read_bytes()))
    arguments = jax.tree.unflatten(theirs.in_tree, theirs.in_avals)[0]
    return bytes(export.export(jax.jit(function), platforms=platforms, **options)(*arguments).serialize())


@pytest.mark.parametrize("content", [b"", b"no program", b"\x00" * 200])
def test_bytes_that_are_no_program_are_refused(copy, content):
    replace_program(copy, content)
    with pytest.raises(UserError, match="cannot read the program"):
        said(copy)


def test_a_damaged_program_with_a_fitting_checksum_is_refused(copy):
    whole = program_of(copy).read_bytes()
    place = whole.index(b"StableHLO_v")
    replace_program(copy, whole[:place + 40] + b"\xff" * 60 + whole[place + 100:])
    with pytest.raises(UserError, match="program"):
        said(copy)


def test_a_program_that_calls_something_is_never_run(copy):
    name = "xla_ffi_python_cpu_callback"

    def calls(weights, batch):
        loud = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct((1,), jnp.float32), has_side_effect=True)(
            batch["samples"].astype(jnp.float32)[:1])
        return {name: values + loud[0] for name, values in whole(weights, batch).items()}

    whole = export.deserialize(bytearray(program_of(copy).read_bytes())).call
    replace_program(copy, other_program(calls, copy, disabled_checks=[export.DisabledSafetyCheck.custom_call(name)]))
    with pytest.raises(UserError, match=f"more than compute on its arguments.*{name}"):
        said(copy)


def test_weights_that_the_program_does_not_take_are_refused(copy):
    weights = safetensors.numpy.load_file(copy / "weights.safetensors")
    weights["calibration/bias"] = weights["calibration/bias"][:-1]
    replace(copy, "weights.safetensors", safetensors.numpy.save(weights))
    with pytest.raises(UserError, match="other arrays"):
        said(copy)


def test_a_program_that_gives_other_arrays_is_refused(copy):
    replace_program(copy, other_program(lambda weights, batch: {PROBABILITY: batch["samples"]}, copy))
    with pytest.raises(UserError, match="gives other arrays"):
        said(copy)


def test_a_program_for_another_platform_is_refused(copy):
    whole = export.deserialize(bytearray(program_of(copy).read_bytes())).call
    replace_program(copy, other_program(lambda *given: whole(*given), copy, ("cuda", "tpu")))
    with pytest.raises(UserError, match="exported for cuda, tpu, and this machine computes on cpu"):
        said(copy)


def test_a_program_that_changes_after_it_was_checked_is_refused(copy):
    opened = open_bundle(copy)
    program_of(copy).write_bytes(program_of(copy).read_bytes() + b" ")
    with pytest.raises(UserError, match="altered since"):
        opened.run(batch_of(opened, 1), [PROBABILITY])
