"""Who is let in and who is not, on HTTP and on the websocket; and what a page may do."""

import base64
import hashlib
import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app import gate
from app.gate import Gate, exposed, policy, rules_for
from spd_core.errors import InputError

TOKEN = "a-token-of-a-class"
HERE = "http://127.0.0.1:8501"


async def page(_: object) -> PlainTextResponse:
    return PlainTextResponse("inside")


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("inside")
    await socket.close()


def client(token: str = "", address: str | None = "127.0.0.1", hosts: str = "", at: str = HERE) -> TestClient:
    """A browser before a server with one page and one websocket."""
    routes = [Route("/{rest:path}", page, methods=["GET", "PUT"]), WebSocketRoute("/_stcore/stream", stream)]
    rules = rules_for(address, 8501, token, hosts)
    inside = Starlette(routes=[routes[1], routes[0]], middleware=[Middleware(Gate, rules=rules)])
    return TestClient(inside, base_url=at, follow_redirects=False)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_WRONG_TOKEN_WAITS", 0.0)


def connected(browser: TestClient, **headers: str) -> bool:
    """Whether the websocket was opened."""
    try:
        with browser.websocket_connect("/_stcore/stream", headers=headers) as socket:
            return socket.receive_text() == "inside"
    except WebSocketDisconnect:
        return False


# --- host and origin -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/spectrum", "/_stcore/health", "/_stcore/metrics", "/static/x.js"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_foreign_host_is_refused_on_every_route(path: str, host: str) -> None:
    refused = client().get(path, headers={"Host": host})
    assert (refused.status_code, "inside" in refused.text) == (403, False)


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost:8501", "LOCALHOST:8501", "[::1]:8501"])
def test_this_machine_is_let_in(host: str) -> None:
    assert client().get("/", headers={"Host": host}).text == "inside"


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9999", "http://localhost:8501", "127.0.0.1:8501"]
)
def test_a_foreign_or_missing_origin_opens_no_websocket_and_uploads_nothing(origin: str | None) -> None:
    headers = {"Host": "127.0.0.1:8501"} | ({"Origin": origin} if origin else {})
    assert not connected(client(), **headers)
    assert client().put("/_stcore/upload_file/x", headers=headers).status_code == 403


@pytest.mark.parametrize(("host", "origin"), [("127.0.0.1:8501", HERE), ("lab.example", "https://lab.example")])
def test_pages_of_this_server_may(host: str, origin: str) -> None:
    browser = client(hosts="lab.example")
    assert connected(browser, Host=host, Origin=origin)
    assert browser.put("/_stcore/upload_file/x", headers={"Host": host, "Origin": origin}).text == "inside"


def test_an_address_that_others_reach_is_asked_by_its_number_or_by_a_name_that_was_given() -> None:
    """What the test client connects to is the address that its request came in at."""
    browser = client(TOKEN, "0.0.0.0", "lab.example", at="http://10.1.2.3:8501")
    for host, code in (("10.1.2.3:8501", 401), ("lab.example", 401), ("10.9.9.9:8501", 403), ("evil.example", 403)):
        assert browser.get("/", headers={"Host": host}).status_code == code


# --- the token -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/spectrum", "/_stcore/health", "/_stcore/metrics", "/static/x.js"])
def test_without_the_token_nothing_answers(path: str) -> None:
    asked = client(TOKEN).get(path)
    assert asked.status_code == 401
    assert "inside" not in asked.text
    assert not connected(client(TOKEN), Host="127.0.0.1:8501", Origin=HERE)


def test_the_token_is_typed_once_and_lies_in_no_link_cookie_or_page() -> None:
    browser = client(TOKEN)
    signed = browser.post("/sign-in", data={"token": TOKEN}, headers={"Origin": HERE})
    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    cookie = signed.headers["set-cookie"]
    assert re.match(r"spd_lab_8501=[0-9a-f]{64}; HttpOnly; Path=/; SameSite=strict$", cookie)
    assert TOKEN not in cookie + signed.text
    assert browser.get("/spectrum").text == "inside"
    assert connected(browser, Host="127.0.0.1:8501", Origin=HERE, Cookie=cookie.partition(";")[0])


@pytest.mark.parametrize("given", ["", "a-token-of-a-clasS", TOKEN + "x", "\ud800", "ä"])
def test_a_wrong_token_lets_nobody_in(given: str) -> None:
    browser = client(TOKEN)
    body = b"token=" + given.encode(errors="surrogatepass")
    refused = browser.post("/sign-in", content=body, headers={"Origin": HERE})
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert "That is not the token." in refused.text
    assert browser.get("/").status_code == 401


def test_a_link_with_the_token_a_foreign_form_and_a_huge_one_are_refused() -> None:
    browser = client(TOKEN)
    assert browser.get(f"/?token={TOKEN}").status_code == 401
    assert browser.post("/sign-in", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert browser.post("/sign-in", content=b"x" * 20_000, headers={"Origin": HERE}).status_code == 413


@pytest.mark.parametrize("cookie", ["", TOKEN, "0" * 64, hashlib.sha256(TOKEN.encode()).hexdigest()])
def test_a_made_up_cookie_lets_nobody_in(cookie: str) -> None:
    assert client(TOKEN).get("/", headers={"Cookie": f"spd_lab_8501={cookie}"}).status_code == 401


def test_an_address_that_others_reach_needs_a_token_and_says_what_it_exposes() -> None:
    for address in ("0.0.0.0", "10.1.2.3", "::", "lab.example"):
        with pytest.raises(InputError, match="set SPD_TOKEN"):
            rules_for(address, 8501, "")
    for address in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        assert not rules_for(address, 8501, "").token
    assert client(address=None).get("/").status_code == 403, "some other server, which may listen anywhere"
    assert client(TOKEN, None).get("/").status_code == 401
    with pytest.raises(InputError, match="has 5 characters"):
        rules_for("127.0.0.1", 8501, "short")
    assert "start jobs and programs of this user" in exposed("0.0.0.0", 8501)


# --- what a page may do --------------------------------------------------------------------------------------


def test_every_answer_has_the_policy_even_a_refusal() -> None:
    for headers in (client().get("/").headers, client().get("/", headers={"Host": "evil.example"}).headers):
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_only_the_pages_own_inline_scripts_may_run() -> None:
    said = policy("<script>\n  a = 1\n</script><script type=module src=x.js></script><script>b()</script>")
    digests = [base64.b64encode(hashlib.sha256(one).digest()).decode() for one in (b"\n  a = 1\n", b"b()")]
    script = next(part for part in said.split("; ") if part.startswith("script-src"))
    assert script == f"script-src 'self' blob: 'sha256-{digests[0]}' 'sha256-{digests[1]}'"
    assert "unsafe-eval" not in said
    assert "http" not in said
