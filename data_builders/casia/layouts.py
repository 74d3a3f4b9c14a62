"""Where CASIA's recordings are in its three known layouts, and what their paths say."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError

# Each speaker under the names of both halves, in lower case.
SPEAKERS = {"liuchanhg": "liuchanhg", "chang.liu": "liuchanhg", "wangzhe": "wangzhe", "zhe.wang": "wangzhe",
            "zhaoquanyin": "zhaoquanyin", "quanyin.zhao": "zhaoquanyin",
            "zhaozuoxiang": "zhaozuoxiang", "zuoxiang.zhao": "zhaozuoxiang"}
GENDERS = {"liuchanhg": "female", "wangzhe": "male", "zhaoquanyin": "female", "zhaozuoxiang": "male"}
EMOTIONS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
PARALLEL, OTHER = "parallel", "other"  # one text in all emotions; texts that fit the emotion
_HALVES = {"相同文本": PARALLEL, "不同文本": OTHER}
_FILE = rf"(?:{'|'.join(EMOTIONS)}|normal)/(?![.]_)[^/]+[.]wav"  # neutral is normal in one half
NESTED = rf"(?i:(?:[^/]+/)?(?:{'|'.join(map(re.escape, SPEAKERS))})/{_FILE})"
FLAT = f"(?i:{_FILE})"
PREFER = ("casia", "CASIA", "Casia")  # how its archives are usually called


@dataclass(frozen=True)
class Recording:
    """What a path says.

    Attributes:
      entry: the file.
      half: `PARALLEL` or `OTHER`; "" if it is not known.
      speaker: under the name of the parallel half; "" if it is not known.
      folder: of the emotion, in lower case.
      stem: the file's name without its ending, in lower case.
    """

    entry: Entry
    half: str
    speaker: str
    folder: str
    stem: str

    @property
    def label(self) -> str:
        return canonical(self.folder)

    @property
    def number(self) -> str:
        """The last in the file's name, which tells the text; "" if there is none."""
        found = re.findall("[0-9]+", self.stem)
        return str(int(found[-1])) if found else ""


def find(place: Path, copies: Path | None, progress: bool) -> list[Entry]:
    """The audio files of CASIA, in whichever layout; raises `UserError` as `entries` does."""
    search = partial(entries, place, what="CASIA", prefer=PREFER, copies=copies, progress=progress)
    try:
        return search(NESTED)
    except UserError as nested:
        # Other corpora have folders of emotions, too, so this comes second.
        try:
            return search(FLAT)
        except UserError:
            raise nested from None


def read(found: Sequence[Entry]) -> list[Recording]:
    """What the paths say, whoever packed them.

    Raises:
      UserError: a recording is there twice.
    """
    recordings: dict[tuple[str, ...], Recording] = {}
    for entry in found:
        one = _recording(entry)
        key = (one.half, one.speaker, one.folder, one.stem)
        if key in recordings:
            raise UserError(f"{entry}: is there twice, also as {recordings[key].entry}; give one copy of CASIA.")
        recordings[key] = one
    return _named(list(recordings.values()))


def _recording(entry: Entry) -> Recording:
    path = entry.path.absolute().as_posix() if entry.member is None else entry.member
    *above, speaker, folder, name = ["", "", *path.split("/")]
    known = SPEAKERS.get(speaker.lower(), "")
    stem = unicodedata.normalize("NFC", name.rpartition(".")[0]).lower()
    if not known:
        return Recording(entry, "", "", folder.lower(), stem)
    # The halves spell the speakers differently, which survives any packing; their folders' names may not.
    half = _half(above[-1]) or (OTHER if "." in speaker else PARALLEL)
    return Recording(entry, half, known, folder.lower(), stem)


def _half(folder: str) -> str:
    """Which half a folder's name means; it may have been unpacked as if it were not Chinese."""
    spellings = [folder]
    for wrong, right in (("cp437", "gbk"), ("cp437", "utf-8"), ("latin-1", "gbk")):
        try:
            spellings.append(folder.encode(wrong).decode(right))
        except UnicodeError:
            continue
    for spelling in spellings:
        for beginning, half in _HALVES.items():
            if unicodedata.normalize("NFKC", spelling).strip().startswith(beginning):
                return half
    return ""


def _named(recordings: list[Recording]) -> list[Recording]:
    """In the flat layout, speakers from the files' names, if all of them name one."""
    if any(one.speaker for one in recordings):
        return recordings
    named = []
    for one in recordings:
        speakers = {known for name, known in SPEAKERS.items() if name in one.stem}
        if len(speakers) != 1:
            return recordings
        named.append(replace(one, speaker=speakers.pop()))
    return named


def layout(recordings: Sequence[Recording], place: Path,
           nested: dict[str, dict[str, int]], flat: Sequence[int]) -> tuple[str, str]:
    """Which of the published layouts this is.

    Args:
      recordings: everything that was found.
      place: for messages.
      nested: name of a layout -> half -> recordings of each speaker and emotion.
      flat: recordings of each emotion in folders of emotions, where the sizes are known.

    Returns:
      Its name, and what should be said of it; mostly nothing.

    Raises:
      UserError: an emotion, a speaker or recordings are missing or too many.
    """
    halves = {one.half for one in recordings}
    if halves == {""}:
        return "flat", _check_flat(recordings, place, flat)
    cells = Counter((one.half, one.speaker, one.label) for one in recordings)
    expected = {name: {(half, speaker, canonical(emotion)): count for half, count in counts.items()
                       for speaker in GENDERS for emotion in EMOTIONS} for name, counts in nested.items()}
    for name, known in expected.items():
        if cells == known:
            return name, ""
    # The layout of these halves that differs in the fewest places tells best what is wrong.
    near = min(expected, key=lambda name: (set(nested[name]) != halves, sum(
        cells[cell] != expected[name].get(cell, 0) for cell in {*cells, *expected[name]})))
    wrong = [f"{' '.join(cell)}: {cells[cell]} instead of {expected[near].get(cell, 0)}"
             for cell in sorted({*cells, *expected[near]}) if cells[cell] != expected[near].get(cell, 0)]
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    sizes = ", ".join(str(sum(counts.values())) for counts in expected.values())
    raise UserError(f"{place}: CASIA's recordings are not those that its users report ({'; '.join(wrong[:3])}{more}"
                    f"); known releases have {sizes} of them. Use one, complete and unchanged.")


def _check_flat(recordings: Sequence[Recording], place: Path, known: Sequence[int]) -> str:
    counts = Counter(one.label for one in recordings)
    told = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
    names = {canonical(emotion) for emotion in EMOTIONS}
    if missing := sorted(names - set(counts)):
        raise UserError(f"{place}: has folders of emotions, but none of the six of CASIA with {', '.join(missing)}; "
                        f"found {told}. Give CASIA complete.")
    total = sum(counts.values())
    if len(set(counts.values())) > 1 and total in {len(names) * count for count in known}:
        raise UserError(f"{place}: has as many files as a release of CASIA ({total}), but not as many of each "
                        f"emotion ({told}); use the release, complete and unchanged.")
    said = [] if set(counts.values()) <= set(known) else [
        f"{place}: has {told}, and releases of CASIA have {', '.join(map(str, known))} of each emotion. Say so when "
        "you report results."]
    if not recordings[0].speaker:
        said.append(f"{place}: CASIA in folders of emotions does not tell its speakers; protocols that need them are "
                    "refused.")
    return "\n".join(said)
