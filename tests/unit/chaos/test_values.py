from hypothesis import given
from hypothesis import strategies as st

from chaos.values import SEPARATOR, Named, named

texts = st.text(st.characters(exclude_characters=SEPARATOR, exclude_categories=["Cs"]))


@given(texts, texts, st.integers(0, 10**9), texts)
def test_a_value_says_where_it_belongs_and_who_wrote_it(
    key: str, client: str, number: int, payload: str
) -> None:
    value = Named(key=key, client=client, number=number, payload=payload)
    assert named(str(value)) == value


@given(st.data())
def test_a_value_that_is_not_whole_is_none(data: st.DataObject) -> None:
    text = str(Named(key="k1", client="a1", number=7, payload="3,4"))
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != text[at]))
    assert named(text[:at] + other + text[at + 1 :]) is None
    assert named(text[:at]) is None


def test_texts_that_nobody_here_wrote_are_none() -> None:
    for text in ("", "hello", "a|b|c|d|e", "k|c|1||zzzzzzzz", "||||"):
        assert named(text) is None
