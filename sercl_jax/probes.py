"""What else embeddings know: who speaks, and how many labels they need."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedKFold

from sercl_jax.classify import FIXED, SvmSettings, fit_svm
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Embeddings, class_numbers, fold_embeddings
from sercl_jax.metrics import confusion, ua, wa
from sercl_jax.splits import Fold

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

SHARES = (0.01, 0.05, 0.1, 0.5, 1.0)


def speaker_probe(embeddings: np.ndarray, utterances: "Sequence[Utterance]", *, folds: int = 5, seed: int = 0,
                  settings: SvmSettings = FIXED, most: int = 50) -> dict[str, Any]:
    """How well a linear SVM names the speaker: what an embedding keeps of the person rather than of the emotion.

    Folds are disjoint in sentences where every sentence is known and there are at least two, else stratified by
    speaker. Speakers with fewer utterances than folds are left out, and all but the `most` with most utterances.

    Embeddings normalised by speaker score below chance, near 0: each speaker's rows sum to zero, so those left for
    training lean away from those held out.

    Args:
      embeddings: [U, D], the same for every fold.

    Returns:
      {"UA", "WA" (fractions), "chance" (UA of guessing, 1 / speakers), "speakers", "n" (utterances), "protocol":
      "sentence" or "stratified"}.

    Raises:
      UserError: fewer than two speakers have enough utterances.
    """
    counts = Counter(u.speaker for u in utterances if u.speaker)
    enough = sorted((s for s, n in counts.items() if n >= folds), key=lambda s: (-counts[s], s))[:most]
    if len(enough) < 2:
        raise UserError(f"speaker probe: {len(enough)} speakers have {folds} utterances or more; two are needed.")
    number = {name: k for k, name in enumerate(sorted(enough))}
    rows = np.array(sorted((u for u in range(len(utterances)) if utterances[u].speaker in number),
                           key=lambda u: utterances[u].id))
    x = fold_embeddings(embeddings, Fold("", rows, rows), len(utterances))[rows]
    y = np.array([number[utterances[u].speaker] for u in rows])
    sentences = [utterances[u].sentence for u in rows]
    by_sentence = all(sentences) and len(set(sentences)) > 1
    splitter = (GroupKFold(min(folds, len(set(sentences))), shuffle=True, random_state=seed) if by_sentence else
                StratifiedKFold(folds, shuffle=True, random_state=seed))
    predicted = np.zeros_like(y)
    for train, test in splitter.split(x, y, sentences if by_sentence else None):
        predicted[test] = fit_svm(x[train], y[train], None, settings).predict(x[test])
    matrix = confusion(y, predicted, len(number))
    return {"UA": float(ua(matrix)), "WA": float(wa(matrix)), "chance": 1 / len(number), "speakers": len(number),
            "n": len(rows), "protocol": "sentence" if by_sentence else "stratified"}


def label_efficiency(embeddings: Embeddings, utterances: "Sequence[Utterance]", labels: tuple[str, ...],
                     folds: Sequence[Fold], *, shares: Sequence[float] = SHARES, seeds: Sequence[int] = (0, 1, 2),
                     settings: SvmSettings = FIXED) -> list[dict[str, Any]]:
    """UA and WA when only a share of each training part is labelled.

    Labels are drawn per class, at least one each, from the training part only; the draws of a seed are nested, so
    that a larger share adds labels to the smaller one's. Rows are standardised over the whole training part,
    whose audio is there, labelled or not.

    Args:
      embeddings: as for `evaluate.evaluate`.
      shares: in (0, 1].
      seeds: of the draws.

    Returns:
      For each share {"share", "n" (mean number of labels per fold), "UA": {"mean", "std"}, "WA": {"mean", "std"}}
      over seeds, of pooled predictions.
    """
    if not all(0 < share <= 1 for share in shares):
        raise UserError(f"label efficiency: shares {tuple(shares)} must be above 0 and at most 1.")
    truth = class_numbers(utterances, labels)
    predicted = np.full((len(shares), len(seeds), len(utterances)), -1)
    used = np.zeros((len(shares), len(seeds), len(folds)))
    for f, fold in enumerate(folds):
        x = fold_embeddings(embeddings, fold, len(utterances))
        for s, seed in enumerate(seeds):
            for h, share in enumerate(shares):
                rows = draw_labelled(truth, fold.train, share, np.random.default_rng((seed, f)))
                machine = fit_svm(x[rows], truth[rows], None, settings, statistics=x[fold.train])
                predicted[h, s, fold.test] = machine.predict(x[fold.test])
                used[h, s, f] = len(rows)
    result = []
    for h, share in enumerate(shares):
        matrices = np.stack([confusion(truth[row >= 0], row[row >= 0], len(labels)) for row in predicted[h]])
        result.append({"share": float(share), "n": float(used[h].mean()),
                       **{name: {"mean": float(values.mean()), "std": float(values.std())}
                          for name, values in (("UA", ua(matrices)), ("WA", wa(matrices)))}})
    return result


def draw_labelled(truth: np.ndarray, train: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The rows of `train` that keep their label: round(share n) of each class with n rows, at least one."""
    kept = []
    for k in np.unique(truth[train]):
        rows = rng.permutation(train[truth[train] == k])
        kept.append(rows[:max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(kept))
