"""The page of the server in a real browser, with a real model behind it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser.chromium import browser
from tests.inference_runs import config_of, run
from tests.small_corpus import write

pytestmark = pytest.mark.usefixtures("quick_compilation")
RATE = 16_000
PHONE, DESK = (390, 800), (1100, 1000)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write(folder / "corpus")
    speech = np.concatenate([soundfile.read(path, dtype="int16")[0]
                             for path in sorted((folder / "corpus").glob("ann_*.wav"))])
    soundfile.write(folder / "long.wav", speech, RATE)
    soundfile.write(folder / "long.flac", speech, RATE)
    soundfile.write(folder / "long.aiff", speech, RATE)  # which this browser does not play
    soundfile.write(folder / "silent.wav", np.zeros(RATE, np.int16), RATE)
    (folder / "notes.txt").write_text("dear diary\n" * 99)
    (folder / "<img src=x onerror=alert(1)>.wav").write_bytes((folder / "long.wav").read_bytes())
    return folder


@pytest.fixture(scope="module")
def url(place):
    """A server of its own process, with a model that was trained for it."""
    knobs = {"train.epochs": 1, "eval.rbf_c": (), "eval.linear_c": (0.1,)}
    workdir = run(config_of(place / "corpus", "protocol=loso", **knobs), place / "run")
    process = subprocess.Popen([sys.executable, "-m", "sercl_jax.serve", f"--workdir={workdir}", "--port=0",
                                "--max_seconds=30", "--max_mb=1"], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "XLA_FLAGS": "", "SERCL_CACHE": str(place / "cache")})
    with process:
        ready = process.stdout.readline()
        assert ready.startswith("Ready"), ready
        yield ready.split()[4]
        process.terminate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def chromium(place, tmp_path_factory):
    with browser(place / "long.wav", tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(chromium, url):
    """The page as it first comes; afterwards it must have met no error and asked nobody else."""
    chromium.prefer("light")
    chromium.resize(*DESK, mobile=False)
    chromium.open(url)
    yield chromium
    assert chromium.console() == []
    assert chromium.hosts() == {url.removeprefix("http://")}


def painted(page) -> int:
    """How many points of the waveform are not blank."""
    return page.run("""
        const canvas = document.getElementById('waveform');
        const points = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return points.filter((value, i) => i % 4 === 3 && value > 0).length;""")


def values(page) -> dict[str, float]:
    return page.run("""
        const told = [...document.querySelectorAll('#overall .value')];
        return Object.fromEntries(told.map((one) => [one.dataset.name, Number(one.dataset.value)]));""")


def columns(page) -> list[str]:
    """The classes of the windows, in the order of time."""
    return page.run("return [...document.querySelectorAll('#timeline g')].map((one) => one.dataset.label);")


def test_a_file_shows_its_waveform_its_windows_and_its_probabilities(page, place):
    page.choose(place / "long.wav")
    page.answered()
    assert painted(page) > 1000
    told = values(page)
    assert set(told) == {"angry", "neutral", "sad"}
    assert sum(told.values()) == pytest.approx(1, abs=1e-5)
    label = max(told, key=lambda name: told[name])
    assert page.text("verdict").startswith(f"{label}, ")
    assert page.text("source").startswith("long.wav: 4.05 s, ")
    assert len(columns(page)) == page.run("return document.querySelectorAll('#table tbody tr').length") >= 2
    heights = page.run("""
        return [...document.querySelectorAll('#timeline g')].map((column) => [...column.querySelectorAll('rect')]
            .reduce((sum, part) => sum + part.height.baseVal.value, 0));""")
    np.testing.assert_allclose(heights, 100, atol=0.01)
    wide = page.run("return [...document.querySelectorAll('#overall .bar span')].map((bar) => "
                    "bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width);")
    np.testing.assert_allclose(wide, sorted(told.values(), reverse=True), atol=0.01)
    page.until("document.getElementById('player').duration > 4")


def test_other_windows_are_asked_for(page, place):
    page.choose(place / "long.flac")
    page.answered()
    before = len(columns(page))
    page.run("const window_ = document.getElementById('window'); window_.value = '1';"
             "window_.dispatchEvent(new Event('change'));")
    page.until(f"document.querySelectorAll('#timeline g').length > {before}")
    assert len(columns(page)) == 8  # of a second, every half second, and the last at the end


def test_a_file_is_dropped(page, place):
    page.run("""
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(arguments[0])], 'dropped.wav'));
        document.getElementById('drop').dispatchEvent(
            new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: transfer}));""",
             list((place / "corpus" / "ann_s1_sad.wav").read_bytes()))
    page.answered()
    assert page.text("source") == "dropped.wav: 0.4 s, 1 window"
    assert sum(values(page).values()) == pytest.approx(1, abs=1e-5)


def test_the_microphone_is_recorded(page):
    page.click("record")
    page.until("/Stop \\([2-9]|Stop \\(1\\d/.test(document.getElementById('record-words').textContent)")
    assert page.run("return document.getElementById('record').getAttribute('aria-pressed')") == "true"
    page.click("record")
    page.answered()
    assert page.text("source").startswith("recording.wav: ")
    assert page.text("record-words") == "Record"
    assert painted(page) > 1000
    assert sum(values(page).values()) == pytest.approx(1, abs=1e-5)
    # It heard the tones of the file, not silence.
    assert page.run("return document.getElementById('player').duration") > 1


@pytest.mark.parametrize(("name", "words"), [("notes.txt", "notes.txt: is not audio"),
                                             ("silent.wav", "silent.wav: holds digital silence")])
def test_a_bad_file_is_told_and_the_next_one_works(page, place, name, words):
    page.choose(place / name)
    assert words in page.complained()
    assert page.run("return document.getElementById('result').hidden")
    page.choose(place / "long.wav")
    page.answered()
    assert page.run("return document.getElementById('error').hidden")


def test_a_file_that_is_too_large_is_not_sent(page, place):
    large = place / "large.wav"
    soundfile.write(large, np.zeros(40 * RATE, np.int16), RATE)
    page.choose(large)
    assert "large.wav is larger than 1 MB" in page.complained()


def test_what_only_the_server_reads_has_no_waveform(page, place):
    page.choose(place / "long.aiff")
    page.answered()
    assert page.run("return document.getElementById('waveform').hidden")
    assert "no waveform" in page.text("undrawn")
    assert columns(page)


def test_what_only_the_browser_reads_is_sent_as_wav(page):
    """WebM, as browsers record it, which libsndfile does not know."""
    page.run("""
        const context = new AudioContext();
        const tone = context.createOscillator();
        const sink = context.createMediaStreamDestination();
        tone.connect(sink);
        tone.start();
        const recorder = new MediaRecorder(sink.stream, {mimeType: 'audio/webm'});
        recorder.ondataavailable = ({data}) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([data], 'tone.webm', {type: 'audio/webm'}));
            const input = document.getElementById('file');
            input.files = transfer.files;
            input.dispatchEvent(new Event('change'));
        };
        recorder.start();
        context.resume().then(() => setTimeout(() => { recorder.stop(); context.close(); }, 1500));""")
    page.answered()
    assert page.text("source").startswith("tone.webm: ")
    assert painted(page) > 1000


def test_names_of_files_are_text(page, place):
    page.choose(place / "<img src=x onerror=alert(1)>.wav")
    page.answered()
    assert page.text("source").startswith("<img src=x onerror=alert(1)>.wav: ")
    assert page.run("return document.querySelectorAll('img').length") == 0


def test_light_and_dark_can_be_read(page, place):
    page.choose(place / "long.wav")
    page.answered()
    found = {}
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        page.until(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        found[scheme] = page.run("""
            const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
            const color = (id, what) => numbers(getComputedStyle(document.getElementById(id))[what]);
            const canvas = document.getElementById('waveform');
            const points = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const first = points.findIndex((value, i) => i % 4 === 3 && value === 255) - 3;
            const page = numbers(getComputedStyle(document.body).backgroundColor);
            return {page, ink: color('verdict', 'color'), muted: color('source', 'color'),
                    button: color('record', 'color'), behind: color('record', 'backgroundColor'),
                    wave: [...points.slice(first, first + 3)]};""")
    assert luminance(found["light"]["page"]) > 0.9 > 0.05 > luminance(found["dark"]["page"])
    for colors in found.values():
        assert contrast(colors["ink"], colors["page"]) > 7
        assert contrast(colors["muted"], colors["page"]) > 4.5
        assert contrast(colors["button"], colors["behind"]) > 4.5
        assert contrast(colors["wave"], colors["page"]) > 3


def luminance(color: list[float]) -> float:
    """Relative luminance, WCAG 2."""
    part = np.array(color[:3]) / 255
    return float(np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def contrast(one: list[float], other: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_it_fits_a_phone(page, place):
    page.resize(*PHONE, mobile=True)
    page.choose(place / "long.wav")
    page.answered()
    assert page.run("return document.documentElement.scrollWidth") <= PHONE[0]
    small = page.run("return [...document.querySelectorAll('button, select')].filter((one) => one.offsetHeight < 44)"
                     ".map((one) => one.id);")
    assert small == []


def test_it_works_by_keyboard_and_has_names(page):
    assert page.run("""
        const named = (one) => one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length;
        return [...document.querySelectorAll('button, input, select, canvas, a')].filter((one) => !named(one))
            .map((one) => one.outerHTML);""") == []
    assert page.run("return document.getElementById('record').tabIndex") == 0
    assert page.run("return document.querySelectorAll('[role=status], [role=alert]').length") == 2


def test_a_server_that_went_away_is_told(chromium, place, url):
    chromium.open(url)
    chromium.driver.execute_cdp_cmd("Network.enable", {})
    chromium.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {
        "offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    chromium.choose(place / "long.wav")
    assert "Is it still running?" in chromium.complained()
    chromium.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {
        "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    chromium.console()


def test_the_description_is_linked(page):
    assert Path(page.run("return document.querySelector('a[href*=openapi]').href")).name == "openapi.json"
    page.run("fetch('openapi.json').then((answer) => answer.json()).then((told) => { "
             "document.body.dataset.paths = Object.keys(told.paths).length; });")
    page.until("document.body.dataset.paths === '3'")
