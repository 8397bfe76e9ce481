import pytest
from index_server import IndexServer

from markets.data.universes.package_index import Connection, Unavailable, find, local, reason, shown
from markets.data.universes.pip_settings import PipSettings

NAME = "some_set-1.0-py3-none-any.whl"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with IndexServer().running() as running:
        running.files = {NAME: ("some-set", b"content"), "some_set-0.9.tar.gz": ("some-set", b"older")}
        yield running


def found(*indexes, name=NAME, **settings):
    return find("Some.Set", name, Connection(PipSettings(indexes=indexes, timeout=5, **settings)))


@pytest.mark.parametrize("html", [False, True])
def test_a_file_is_found_in_either_form_of_an_index(server, html):
    server.html = html
    assert found(server.index) == f"{server.root}/files/{NAME}"
    assert server.asked == [("/simple/some-set/", "")]  # the name in its normal form


def test_the_next_index_is_asked_where_one_does_not_have_it(server, tmp_path):
    closed = "http://127.0.0.1:9/simple"
    assert found(closed, server.index) == f"{server.root}/files/{NAME}"
    with pytest.raises(Unavailable) as error:
        found(closed, server.index, tmp_path.as_uri(), name="some_set-2.0.tar.gz")
    assert str(error.value) == (
        f"{closed} does not answer (Connection refused); {server.index} has no some_set-2.0.tar.gz; "
        f"{tmp_path.as_uri()} has no such package"
    )
    server.status = 503
    with pytest.raises(Unavailable, match=r"answers 503 Service Unavailable$"):
        found(server.index)


def test_a_page_that_is_no_index_is_no_answer(server):
    server.files = {}
    with pytest.raises(Unavailable, match=f"{server.index} has no such package"):
        found(server.index)
    with pytest.raises(Unavailable, match="name no index"):
        found()


def test_folders_are_looked_in_first(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"content")
    assert found(server.index, links=("/nowhere", "https://elsewhere.example", str(tmp_path))) == (
        (tmp_path / NAME).as_uri()
    )
    assert server.asked == []


def test_an_index_may_be_a_folder(tmp_path):
    page = tmp_path / "simple" / "some-set" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{NAME}#sha256=0">x</a>')
    assert found((tmp_path / "simple").as_uri()) == (tmp_path / NAME).as_uri()


def test_requests_go_through_the_proxy_that_pip_names(server):
    where = "http://index.invalid/simple"  # a name that does not exist: only the proxy can answer
    assert found(where, proxy=server.root) == f"http://index.invalid/files/{NAME}"


def test_certificates_that_pip_names_are_used(tmp_path):
    with pytest.raises(OSError, match=r"nowhere\.pem"):
        found("https://127.0.0.1:9/simple", certificate=str(tmp_path / "nowhere.pem"))


def test_passwords_are_not_shown():
    assert shown("https://user:secret@mirror.example:8080/simple") == "https://mirror.example:8080/simple"
    with pytest.raises(Unavailable) as error:
        found("http://user:secret@127.0.0.1:9/simple")
    assert "secret" not in str(error.value)


def test_a_path_and_a_files_address_are_local():
    assert str(local("file:///a%20b/c")) == "/a b/c"
    assert str(local("/a b/c")) == "/a b/c"
    assert local("https://a.example/c") is None


def test_the_reason_is_the_innermost_one():
    inner, outer = OSError(111, "Connection refused"), RuntimeError("many words")
    outer.__cause__ = inner
    assert reason(outer) == "Connection refused"
    assert reason(TimeoutError()) == "TimeoutError"
