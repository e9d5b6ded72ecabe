"""The way to a server: proxies, certificates, addresses as people write them, redirects and headers without end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from servers import OLLAMA, OPENAI, Answer, Exchange, Server, closed_port, faults
from servers.proxy import Socks
from victor_nb import Settings, errors, session
from victor_nb.providers.spec import OLLAMA as OLLAMA_SPEC
from workbench import Bench, assert_clean, fail, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]
only_openai = pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
FAR = "http://models.example.invalid/v1"


@pytest.fixture
def proxied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench in whose environment NO_PROXY exempts nothing."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("VICTOR_TRUST", "models.example.invalid")
    bench.play(Answer())
    return bench


@only_openai
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", "", "HTTP://"])
async def test_when_a_proxy_is_written_as_curl_takes_it_then_it_is_used(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, f"{scheme}{proxied.server.url.removeprefix('http://')}")
    proxied.server.answer = lambda _: at_once

    async def at_once(exchange: Exchange) -> None:
        await exchange.whole(502, {"x-proxy": "here"}, b"<h1>No such host</h1>")

    error = await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY")))
    assert isinstance(error, errors.ServerError)
    assert "No such host" in str(error)
    assert [request.path for request in proxied.server.requests] == [f"{FAR}/chat/completions"]


@only_openai
async def test_when_a_proxy_wants_a_login_then_it_gets_it_and_the_server_does_not(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxied.server.url.replace("//", "//me:p%40ss@"))

    async def act(exchange: Exchange) -> None:
        await exchange.whole(407, {}, b"")

    proxied.play(act)
    error = await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY")))
    assert proxied.server.requests[0].headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert "openai answered 407" in str(error)
    assert "The proxy asks for a user and a password" in str(error)


@only_openai
async def test_when_a_proxy_is_dead_then_it_is_named_as_the_proxy(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://user:canary-pass@127.0.0.1:{closed_port()}")
    error = proxied.check(
        await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY"))), errors.ConnectError
    )
    assert "is asked through a proxy, and the proxy http://[redacted]@127.0.0.1:" in str(error)
    assert "NO_PROXY" in str(error)
    assert "canary-pass" not in str(error)
    assert_clean(error)


@only_openai
@pytest.mark.parametrize("given", ["ftp://127.0.0.1:9", "http://127.0.0.1:port", "socks5://127.0.0.1:port"])
async def test_when_a_proxy_is_none_then_one_line_says_what_to_write(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", given)
    error = proxied.check(
        await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY", retries=2))),
        errors.ConnectError,
    )
    assert f"the proxy {given} cannot be used. Write" in str(error)
    assert not error.retryable


@only_openai
@pytest.mark.parametrize(
    "exempt", ["127.0.0.1", "127.0.0.0/8", "10.0.0.0/8, 127.0.0.0/8", "example.com 127.0.0.1", "*"]
)
async def test_when_no_proxy_names_the_host_or_its_network_then_none_is_used(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (await proxied.ask(await proxied.agent())).content == Answer().text


def test_when_no_proxy_names_ipv6_then_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:8080")
    for exempt in ("::1", "[::1]", "::/64"):
        monkeypatch.setenv("NO_PROXY", exempt)
        assert Settings().proxy("http://[::1]:11434") is None
        assert Settings().proxy("http://[2001:db8::1]:11434") == "http://proxy:8080"


@only_openai
@pytest.mark.parametrize(
    ("scheme", "host"), [("socks5h", "models.example.invalid"), ("socks", "models.example.invalid")]
)
async def test_when_a_proxy_speaks_socks_then_it_looks_names_up_and_is_used(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch, scheme: str, host: str
) -> None:
    with Socks(int(proxied.server.url.rpartition(":")[2]), user="u", password="p") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://u:p@127.0.0.1:{proxy.port}")
        assert (
            await proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY"))
        ).content == Answer().text
        assert proxy.asked == [(host, 80)]


@only_openai
async def test_when_a_socks_proxy_refuses_or_is_dead_then_it_is_named(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Socks(int(proxied.server.url.rpartition(":")[2]), user="u", password="p") as proxy:
        for port, login in ((proxy.port, "u:wrong@"), (closed_port(), "")):
            monkeypatch.setenv("ALL_PROXY", f"socks5h://{login}127.0.0.1:{port}")
            error = await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY")))
            proxied.check(error, errors.ConnectError)
            assert "is asked through a proxy, and the proxy socks5h://" in str(error)
            assert "wrong" not in str(error)


@only_openai
async def test_when_the_package_for_socks_is_missing_then_one_line_says_what_to_install(
    proxied: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    error = proxied.check(
        await fail(proxied.ask(await proxied.agent(base_url=FAR, api_key_env="OPENAI_API_KEY", retries=2))),
        errors.ConnectError,
    )
    assert "the proxy socks5://127.0.0.1:1080 is a SOCKS proxy" in str(error)
    assert "pip install aiohttp-socks" in str(error)


async def test_when_certificates_cannot_be_read_then_one_lane_fails_and_not_all(
    tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    server.play(Answer())
    spec = {"provider": "openai", "model": "gpt-4o-mini", "retries": 2}
    write_profiles(
        tmp_path,
        near={**spec, "base_url": f"{server.url}/v1"},
        far={**spec, "base_url": f"https://127.0.0.1:{closed_port()}/v1"},
    )
    replies = await session().pool.fan_out("How many?", ["near", "far"])
    assert [reply.content for reply in replies.ok] == [Answer().text]
    [(name, error)] = replies.failed.items()
    assert name == "far"
    assert isinstance(error, errors.ConnectError)
    assert not error.retryable
    assert "SSL_CERT_FILE names cannot be read (No such file or directory). Correct it, or unset it." in str(error)


async def test_when_a_server_redirects_then_its_target_is_named(bench: Bench) -> None:
    bench.play(faults.redirect("https://user:canary-pass@elsewhere.example", 308))
    error = await bench.fail(await bench.agent())
    assert "answered 308: it has moved to https://[redacted]@elsewhere.example/" in str(error)
    assert "set base_url to it" in str(error)
    assert "canary-pass" not in str(error)


@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_redirect_leads_to_no_address_then_it_is_an_error_of_ours(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.whole(302, {"location": "//[bad"}, b"")

    assert "it has moved to what is no address" in str(await bench.failure(act))


@pytest.mark.parametrize("way", ["plain"])
async def test_when_an_address_has_a_line_break_then_it_is_an_error_of_ours(bench: Bench) -> None:
    bench.play(Answer())
    address = bench.dialect.base_url(bench.server.url)
    assert (await bench.ask(await bench.agent(base_url=f" {address}\n"))).content == Answer().text
    with pytest.raises(errors.ConfigError, match="base_url: holds a line break") as caught:
        await bench.agent(base_url=address.replace("//127", "//a\nb.127"))
    assert_clean(caught.value)


async def test_when_an_answer_has_hundreds_of_headers_then_it_is_read(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        dialect, request = bench.dialect, exchange.request
        many = {f"x-gateway-{number}": "v" * 40 for number in range(400)}
        if dialect.streamed(request):
            data = b"".join(event.data for event in dialect.events(Answer(), request))
            await exchange.whole(200, {**many, "content-type": dialect.stream_type}, data)
        else:
            await exchange.whole(200, {**many, **faults.JSON}, dialect.plain(Answer(), request))

    bench.play(act)
    assert (await bench.ask(await bench.agent())).content == Answer().text


async def test_when_a_variable_holds_no_address_then_it_is_an_error_of_ours(
    tmp_path: Path, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profiles(tmp_path, far={"provider": "openai", "model": "gpt-4o-mini"})
    monkeypatch.setenv("OPENAI_BASE_URL", "http://a\nb/v1")
    with pytest.raises(errors.ProviderOpenError, match="base_url is no address: "):
        session().pool.get_orchestrator("far")


HOSTS = [
    ("", "http://127.0.0.1:11434"),
    ("1.2.3.4", "http://1.2.3.4:11434"),
    (":1234", "http://127.0.0.1:1234"),
    ("1.2.3.4:1234", "http://1.2.3.4:1234"),
    ("http://1.2.3.4", "http://1.2.3.4:80"),
    ("https://1.2.3.4", "https://1.2.3.4:443"),
    ("http://1.2.3.4:1234", "http://1.2.3.4:1234"),
    ("https://example.com/ollama", "https://example.com:443/ollama"),
    ("example.com/", "http://example.com:11434"),
    ("[::1]", "http://[::1]:11434"),
    ("::1", "http://[::1]:11434"),
    ("[2001:db8::1]:5", "http://[2001:db8::1]:5"),
    ("0.0.0.0:5", "http://127.0.0.1:5"),
    ("[::]:5", "http://[::1]:5"),
    ('"1.2.3.4:1234"', "http://1.2.3.4:1234"),
    ("' 1.2.3.4 '", "http://1.2.3.4:11434"),
    ("1.2.3.4:99999", "http://1.2.3.4:11434"),
    ("https://1.2.3.4:port", "https://1.2.3.4:443"),
    ("http://1.2.3.4:1234/v1", "http://1.2.3.4:1234"),
    ("http://1.2.3.4:1234/api/", "http://1.2.3.4:1234"),
    ("https://example.com/ollama/v1", "https://example.com:443/ollama"),
]


@pytest.mark.parametrize(("given", "expected"), HOSTS)
def test_when_ollamas_host_is_written_in_any_way_then_it_is_read_as_ollama_does(given: str, expected: str) -> None:
    assert OLLAMA_SPEC.read_address(given) == expected


@pytest.mark.parametrize("dialect", [OLLAMA], ids=repr)
@pytest.mark.parametrize("tail", ["/v1", "/api", "/v1/", ""])
async def test_when_ollamas_address_names_one_of_its_apis_then_it_is_taken_as_meant(bench: Bench, tail: str) -> None:
    bench.play(Answer())
    assert (await bench.ask(await bench.agent(base_url=bench.server.url + tail))).content == Answer().text
