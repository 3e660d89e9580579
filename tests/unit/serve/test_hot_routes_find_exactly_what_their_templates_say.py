import pytest

from tenfold.core.errors import ContractError
from tenfold.serve.hot import HotRoutes, Request, Response


def handler(request: Request, **_: str) -> Response | None:
    return None


def found(routes: HotRoutes, path: str) -> tuple[str, dict[str, str]] | None:
    result = routes.find(path)
    return None if result is None else (result[0].template, result[1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/abc", ("/{code}", {"code": "abc"})),
        ("/", ("/", {})),
        ("/about", ("/about", {})),
        ("/api/v1/xyz", ("/api/v1/{code}", {"code": "xyz"})),
        ("/api/v1/", None),
        ("/api/v2/xyz", ("/api/{version}/{code}", {"version": "v2", "code": "xyz"})),
        ("/a/b", None),
        ("/abc/", None),
        ("/a//b", None),
        ("//", None),
        ("/ä€", ("/{code}", {"code": "ä€"})),
        ("/users/7/posts", ("/users/{id}/posts", {"id": "7"})),
        ("/users//posts", None),
        ("", None),
    ],
)
def test_literal_paths_win_then_the_most_literal_template(path: str, expected: object) -> None:
    templates = ["/{code}", "/", "/about", "/api/{version}/{code}", "/api/v1/{code}", "/users/{id}/posts"]
    assert found(HotRoutes(dict.fromkeys(templates, handler)), path) == expected


@pytest.mark.parametrize("template", ["code", "/{code}x", "/x{code}", "/{a-b}", "/{", "/{a}/{a}", "/{code:int}"])
def test_a_template_that_cannot_work_is_refused_when_the_app_is_made(template: str) -> None:
    with pytest.raises(ContractError, match="hot route"):
        HotRoutes({template: handler})


def test_a_handler_that_cannot_take_the_placeholders_is_refused_when_the_app_is_made() -> None:
    def other(request: Request, name: str) -> Response | None:
        return None

    with pytest.raises(ContractError, match=r"'?code'?") as caught:
        HotRoutes({"/{code}": other})
    assert caught.value.hint


def test_a_response_states_its_length_and_redirects_encode_what_headers_cannot_carry() -> None:
    assert (b"content-length", b"5") in Response.text("h\u00e4lf"[:4]).headers
    assert Response(204).headers == []
    assert Response.redirect("https://ex.org/ä b\r\nx: y").headers[0] == (
        b"location",
        b"https://ex.org/%C3%A4%20b%0D%0Ax:%20y",
    )
    assert (
        Response.redirect("https://u:p@ex.org/%41?q=[1]&r='#f").headers[0][1] == b"https://u:p@ex.org/%41?q=[1]&r='#f"
    )
    assert Response.json({"a": [1, None]}).body == b'{"a":[1,null]}'
