"""How recordings are cut, what windows of frames become again, and which arrays are recordings."""

import itertools
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.inference import inputs, recording, windows
from sercl_jax.inference.windows import GRID, Span, spans

RATE = 16000


@pytest.mark.parametrize(("seconds", "window", "overlap", "expected"), [
    (2, 4, 0.5, [(0, 2)]), (4, 4, 0.5, [(0, 4)]), (6, 4, 0.5, [(0, 6)]),
    (6.02, 4, 0.5, [(0, 4), (2, 6), (2.02, 6.02)]), (8, 4, 0.5, [(0, 4), (2, 6), (4, 8)]),
    (9, 4, 0.5, [(0, 4), (2, 6), (4, 8), (5, 9)]),
    (12, 4, 0, [(0, 4), (4, 8), (8, 12)]), (13, 4, 0, [(0, 4), (4, 8), (8, 12), (9, 13)]),
    (8, 4, 0.75, [(0, 4), (1, 5), (2, 6), (3, 7), (4, 8)])])
def test_windows_follow_the_closed_form(seconds, window, overlap, expected):
    found = spans(round(seconds * RATE), window, overlap)
    assert [(start / RATE, end / RATE) for start, end in found] == expected


@given(samples=st.integers(1, 200_000), window=st.floats(0.1, 8), overlap=st.floats(0, 0.95),
       longest=st.one_of(st.none(), st.integers(128_000, 480_000)))
def test_windows_cover_everything_and_stay_within(samples, window, overlap, longest):
    found = spans(samples, window, overlap, longest)
    assert (found[0].start, found[-1].end) == (0, samples)
    for one, after in itertools.pairwise(found):
        assert one.start < after.start <= one.end <= after.end
    length = round(window * RATE / GRID) * GRID
    most = max(length + GRID, 1.5 * length) if longest is None else longest
    assert all(0 < end - start <= most for start, end in found)
    assert all(start % GRID == 0 for start, _ in found)
    if len(found) > 1:
        assert len({end - start for start, end in found[:-1]}) == 1


@pytest.mark.parametrize(("window", "overlap", "named"), [
    (0.0, 0.5, "window=0"), (float("nan"), 0.5, "window=nan"), (2.0, 1.0, "overlap=1"), (2.0, -0.1, "overlap=-0.1"),
    (31.0, 0.5, "at most 30 s")])
def test_windows_out_of_range_are_refused(window, overlap, named):
    with pytest.raises(UserError, match=named):
        spans(RATE, window, overlap, 30 * RATE)


@pytest.mark.parametrize(("seconds", "expected"), [([1.0] * 9, 2), ([3.2] * 99 + [60], 4), ([30.0], 15)])
def test_the_usual_window_holds_most_utterances(seconds, expected):
    assert windows.usual_seconds(seconds) == expected


@given(total=st.integers(1, 60), window=st.integers(4, 20), hop=st.integers(2, 4))
def test_stitched_frames_are_those_of_the_whole(total, window, hop):
    """Where windows say the same of a frame, nothing is lost, doubled or moved."""
    frames = np.arange(2 * total).reshape(total, 2)
    starts = [*range(0, max(total - window, 0), hop), max(total - window, 0)]
    cut = [Span(160 * start, 160 * min(start + window, total)) for start in starts]
    parts = [frames[span.start // 160:span.end // 160] for span in cut]
    np.testing.assert_array_equal(windows.stitch(parts, cut, total, 160), frames)


def test_stitched_frames_come_from_the_middle_of_their_window():
    cut = [Span(0, 1600), Span(960, 2560)]  # 10 frames each, of which 4 are shared
    made = windows.stitch([np.zeros((10, 1)), np.ones((10, 1))], cut, 16, 160)
    np.testing.assert_array_equal(made[:, 0], [0] * 8 + [1] * 8)


def test_stitched_frames_bridge_silence_that_was_left_out():
    cut = [Span(0, 640), Span(1600, 2240)]
    made = windows.stitch([np.arange(4)[:, None], 10 + np.arange(4)[:, None]], cut, 14, 160)
    np.testing.assert_array_equal(made[:, 0], [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 10, 11, 12, 13])


def _tone(rate, seconds=0.5):
    return 0.3 * np.sin(2 * np.pi * 200 * np.arange(round(rate * seconds)) / rate)


def test_samples_of_any_type_are_the_same_recording():
    pcm = np.rint(_tone(RATE) * 32768).astype(np.int16)
    for samples in (pcm, pcm.astype(np.int32) << 16, pcm / 32768, (pcm / 32768).astype(np.float32),
                    np.stack([pcm, pcm], 1)):
        np.testing.assert_array_equal(recording.read(samples).waveform, pcm)
    assert recording.read(pcm).name == "recording"


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_sampling_rates_are_resampled_as_files_are(rate, tmp_path):
    samples = np.rint(_tone(rate) * 32768).astype(np.int16)
    soundfile.write(tmp_path / "tone.wav", samples, rate)
    by_file = recording.read(tmp_path / "tone.wav")
    np.testing.assert_array_equal(recording.read(samples, rate).waveform, by_file.waveform)
    assert by_file.name == str(tmp_path / "tone.wav")
    np.testing.assert_allclose(by_file.waveform[800:-800] / 32768, _tone(RATE)[800:-800], atol=1e-3)


@pytest.mark.parametrize(("samples", "rate", "named"), [
    (np.zeros(RATE), None, "digital silence"), (_tone(RATE)[:100], None, "ms"), (np.zeros(0), None, "0.0 ms"),
    (np.where(np.arange(RATE) == 5, np.nan, _tone(RATE, 1.0)), None, "1 samples are NaN"),
    (_tone(RATE) * 1000, None, "times full scale"), (_tone(RATE)[None], None, "transpose"),
    (_tone(RATE).reshape(2, 2, -1), None, "shape"), (np.ones(RATE, np.uint8), None, "uint8"),
    (_tone(RATE) > 0, None, "bool"), (_tone(RATE), 0, "sampling_rate=0"), (_tone(RATE), 1e6, "sampling_rate=1000000"),
    (5.0, None, "float is neither"), (None, None, "NoneType is neither")])
def test_what_is_no_recording_is_named(samples, rate, named):
    with pytest.raises(UserError, match=named) as caught:
        recording.read(samples, rate, "mine")
    assert str(caught.value).startswith("mine: ")
    assert "on_error" not in str(caught.value)


def test_files_that_are_no_recordings_are_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    for path in (tmp_path / "a.wav", str(tmp_path / "none.wav")):
        with pytest.raises(UserError, match=str(path)):
            recording.read(path)


@pytest.mark.parametrize("made", [
    inputs.NodeInputs("is10_librosa+logmel", 40, functionals=True, speaker=116),
    inputs.FrameInputs("logmel", (100, 200)), inputs.WaveformInputs((1600, 3200), speaker=3, speaker_embedding=5)])
def test_inputs_come_back_from_their_facts(made):
    assert inputs.from_facts(json.loads(json.dumps(made.facts()))) == made
    with pytest.raises(UserError, match="not known to this version"):
        inputs.from_facts({**made.facts(), "colour": 1})


@pytest.mark.parametrize("made", [inputs.NodeInputs("logmel", 20, functionals=True, speaker=40),
                                  inputs.FrameInputs("logmel", (50, 100)), inputs.WaveformInputs((8000, 16000))])
def test_a_batch_is_its_rows_padded(made):
    waveforms = [np.rint(_tone(RATE, seconds) * 32768).astype(np.int16) for seconds in (0.2, 0.5, 0.31)]
    described = [made.describe(waveform) for waveform in waveforms]
    length = made.lengths[0]
    assert all(made.size(one) <= length for one in described)
    batch = made.batch(described, length)
    for row, one in enumerate(described):
        alone = made.batch([one], length)
        assert batch.keys() == alone.keys()
        for name, values in batch.items():
            np.testing.assert_array_equal(values[row], alone[name][0], err_msg=name)
    if "mask" in batch:
        assert batch["mask"].sum(1).tolist() == [made.size(one) for one in described]
        assert not batch["x"][~batch["mask"]].any()
