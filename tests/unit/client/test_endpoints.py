"""Endpoints take turns; those that failed come last for a while."""

import pytest

from dynamo.client.endpoints import Endpoints
from dynamo.errors import ConfigError

A, B, C = "http://a:1", "http://b:2", "http://c:3"


def test_endpoints_take_turns() -> None:
    endpoints = Endpoints([A, B, C], rest_s=2)
    assert [endpoints.order(0.0) for _ in range(4)] == [[A, B, C], [B, C, A], [C, A, B], [A, B, C]]


def test_one_that_failed_is_tried_last_until_it_has_rested() -> None:
    endpoints = Endpoints([A, B, C], rest_s=2)
    endpoints.failed(A, 10.0)
    assert endpoints.order(11.9) == [B, C, A]
    assert endpoints.order(11.9) == [B, C, A]
    assert endpoints.order(12.0) == [C, A, B]


def test_one_that_works_again_rests_no_more() -> None:
    endpoints = Endpoints([A, B], rest_s=2)
    endpoints.failed(A, 10.0)
    endpoints.worked(A)
    assert endpoints.order(10.5) == [A, B]


def test_when_all_rest_the_first_to_wake_is_tried_first() -> None:
    endpoints = Endpoints([A, B, C], rest_s=2)
    for second, url in enumerate((C, A, B)):
        endpoints.failed(url, float(second))
    assert endpoints.order(2.0) == [C, A, B]


def test_a_trailing_slash_is_no_path() -> None:
    assert Endpoints(["http://127.0.0.1:8098/"], rest_s=1).order(0) == ["http://127.0.0.1:8098"]


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8098",
        "ftp://a:1",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a:1/riak",
        "http://a:1?x=1",
        "http://[::1",
        "http://user@a:1",
    ],
)
def test_what_is_no_endpoint_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match="should look like"):
        Endpoints([url], rest_s=1)


def test_no_endpoint_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no endpoint"):
        Endpoints([], rest_s=1)


def test_one_url_is_no_list_of_them() -> None:
    with pytest.raises(ConfigError, match="must be a list of URLs, but is one alone: 'http://a:1'"):
        Endpoints("http://a:1", rest_s=1)
