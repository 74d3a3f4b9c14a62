"""Who may ask the server, what its page is made of, and what its description says."""

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import sercl_jax
from sercl_jax.serve import app, guard, schemas
from sercl_jax.serve.limits import Limits
from tests.fake_model import LABELS, FakeModel
from tests.serving import made

PAGE = Path(sercl_jax.__file__).parent / "serve" / "page"


@pytest.fixture(scope="module")
def client():
    with made() as client:
        yield client


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"host": "127.0.0.1:9"}, 200), ({"host": "[::1]:8765"}, 200), ({"host": "LOCALHOST"}, 200),
    ({"host": "evil.example"}, 400), ({"host": "localhost.evil.example:8765"}, 400), ({"host": "[::1"}, 400),
    ({"host": ""}, 400), ({"origin": "http://localhost:8765"}, 200), ({"origin": "http://localhost:1"}, 403),
    ({"origin": "https://evil.example"}, 403), ({"origin": "null"}, 403)])
def test_other_names_and_pages_are_refused(client, headers, status):
    answer = client.get("/model", headers=headers)
    assert answer.status_code == status
    assert ("error" in answer.json()) == (status != 200)


def test_names_do_not_matter_away_from_loopback():
    with TestClient(app.create(FakeModel(), Limits(), hosts=None), base_url="http://lab.example") as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/model"), ("GET", "/absent"),
                                              ("POST", "/predict"), ("GET", "/openapi.json")])
def test_every_answer_has_a_strict_policy(client, method, path):
    headers = client.request(method, path).headers
    assert headers["content-security-policy"] == guard.POLICY
    assert "default-src 'none'" in guard.POLICY
    assert "unsafe" not in guard.POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    wanted = set(re.findall(r'(?:href|src)="([^"#]+)"', texts["index.html"]))
    scripts = "".join(text for name, text in texts.items() if name.endswith(".js"))
    wanted |= set(re.findall(r'(?:from |addModule\()"(?:\./)?([^"]+)"', scripts))
    assert {"page.js", "page.css", "icon.svg", "worklet.js", "openapi.json"} <= wanted
    for name in wanted:
        assert client.get(f"/{name}").status_code == 200, name
    for name, text in texts.items():
        urls = set(re.findall(r"[a-z]+://[^\s'\"<)]+|url\([^)]*\)", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name  # a name, never fetched
    assert not re.search(r"\son\w+=|\sstyle=|<script(?![^>]*src=)|<style", texts["index.html"])
    assert "innerHTML" not in "".join(texts.values())  # a file's name is text


def test_every_element_that_scripts_use_is_there():
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    used = {name for path in PAGE.glob("*.js") for name in re.findall(r'\bat\("([\w-]+)"\)', path.read_text())}
    assert used <= set(re.findall(r'id="([\w-]+)"', page))
    assert "record" in used


def test_the_description(client):
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.")
    assert sorted(told["paths"]) == ["/health", "/model", "/predict"]
    post = told["paths"]["/predict"]["post"]
    assert {parameter["name"] for parameter in post["parameters"]} == {"window", "overlap", "top", "labels"}
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
    assert set(post["responses"]) == {"200", "400", "403", "408", "413", "415", "422", "503"}
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(told)))
    assert "#/components/schemas/Answer" in references
    for reference in references:
        part = told
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]
        assert part["type"] == "object"


def test_the_model_is_told(client):
    told = client.get("/model").json()
    assert told["labels"] == list(LABELS)
    assert told["limits"] == {"max_mb": 25, "max_seconds": 300, "concurrency": 32, "timeout": 60}
    schemas.About.model_validate(told)
