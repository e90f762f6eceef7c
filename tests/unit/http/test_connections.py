"""Headers that come in several lines are one list, whatever reads them."""

import pytest

from tests.unit.http.talk import Told, talking

K = "/buckets/b/keys/k"


async def _read(*lines: tuple[str, str]) -> Told:
    async with talking() as talk:
        await talk.put(K, b"value")
        tag = (await talk.get(K)).headers["etag"]
        return await talk.ask(
            "GET", K, [(name, value.replace("TAG", tag)) for name, value in lines]
        )


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([("Accept", "image/png"), ("Accept", "text/plain")], 200),
        ([("Accept", "image/png"), ("accept", "text/html")], 406),
        ([("If-None-Match", '"other"'), ("If-None-Match", "TAG")], 304),
        ([("If-None-Match", "TAG"), ("If-None-Match", '"other"')], 304),
        ([("If-Match", '"other"'), ("If-Match", '"another"')], 412),
        ([("If-Match", '"other"'), ("If-Match", "TAG")], 200),
    ],
)
async def test_lines_of_one_name_are_one_list(lines: list[tuple[str, str]], status: int) -> None:
    assert (await _read(*lines)).status == status


async def test_gzip_may_be_named_in_the_second_line() -> None:
    told = await _read(("Accept-Encoding", "br"), ("Accept-Encoding", "gzip"))
    assert told.headers["content-encoding"] == "gzip"


async def test_two_contexts_are_none() -> None:
    async with talking() as talk:
        await talk.put(K)
        context = (await talk.get(K)).headers["x-riak-vclock"]
        told = await talk.ask(
            "PUT",
            K,
            [
                ("Content-Type", "text/plain"),
                ("X-Riak-Vclock", context),
                ("X-Riak-Vclock", context),
            ],
            b"x",
        )
    assert told.status == 400


async def test_metadata_and_links_in_several_lines_come_back_in_one() -> None:
    async with talking() as talk:
        await talk.ask(
            "PUT",
            K,
            [
                ("Content-Type", "text/plain"),
                ("X-Riak-Meta-M", "1"),
                ("Link", '</buckets/b/keys/x>; riaktag="t"'),
                ("x-riak-meta-m", "2"),
                ("X-Riak-Meta-M", "3"),
                ("Link", '</buckets/b/keys/y>; riaktag="u"'),
            ],
            b"x",
        )
        told = await talk.get(K)
    assert told.headers["x-riak-meta-m"] == "1, 2, 3"
    assert told.headers["link"].endswith(
        '</buckets/b/keys/x>; riaktag="t", </buckets/b/keys/y>; riaktag="u"'
    )
