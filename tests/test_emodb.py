"""The whole path on real speech: EMO-DB's own zip to a result. Reported as NOT tested where the zip is absent."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

from sercl_jax import config as config_lib
from sercl_jax import experiment, runs


def test_emodb_from_its_zip_to_a_result(shared_corpora, tmp_path):
    config = config_lib.base("serugcl", "corpus=emodb,protocol=kfold,folds=10,tiny")
    config.data.manual_dir = str(shared_corpora)
    config.data.cache_dir = str(tmp_path / "cache")
    config.eval.update(baseline="no", probes=False, untrained=False, report=False)
    found = experiment.run(config.lock(), tmp_path / "run", quiet=True)
    assert sum(map(sum, found["confusion"])) == 535
    assert found["labels"] == ["angry", "bored", "disgusted", "fearful", "happy", "neutral", "sad"]
    assert found["metrics"]["UA"]["mean"] > 0.45  # chance is 0.14
    assert found["paper"] == {"UA": 0.9104, "WA": 0.9029}
    predictions = runs.load(tmp_path / "run" / "predictions" / "ours" / "seed0-folds0.npz")
    assert predictions is not None
    assert list(predictions.ids) == sorted(predictions.ids)
    # Anyone with scikit-learn and the sorted names can draw the same folds.
    theirs = StratifiedKFold(10, shuffle=True, random_state=0).split(np.zeros(535), predictions.truth)
    for number, (_, test) in enumerate(theirs):
        np.testing.assert_array_equal(np.flatnonzero(predictions.fold == number), test)
