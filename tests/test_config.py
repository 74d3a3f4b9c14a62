"""Choices of config files, their errors, and tables made of variants."""

from pathlib import Path

import pytest

from sercl_jax import config as config_lib
from sercl_jax import resources, sweep
from sercl_jax.errors import UserError

TABLES = sorted(p.stem for p in (resources.folder("configs") / "tables").glob("*.py"))


def test_choices_take_the_type_of_their_default():
    defaults = {"corpus": "demo", "folds": 10, "tiny": False, "share": 0.5}
    found = config_lib.choices("folds=5,tiny,share=.25", defaults)
    assert found == {"corpus": "demo", "folds": 5, "tiny": True, "share": 0.25}
    assert config_lib.choices(None, defaults) == defaults


@pytest.mark.parametrize(("argument", "words"), [
    ("corpsu=demo", "Did you mean 'corpus'"), ("folds=ten", "folds=ten"), ("corpus", "needs a value"),
    ("corpus=", "needs a value"), ("tiny=perhaps", "true or false")])
def test_wrong_choices_are_named(argument, words):
    with pytest.raises(UserError, match=words):
        config_lib.choices(argument, {"corpus": "demo", "folds": 10, "tiny": False})


def test_split_choices_leaves_the_rest_to_the_base_config():
    own, rest = config_lib.split_choices("corpus=emodb,rows=trained,tiny", {"rows": "all"})
    assert own == {"rows": "trained"}
    assert rest == "corpus=emodb,tiny"


def test_every_config_says_how_to_call_it():
    configs = resources.folder("configs")
    for path in [*configs.glob("*.py"), *configs.glob("tables/*.py")]:
        text = path.read_text(encoding="utf-8").split('"""')[1]
        assert f"--config=configs/{path.relative_to(configs).as_posix()}" in text


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_every_table_changes_knobs_that_exist(name):
    choice = "corpora=emodb+ravdess" if name.startswith("supcon") else "corpus=emodb"
    config = config_lib.base(f"tables/{name}", f"tiny,{choice}")
    made = [sweep.variant(config, config.rows[key]) for key in config.rows]
    run = [c.to_json_best_effort() for c in made if not sweep.is_quoted(c)]
    assert len(set(run)) >= max(len(run) - 2, 1)  # sweeps of several knobs meet at the default
    for key in config.rows:
        for other in config.rows[key].against:
            assert other in {config.rows[k].name for k in config.rows}


@pytest.mark.parametrize("name", TABLES)
def test_every_published_row_is_one_that_the_paper_has(name):
    from sercl_jax import published

    config = config_lib.base(f"tables/{name}", None)
    numbers = getattr(published, config.table.published) if config.table.published else {}
    assert {config.rows[key].paper for key in config.rows} - {""} <= set(numbers)
    if config.table.note:
        assert config.table.note in published.NOTES


def test_config_file_is_found_in_the_package_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = resources.config_file("configs/serugcl.py:corpus=emodb")
    assert found.endswith("serugcl.py:corpus=emodb")
    assert Path(found.split(":")[0]).is_file()
    with pytest.raises(UserError, match=r"configs/serugcl\.py"):
        resources.config_file("configs/serugl.py")
