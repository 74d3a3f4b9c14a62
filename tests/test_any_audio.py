"""Whatever libsndfile reads: a tone keeps its frequency and its level, and what ends too early is never taken."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import audio, containers
from sercl_jax.errors import UserError

TONE = 997.0  # Hz; prime, so that quantisation is noise
AMPLITUDE = 0.4
# Sampling rates that a format can have; MP3 and Opus have fixed lists.
RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)
MP3 = tuple(rate for rate in RATES if rate <= 48_000)
OPUS = (8_000, 12_000, 16_000, 24_000, 48_000)
# Format, subtype, rates, how far the level may be off (dB), and how far below the tone all else must be (dB).
ENCODINGS = [
    ("WAV", "PCM_U8", RATES, 0.05, 40), ("WAV", "PCM_16", RATES, 0.02, 80), ("WAV", "PCM_24", RATES, 0.02, 80),
    ("WAV", "PCM_32", RATES, 0.02, 80), ("WAV", "FLOAT", RATES, 0.02, 80), ("WAV", "DOUBLE", RATES, 0.02, 80),
    ("WAV", "ULAW", RATES, 0.1, 30), ("WAV", "ALAW", RATES, 0.1, 30), ("WAVEX", "PCM_24", RATES, 0.02, 80),
    ("RF64", "PCM_16", RATES, 0.02, 80), ("W64", "PCM_16", RATES, 0.02, 80), ("AIFF", "PCM_16", RATES, 0.02, 80),
    ("CAF", "PCM_16", RATES, 0.02, 80), ("AU", "PCM_16", RATES, 0.02, 80), ("NIST", "PCM_16", RATES, 0.02, 80),
    ("FLAC", "PCM_S8", RATES, 0.05, 40), ("FLAC", "PCM_16", RATES, 0.02, 80), ("FLAC", "PCM_24", RATES, 0.02, 80),
    ("OGG", "VORBIS", RATES, 0.5, 20), ("OGG", "OPUS", OPUS, 0.5, 12), ("MP3", "MPEG_LAYER_III", MP3, 0.5, 20)]


def encoded(samples: np.ndarray, rate: int = 16_000, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return buffer.getvalue()


def tone(rate: int, frequency: float = TONE, seconds: float = 1.0) -> np.ndarray:
    return AMPLITUDE * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def noise(size: int, channels: int = 1) -> np.ndarray:
    values = np.random.default_rng(size).integers(-32768, 32768, (size, channels)).astype(np.int16)
    return values[:, 0] if channels == 1 else values


def fitted(decoded: np.ndarray) -> tuple[float, float, float]:
    """Frequency of the strongest partial (Hz), the tone's amplitude, and how far below it the rest is (dB)."""
    inside = decoded[2000:14_000] / 32768  # codecs and filters begin and end softly
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside)), 1 << 18))
    frequency = np.argmax(spectrum) * 16_000 / (1 << 18)
    time = np.arange(len(inside)) / 16_000
    basis = np.stack([np.sin(2 * np.pi * TONE * time), np.cos(2 * np.pi * TONE * time)], axis=1)
    weights = np.linalg.lstsq(basis, inside, rcond=None)[0]
    rest = inside - basis @ weights
    return frequency, np.hypot(*weights), 20 * np.log10(np.std(basis @ weights) / max(np.std(rest), 1e-9))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "subtype", "rates", "off", "below"), ENCODINGS,
                         ids=[f"{container}-{subtype}" for container, subtype, *_ in ENCODINGS])
def test_a_tone_survives(container, subtype, rates, off, below, channels):
    for rate in rates:
        samples = tone(rate) if channels == 1 else np.stack([tone(rate), tone(rate)], axis=1)
        decoded = audio.decode(encoded(samples, rate, format=container, subtype=subtype))
        frequency, amplitude, clean = fitted(decoded)
        assert abs(frequency - TONE) < 0.2, rate
        assert abs(20 * np.log10(amplitude / AMPLITUDE)) < off, rate
        assert clean > below, rate
        assert abs(len(decoded) - 16_000) <= 1, rate


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_what_16_khz_cannot_hold_vanishes(rate):
    decoded = audio.decode(encoded(tone(rate) + tone(rate, 11_000.0), rate, subtype="FLOAT"))
    assert fitted(decoded)[2] > 80  # it would be heard at 5 kHz


@pytest.mark.parametrize(("left", "right", "expected"), [(1, 1, 1.0), (1, 0, 0.5), (1, -0.5, 0.25)])
def test_stereo_is_averaged(left, right, expected):
    stereo = np.stack([left * tone(44_100), right * tone(44_100)], axis=1)
    assert fitted(audio.decode(encoded(stereo, 44_100)))[1] == pytest.approx(expected * AMPLITUDE, rel=2e-3)


def test_several_blocks_are_one_recording():
    samples = noise((1 << 18) + 4321, channels=3)
    decoded = audio.decode(encoded(samples, format="FLAC"))
    np.testing.assert_array_equal(decoded, np.rint(samples.astype(float).mean(axis=1)))
    np.testing.assert_array_equal(audio.decode(encoded(samples[:, 0]), start=16.3, end=16.5),
                                  samples[round(16.3 * 16_000):round(16.5 * 16_000), 0])


def test_facts_of_a_recording():
    blocks = []
    samples = noise((1 << 18) + 99, channels=2)
    recording = audio.read(encoded(samples, 22_050, subtype="PCM_24"), observe=blocks.append)
    assert (recording.rate, recording.channels, recording.encoding) == (22_050, 2, "WAV PCM_24")
    np.testing.assert_array_equal(np.concatenate(blocks) * 32768, samples)
    np.testing.assert_allclose(recording.samples, np.concatenate(blocks).mean(axis=1))


def flac(total: bytes, first: int = 0) -> bytes:
    """A FLAC file of 20,000 samples whose header says something else."""
    data = bytearray(encoded(noise(20_000), format="FLAC"))
    data[21] = data[21] & 0xF0 | first
    data[22:26] = total
    return bytes(data)


def test_flac_of_unknown_length():
    np.testing.assert_array_equal(audio.decode(flac(bytes(4))), noise(20_000))
    np.testing.assert_array_equal(audio.decode(flac(bytes(4)), start=0.5, end=1.0), noise(20_000)[8000:16_000])
    with pytest.raises(UserError, match="truncated"):
        audio.decode(flac(bytes(4)), start=0.5, end=3.0)


def test_a_length_that_no_memory_could_hold():
    with pytest.raises(UserError, match="20000 of 68719476735 samples can be read"):
        audio.decode(flac(b"\xff" * 4, 0x0F))


def second_frame(mp3: bytes) -> int:
    """Where it begins: version, layer and sampling rate are those of the first."""
    return next(i for i in range(4, len(mp3)) if mp3[i:i + 2] == mp3[:2] and mp3[i + 2] & 0x0C == mp3[2] & 0x0C)


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)])
def test_mp3_with_a_tag_or_without_a_header_of_its_own(tag):
    whole = encoded(tone(16_000), format="MP3", subtype="MPEG_LAYER_III")
    bare = whole[second_frame(whole):]
    assert b"Xing" in whole
    assert b"Xing" not in bare
    for data in (whole, bare):
        frequency, amplitude, clean = fitted(audio.decode(tag + data))
        assert abs(frequency - TONE) < 0.2
        assert abs(20 * np.log10(amplitude / AMPLITUDE)) < 0.5
        assert clean > 20


def test_chunks_before_and_behind_the_samples():
    data = encoded(noise(8000))
    odd = struct.pack("<4sI", b"LIST", 5) + b"INFOx\0"
    padded = data[:36] + odd + data[36:] + odd
    np.testing.assert_array_equal(audio.decode(padded), noise(8000))
    np.testing.assert_array_equal(audio.decode(padded[:-3]), noise(8000))  # only what is said about them lacks
    with pytest.raises(UserError, match="promises 16000 bytes of samples, 15999 are there"):
        audio.decode(padded[:-len(odd) - 1])


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize(("container", "subtype"), [
    (container, subtype) for container, subtype, *_ in ENCODINGS])
def test_what_ends_too_early_is_never_taken(container, subtype, kept):
    data = encoded(np.tile(noise(16_000), 3), format=container, subtype=subtype)
    with pytest.raises(UserError, match=r"truncated|damaged"):
        audio.decode(data[:int(kept * len(data)) - 1])


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_sizes_that_programs_write_to_pipes(size):
    data = encoded(noise(8000))
    place = data.index(b"data") + 4
    piped = data[:4] + struct.pack("<I", size) + data[8:place] + struct.pack("<I", size) + data[place + 4:]
    np.testing.assert_array_equal(audio.decode(piped), noise(8000))


@pytest.mark.parametrize("data", [b"", b"R", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RF64", b"riff", b"FORM", b".snd",
                                  b"caff", b"OggS", b"NIST_1A\n   1024\n", b"fLaC", b"ID3", b"\xff\xfb", b"text"])
def test_beginnings_of_files(data):
    file = io.BytesIO(data)
    assert isinstance(containers.lacking(file), str)
    assert file.tell() == 0
    with pytest.raises(UserError):
        audio.decode(data, name="a.wav")


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_one_wrong_byte_where_there_are_checksums(container, subtype):
    data = encoded(np.tile(noise(16_000), 3), format=container, subtype=subtype)
    decoded = audio.decode(data)
    for place in np.random.default_rng(0).integers(len(data), size=40):
        wrong = bytearray(data)
        wrong[place] ^= 0xFF
        try:
            found = audio.decode(bytes(wrong))
        except UserError:
            continue
        np.testing.assert_array_equal(found, decoded)  # the byte was in a comment


@pytest.mark.parametrize(("container", "subtype"), [
    (container, subtype) for container, subtype, *_ in ENCODINGS])
@given(data=st.data())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_damaged_bytes_give_samples_or_a_user_error(container, subtype, data):
    content = bytearray(encoded(noise(3000), format=container, subtype=subtype))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(content), data.draw(st.sampled_from([60, 120, len(content)]))) - 1))
        removed = data.draw(st.integers(0, 8))
        content[place:place + removed] = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from(
            [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 3 + b"\x7f", b"OggS", b"data", b"ds64"])))
    try:
        decoded = audio.decode(bytes(content), name="a.wav")
    except UserError:
        return
    assert decoded.dtype == np.int16
    assert decoded.ndim == 1
    assert len(decoded) >= 400


@pytest.mark.parametrize("rate", [1, 3_999, 768_001])
def test_sampling_rates_that_are_damage(rate):
    data = bytearray(encoded(noise(40_000)))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(UserError, match=rf"a\.wav: has a sampling rate of {rate} Hz"):
        audio.decode(bytes(data), name="a.wav")


def test_messages_are_the_same_every_time():
    def message() -> str:
        with pytest.raises(UserError) as error:
            audio.decode(b"not sound at all", name="a.wav")
        return str(error.value)
    assert message() == message()
    assert "0x" not in message()
