"""The `export` command: what it writes, what it refuses, and that nothing is left half-written."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
import stored_models

from sercl_jax import export, files, pretrained
from sercl_jax.corpora import registry
from sercl_jax.errors import UserError
from sercl_jax.inference import huggingface_files, licences, loading, model_card, packing, programs
from sercl_jax.inference.bundle import open_bundle
from sercl_jax.inference.card import Card
from sercl_jax.inference.packing import Request
from sercl_jax.inference.pipeline import EMBEDDING, PROBABILITY, Pipeline

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return {kind: stored_models.workdir(folder / kind, kind) for kind in ("serugcl", "probe", "supcon")}


@pytest.fixture(scope="module")
def bundle(workdirs):
    out = workdirs["serugcl"].parent / "bundle"
    assert export.main([f"--workdir={workdirs['serugcl']}", f"--out={out}"]) == 0
    return out


def refused(capsys, *arguments: object) -> str:
    assert export.main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


def test_the_command_shows_progress_and_what_it_wrote(workdirs, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()  # an empty folder may be there
    assert export.main([f"--workdir={workdirs['serugcl']}", f"--out={out}", "--platforms=tpu,cpu,tpu"]) == 0
    printed = capsys.readouterr()
    assert re.search("Lowering for tpu, cpu: .* 1/1", printed.err)
    assert printed.out.startswith(f"{out}: ")
    for name in ("README.md", "bundle.json", "config.json", "programs/", "weights.safetensors"):
        assert re.search(rf"  {re.escape(name)} +[0-9.]+ kB\n", printed.out)
    sheet = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
    assert sheet["platforms"] == ["tpu", "cpu"]
    assert sorted(sheet["files"]) == sorted(path.relative_to(out).as_posix() for path in out.rglob("*")
                                            if path.is_file() and path.name != "bundle.json")
    assert sheet["labels"] == stored_models.LABELS
    assert sheet["programs"]["results"]["20"]["inputs"]["x"] == {"shape": ["b", 20, 76], "dtype": "float32"}
    assert sheet["programs"]["results"]["20"]["outputs"]["probability"] == {"shape": ["b", 3], "dtype": "float32"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(workdirs, bundle, tmp_path):
    again = tmp_path / "bundle"
    export.export(workdirs["serugcl"], again)
    for path in bundle.rglob("*"):
        if path.is_file():
            content = (again / path.relative_to(bundle)).read_bytes()
            assert content == path.read_bytes()
            assert str(tmp_path).encode() not in content
            assert b"/home/" not in content
            assert b"sercl_jax/" not in content  # where in the code an operation comes from


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as leaving:
        export.main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for word in ("python -m sercl_jax.predict --bundle=", "weights.safetensors", "--huggingface", "pickle",
                 "cpu, cuda, tpu"):
        assert word in text


def test_what_cannot_be_exported_is_told(workdirs, bundle, tmp_path, capsys):
    run, out = f"--workdir={workdirs['serugcl']}", f"--out={tmp_path / 'out'}"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    for place in ("full", "full/thesis.txt"):
        assert "not an empty folder" in refused(capsys, run, f"--out={tmp_path / place}")
    assert (tmp_path / "full" / "thesis.txt").read_text(encoding="utf-8") == "mine"
    assert "there is no such folder" in refused(capsys, f"--workdir={tmp_path / 'absent'}", out)
    assert "is a bundle" in refused(capsys, f"--workdir={bundle}", out)
    assert "platforms=['abacus']: choose of cpu, cuda, tpu" in refused(capsys, run, out, "--platforms=cpu,abacus")
    assert "platforms=['']" in refused(capsys, run, out, "--platforms=")
    assert "no frame embeddings" in refused(capsys, run, out, "--frames")
    assert "HuggingFace's format" in refused(capsys, run, out, "--huggingface")
    assert "HuggingFace's format" in refused(capsys, f"--workdir={workdirs['probe']}", out, "--huggingface")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_behind(workdirs, tmp_path, monkeypatch, capsys, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(files, "write_json", fails)
    status = export.main([f"--workdir={workdirs['serugcl']}", f"--out={tmp_path / 'out'}", "--platforms=cpu"])
    assert status == (2 if isinstance(error, OSError) else 130)
    assert ("No space left on device" if status == 2 else "nothing was written") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_speech_encoder_goes_out_in_huggingface_s_format(workdirs, tmp_path):
    pipeline = loading.pipeline_of(workdirs["supcon"])
    pipeline = dataclasses.replace(pipeline, inputs=dataclasses.replace(pipeline.inputs, lengths=(16_000,)))
    packing.write(pipeline, tmp_path / "out", Request(("cpu",), extra=huggingface_files.writer(workdirs["supcon"])))
    module, variables = pretrained.load_encoder(str(tmp_path / "out" / "huggingface"))
    assert module.config.model_type == "wavlm"
    stored = {**pipeline.variables["frozen"], **pipeline.variables["trained"]}
    assert set(variables["params"]) == set(stored)
    np.testing.assert_array_equal(variables["params"]["encoder"]["layer_norm"]["scale"],
                                  stored["encoder"]["layer_norm"]["scale"])
    files_of = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))["files"]
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    assert {f"huggingface/{name}" for name in names} <= set(files_of)
    (tmp_path / "out" / "huggingface" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="truncated or altered"):
        open_bundle(tmp_path / "out")


def test_the_card_tells_results_limits_and_terms(bundle, workdirs, tmp_path):
    text = (bundle / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlibrary_name: sercl_jax\npipeline_tag: audio-classification\n")
    for line in ("Tells the emotion of a recording of speech: angry, neutral, sad.",
                 "| UA (mean of per-class recalls) | 62.5 % | 50.0 % to 75.0 % | 1.0 % |",
                 "| angry | 75.0 % |", "| sad | – |", "| IS10 | UA | −5.0 % (−10.0 % to 2.0 %) |",
                 "Calibration of the probabilities: in these words.", "- Only 4 speakers.",
                 "  - `x` float32[b, 20, 76]", "  - gives `probability` float32[b, 3]",
                 "python -m sercl_jax.predict --bundle=bundle recording.wav"):
        assert f"\n{line}\n" in text
    assert re.search(r"\| training \| RAVDESS \| CC BY-NC-SA 4.0 \| not for commercial use", text)
    assert "name loso; folds 4; training inductive" in text
    assert "Synthetic" not in text
    assert "\n\n\n" not in text


def card(**changes) -> str:
    sheet = {"inputs": {"kind": "waveform"}, "platforms": ["cpu"], "made_with": {"sercl_jax": "1", "jax": "2"},
             "programs": {"results": {"9": {"inputs": {}, "outputs": {}}}}}
    plain = Card("supcon", "classes", ("a|b", "c"), "demo_a", 4, 2.0)
    return model_card.render(dataclasses.replace(plain, **changes), sheet, "name")


def test_cards_of_other_models():
    text = card(kind="ratings", labels=("activation",), facts={
        "synthetic": True, "metrics": {"CCC_avg": {"mean": -0.1234, "std": 0, "ci95": [-0.2, 0.3]}},
        "config": {"corpora": {"demo_a": {"corpus": "demo"}, "mine": {"corpus": "unheard_of"}},
                   "encoder": {"kind": "wavlm-base-plus"}}})
    assert "| CCC, mean | −0.123 | −0.200 to 0.300 | 0.000 |" in text
    assert "**Synthetic data.**" in text
    assert "| training | demo (synthetic) |" in text
    assert "| training | unheard_of | not known here | check the corpus' own terms" in text
    assert "| start | published weights of wavlm-base-plus |" in text
    assert "Calibration" not in text
    text = card(kind="representation", labels=(), method="mine")
    assert "pipeline_tag: feature-extraction" in text
    assert "Nothing was held out" in text
    assert 'model.embed("recording.wav")' in text
    assert "## Cite" not in text
    text = card(facts={"per_class": {"a|b": 1.0}, "metrics": {"UA": {"mean": 1, "std": 0, "ci95": [1, 1]}}})
    assert "| a\\|b | 100.0 % |" in text


def test_terms_are_told_of_every_corpus():
    assert set(licences.LICENCES) == set(registry.names())
    assert [one.name for one in licences.of("emodb+crema_d+emodb")] == [
        "EMO-DB, Berlin Database of Emotional Speech", "CREMA-D"]


def test_folders_are_not_told():
    given = {"a": "/home/me/data/x", "b": ["~/y", "C:\\Users\\me\\z", "s1/s2", "text with /slashes"], "c": 1.5,
             "d": {"e": "/", "f": None}}
    assert packing.without_places(given) == {
        "a": "x", "b": ["y", "z", "s1/s2", "text with /slashes"], "c": 1.5, "d": {"e": "", "f": None}}


def test_weights_have_the_types_that_jax_computes_with():
    names, weights, tree = packing.flatten({"b": {"x": np.arange(3.0)}, "empty": {},
                                            "a": [np.int64(7), np.ones((2, 3), np.float32).T]})
    assert names == ["a/0", "a/1", "b/x"]
    assert [weights[name].dtype.name for name in names] == ["int32", "float32", "float32"]
    assert [weights[name].shape for name in names] == [(), (3, 2), (3,)]
    assert all(array.flags.c_contiguous for array in weights.values())
    assert tree.unflatten(names) == {"b": {"x": "b/x"}, "a": ["a/0", "a/1"], "empty": {}}
    with pytest.raises(ValueError, match="one name"):
        packing.flatten({"a/b": np.ones(1), "a": {"b": np.ones(1)}})


def exportable(apply, **more) -> Pipeline:
    class Lengths:
        lengths, longest = (4,), None

        def describe(self, waveform):
            return {"x": waveform[:4]}

        def batch(self, described, length):
            return {"x": np.stack([one["x"] for one in described]).astype(np.float32)}

        def facts(self):
            return {"kind": "frames", "features": "logmel", "lengths": [4]}

    return Pipeline(Card("mine", "classes", ("a",), "tones", 4, 1.0), Lengths(), apply, {"w": np.ones(4, np.float32)},
                    **more)


def test_models_that_are_no_pure_functions_of_any_batch_are_told(tmp_path):
    def calls_back(variables, batch):
        loud = jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((1,), np.float32), variables["w"][:1])
        return {PROBABILITY: batch["x"][:, :1] + loud, EMBEDDING: batch["x"]}

    def asks(variables, batch):
        return {PROBABILITY: batch["x"][:, :1] if batch["x"].shape[0] > 7 else variables["w"], EMBEDDING: batch["x"]}

    def solves(variables, batch):
        return {PROBABILITY: jax.numpy.linalg.qr(batch["x"].T @ batch["x"])[0], EMBEDDING: batch["x"]}

    for function, message in ((calls_back, "callback"), (asks, "Symbolic dimension"), (solves, "more than compute")):
        with pytest.raises(UserError, match=f"the model cannot be exported|does.*{message}") as refusal:
            packing.write(exportable(function), tmp_path / "out", Request(("cpu",)))
        assert message in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_programs_do_not_depend_on_the_number_of_windows_being_known():
    program, results = programs.lower(lambda weights, batch: {"y": batch["x"].reshape(-1, 2) * weights["w"]},
                                      {"w": np.ones((1, 2), np.float32)}, {"x": (("b", 6), "float32")}, ("cpu",))
    assert results == {"y": (("3*b", 2), "float32")}
    read = programs.read(program, "here", {"w": np.ones((1, 2), np.float32)}, {"x": (("b", 6), "float32")}, results)
    assert read.call({"w": np.full((1, 2), 3, np.float32)}, {"x": np.ones((5, 6), np.float32)})["y"].shape == (15, 2)
