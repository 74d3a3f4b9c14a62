"""A headless Chromium, driven by selenium; its microphone is a file."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60  # seconds


def _program(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.exit(f"{' or '.join(names)} is needed, for example by `apt-get install chromium chromium-driver`; "
                    f"{variable} names one elsewhere.", returncode=1)
    return found


class Browser:
    """One window of it."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver

    def open(self, url: str) -> None:
        """A page, once it knows its model."""
        self.driver.get(url)
        self.until("about !== null || document.getElementById('about').textContent.includes('trained on')")

    def run(self, script: str, *arguments):
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: str) -> None:
        """Waits for a condition in JavaScript."""
        guarded = f"try {{ return Boolean({condition}); }} catch {{ return false; }}"
        WebDriverWait(self.driver, PATIENCE, 0.1).until(lambda _: self.run(guarded), condition)

    def click(self, identifier: str) -> None:
        self.driver.find_element(By.ID, identifier).click()

    def text(self, identifier: str) -> str:
        return self.driver.find_element(By.ID, identifier).text

    def choose(self, file: Path) -> None:
        """As if the file was chosen in the browser's dialogue."""
        self.run("document.getElementById('verdict').textContent = '';")
        self.driver.find_element(By.ID, "file").send_keys(str(file))

    def answered(self) -> None:
        """Waits until an answer is shown."""
        self.until("!document.getElementById('result').hidden && document.getElementById('verdict').textContent")

    def complained(self) -> str:
        """Waits until an error is shown, and returns it."""
        self.until("!document.getElementById('error').hidden")
        return self.text("error")

    def prefer(self, scheme: str) -> None:
        """The user's light or dark."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def resize(self, width: int, height: int, mobile: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile})

    def console(self) -> list[str]:
        """Warnings and errors so far, but for refused recordings, and for tests that read what is drawn."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] in ("WARNING", "SEVERE")
                and not any(known in entry["message"] for known in ("/predict", "getImageData"))]

    def hosts(self) -> set[str]:
        """Whom requests so far went to."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [urlsplit(event["params"]["request"]["url"]) for event in events
                if event["method"] == "Network.requestWillBeSent"]
        return {url.netloc for url in urls if url.scheme in ("http", "https", "ws", "wss")}


@contextmanager
def browser(microphone: Path, profile: Path) -> Iterator[Browser]:
    """Chromium with a file for a microphone.

    Args:
      microphone: a WAV file, played over and over.
      profile: an empty folder.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = _program("CHROME", "chromium", "chromium-browser", "google-chrome")
    for flag in ("--headless=new", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
                 "--disable-component-update", "--window-size=1100,1000", "--use-fake-device-for-media-stream",
                 "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}",
                 f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium refuses to do without as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(_program("CHROMEDRIVER", "chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
