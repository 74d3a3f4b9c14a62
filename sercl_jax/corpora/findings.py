"""What is worth telling of a corpus before anyone trains on it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sercl_jax.corpora.copies import several
from sercl_jax.corpora.scan import Scan
from sercl_jax.types import SAMPLE_RATE, Utterance

# An utterance is near-empty below this level, or with so large a share of samples that are 0.
QUIET = -65.0  # dB of full scale, root mean square
EMPTY = 0.9
LEVEL_OFFSET = 0.01  # share of full scale
SILENCE = 0.1  # seconds of digital silence at the ends
FEW = 10  # utterances of a class; the default number of folds
RATINGS = ("activation", "valence", "dominance")
# What may not differ between copies of the same samples.
_TOLD = ("label", "speaker", "split", "fold", *RATINGS)

Row = tuple[Utterance, Scan]


@dataclass(frozen=True)
class Finding:
    """One thing to know, in a sentence.

    Attributes:
      kind: its name, for programs.
      text: the sentence.
      serious: a problem, not just a note.
      where: the utterances or reasons it is about, the worst first.
    """

    kind: str
    text: str
    serious: bool = False
    where: tuple[str, ...] = ()


def find(utterances: Sequence[Utterance], scans: Sequence[Scan],
         rating_scale: tuple[float, float] | None = None) -> list[Finding]:
    """Everything worth telling, problems first.

    Args:
      utterances: U of them.
      scans: what their audio is like.
      rating_scale: lowest and highest rating, if known.
    """
    rows = [(utterance, scan) for utterance, scan in zip(utterances, scans, strict=True) if not scan.error]
    found = [_unusable(utterances, scans), *_duplicates(rows), _near_empty(rows), _ratings(utterances, rating_scale),
             _clipped(rows), _offset(rows), _silence(rows), *_rates(rows), *_labels(utterances)]
    return sorted(filter(None, found), key=lambda finding: not finding.serious)


def _unusable(utterances: Sequence[Utterance], scans: Sequence[Scan]) -> Finding | None:
    reasons = tuple(scan.error for scan in scans if scan.error)
    return Finding("unusable", f"{len(reasons)} of {len(utterances)} utterances cannot be used; "
                   "--config.data.on_error=skip leaves them out.", True, reasons) if reasons else None


def _duplicates(rows: Sequence[Row]) -> list[Finding | None]:
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, scan in rows:
        groups[scan.digest].append(utterance)
    copied = [group for group in groups.values() if len(group) > 1]
    # repr, because an unknown rating (NaN) equals itself.
    differing = [group for group in copied if len({repr([getattr(u, name) for name in _TOLD]) for u in group}) > 1]
    same = [group for group in copied if group not in differing]

    def told(group: Sequence[Utterance]) -> str:
        parts = [f"{u.id} ({', '.join(filter(None, [u.label or 'unlabelled', u.speaker, u.split]))})" for u in group]
        return " = ".join(parts)

    found: list[Finding | None] = []
    if differing:
        found.append(Finding("contradicting duplicates", f"{several(len(differing))}, with "
                             "the same samples but other labels, speakers or partitions: correct the labels, or "
                             "remove the copies.", True, tuple(map(told, differing))))
    if same:
        found.append(Finding("duplicates", f"{several(len(same))}, with the same samples: "
                             "random folds would test on what they trained on. Remove the copies.", False,
                             tuple(map(told, same))))
    return found


def _near_empty(rows: Sequence[Row]) -> Finding | None:
    empty = [(u, s) for u, s in rows if s.level < QUIET or s.zeros > EMPTY]
    return _listed("near-empty", empty, lambda s: s.level, lambda s: f"{s.level:.0f} dB, {s.zeros:.0%} of samples 0",
                   f"utterances are nearly empty (below {QUIET:.0f} dB of full scale, or over {EMPTY:.0%} digital "
                   "silence).", True)


def _clipped(rows: Sequence[Row]) -> Finding | None:
    cut = [(u, s) for u, s in rows if s.clipped]
    return _listed("clipped", cut, lambda s: -s.clipped, lambda s: f"{s.clipped} samples",
                   "utterances are clipped (runs of equal samples at full scale).")


def _offset(rows: Sequence[Row]) -> Finding | None:
    shifted = [(u, s) for u, s in rows if abs(s.offset) > LEVEL_OFFSET]
    return _listed("offset", shifted, lambda s: -abs(s.offset), lambda s: f"{s.offset:+.1%}",
                   f"utterances have a constant offset of more than {LEVEL_OFFSET:.0%} of full scale.")


def _silence(rows: Sequence[Row]) -> Finding | None:
    ends = [(u, s) for u, s in rows if s.leading + s.trailing >= SILENCE]
    total = sum(s.leading + s.trailing for _, s in ends)
    return _listed("digital silence", ends, lambda s: -s.leading - s.trailing,
                   lambda s: f"{s.leading:.2f} s before, {s.trailing:.2f} s after",
                   f"utterances begin or end with {SILENCE:g} s or more of digital silence, {total:.0f} s in all; "
                   "--config.data.trim=True leaves it out.")


def _rates(rows: Sequence[Row]) -> list[Finding | None]:
    rates = Counter(s.rate for _, s in rows if s.rate)
    found: list[Finding | None] = []
    if len(rates) > 1:
        found.append(Finding("sampling rates", "Sampling rates differ (" + ", ".join(
            f"{rate} Hz: {count}" for rate, count in sorted(rates.items())) + "); if they go along with classes or "
            "speakers, a model can tell these by them."))
    if low := sum(count for rate, count in rates.items() if rate < SAMPLE_RATE):
        found.append(Finding("low rates", f"{low} utterances have a sampling rate below {SAMPLE_RATE} Hz: resampling "
                             "does not bring back what is missing."))
    return found


def _ratings(utterances: Sequence[Utterance], scale: tuple[float, float] | None) -> Finding | None:
    if scale is None:
        return None
    outside = tuple(f"{u.id}: {name} {getattr(u, name):g}" for u in utterances for name in RATINGS
                    if getattr(u, name) < scale[0] or getattr(u, name) > scale[1])
    return Finding("ratings", f"{len(outside)} ratings are outside the scale, {scale[0]:g} to {scale[1]:g}.", True,
                   outside) if outside else None


def _labels(utterances: Sequence[Utterance]) -> list[Finding | None]:
    classes = Counter(u.label for u in utterances)
    unlabelled = classes.pop("", 0)
    unknown = sum(not u.speaker for u in utterances)
    found: list[Finding | None] = []
    if classes and unlabelled:
        found.append(Finding("unlabelled", f"{unlabelled} of {len(utterances)} utterances have no label, and are "
                             "neither trained on as examples of a class nor tested."))
    if small := [f"{label}: {count}" for label, count in classes.items() if count < FEW]:
        found.append(Finding("small classes", f"{len(small)} classes have fewer than {FEW} utterances: too few for "
                             f"{FEW} folds. Merge classes or leave some out with --config.data.labels.", False,
                             tuple(small)))
    if unknown:
        found.append(Finding("speakers", f"The speaker of {unknown} of {len(utterances)} utterances is unknown: "
                             "speaker-independent protocols need every one."))
    return found


def _listed(kind: str, rows: Sequence[Row], order: Callable[[Scan], float], words: Callable[[Scan], str], text: str,
            serious: bool = False) -> Finding | None:
    if not rows:
        return None
    worst = sorted(rows, key=lambda row: order(row[1]))
    return Finding(kind, f"{len(rows)} {text}", serious, tuple(f"{u.id}: {words(s)}" for u, s in worst))
