"""Decoding: exact where it can be, and one clear error for everything that cannot be used."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import audio
from sercl_jax.errors import UserError


def encoded(samples, rate=16_000, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return buffer.getvalue()


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def noise(size: int = 8000) -> np.ndarray:
    return np.random.default_rng(0).integers(-32768, 32768, size).astype(np.int16)


@pytest.mark.parametrize("options", [{}, {"format": "FLAC"}, {"format": "AIFF"}])
def test_16_bit_mono_at_16_khz_is_bit_exact(options):
    np.testing.assert_array_equal(audio.decode(encoded(noise(), **options)), noise())


@given(st.lists(st.integers(-32768, 32767), min_size=400, max_size=500).filter(lambda x: len(set(x)) > 1))
@settings(max_examples=20, deadline=None)
def test_any_16_bit_samples_are_bit_exact(values):
    samples = np.array(values, np.int16)
    np.testing.assert_array_equal(audio.decode(encoded(samples)), samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate):
    decoded = audio.decode(encoded(tone(rate), rate)) / 32768
    expected = tone(16_000)
    assert abs(len(decoded) - len(expected)) <= 1
    inside = slice(500, 7500)  # the resampling filter rings at the ends
    np.testing.assert_allclose(decoded[inside], expected[inside], atol=2e-3)


def test_channels_are_averaged():
    left, right = noise(), np.roll(noise(), 1)
    decoded = audio.decode(encoded(np.stack([left, right], axis=1)))
    np.testing.assert_array_equal(decoded, np.rint((left.astype(float) + right) / 2))


def test_24_bit_and_float_files():
    expected = np.rint(tone(16_000) * 32768)
    for subtype in ("PCM_24", "FLOAT", "DOUBLE"):
        np.testing.assert_allclose(audio.decode(encoded(tone(16_000), subtype=subtype)), expected, atol=1)


def test_ogg():
    decoded = audio.decode(encoded(tone(16_000), format="OGG", subtype="VORBIS")) / 32768
    assert np.corrcoef(decoded[500:7500], tone(16_000)[500:7500])[0, 1] > 0.99


def test_float_beyond_full_scale_is_clipped_not_wrapped():
    decoded = audio.decode(encoded(8 * tone(16_000), subtype="FLOAT"))
    reference = np.clip(np.rint(8 * tone(16_000) * 32768), -32768, 32767)
    np.testing.assert_allclose(decoded, reference, atol=1)


def test_segments():
    data = encoded(noise(16_000))
    np.testing.assert_array_equal(audio.decode(data, start=0.25, end=0.5), noise(16_000)[4000:8000])
    np.testing.assert_array_equal(audio.decode(data, start=0.25), noise(16_000)[4000:])
    # Annotations are rounded: a little past the end is the end.
    np.testing.assert_array_equal(audio.decode(data, start=0.5, end=1.03), noise(16_000)[8000:])


@pytest.mark.parametrize(("start", "end"), [(1.0, None), (2.0, 3.0), (0.5, 1.2)])
def test_segments_outside_the_file_are_refused(start, end):
    with pytest.raises(UserError, match=r"a\.wav: the segment .* outside the file, which lasts 1\.000 s"):
        audio.decode(encoded(noise(16_000)), name="a.wav", start=start, end=end)


def with_nan() -> bytes:
    samples = tone(16_000)
    samples[5] = np.nan
    return encoded(samples, subtype="FLOAT")


def with_inf() -> bytes:
    samples = tone(16_000)
    samples[5:7] = np.inf
    return encoded(samples, subtype="FLOAT")


@pytest.mark.parametrize(("data", "complaint"), [
    (b"", "is empty"),
    (b"this is text, not sound" * 100, "is not audio"),
    (encoded(noise())[:5000], "is truncated"),
    (encoded(noise())[:30], "is not audio"),
    (encoded(noise(40_000), format="FLAC")[:30_000], "is truncated|damaged"),
    (encoded(noise(40_000), format="OGG", subtype="VORBIS")[:9_000], "is truncated"),
    (encoded(np.zeros(0, np.int16)), "lasts 0.0 ms"),
    (encoded(noise(399)), "lasts 24.9 ms"),
    (encoded(np.zeros(8000, np.int16)), "digital silence"),
    (encoded(np.full(8000, 7, np.int16)), "digital silence"),
    (with_nan(), "1 samples are NaN or infinite"),
    (with_inf(), "2 samples are NaN or infinite"),
])
def test_unusable_audio_is_named(tmp_path, data, complaint):
    path = tmp_path / "bad.wav"
    path.write_bytes(data)
    with pytest.raises(UserError, match=complaint) as error:
        audio.decode(path)
    assert str(path) in str(error.value)
    assert "on_error=skip" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.wav: cannot be read \(No such file"):
        audio.decode(tmp_path / "none.wav")


def test_a_piped_wav_of_unknown_length_is_whole():
    data = bytearray(encoded(noise()))
    position = data.index(b"data") + 4
    data[position:position + 4] = b"\xff\xff\xff\xff"
    np.testing.assert_array_equal(audio.decode(bytes(data)), noise())
