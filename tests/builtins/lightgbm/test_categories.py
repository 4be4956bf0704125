from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.builtins.lightgbm.categories import encode

sets = st.lists(
    st.frozensets(st.integers(0, 120), min_size=1, max_size=40).map(lambda s: tuple(sorted(s))), min_size=1, max_size=30
)


@given(sets=sets)
def test_every_question_has_the_answer_of_its_set(sets):
    encoded = encode(sets)
    assert set(encoded.questions) == set(sets)
    assert len(encoded.table) == max(map(max, sets)) + 2
    for categories, (column, codes) in encoded.questions.items():
        assert codes
        for category, code in enumerate(encoded.table[:, column].tolist()):
            assert (code in codes) == (category in categories)


@given(sets=sets)
def test_codes_are_small_and_zero_is_never_asked_for(sets):
    encoded = encode(sets)
    assert encoded.table.max() <= 15
    assert not encoded.table[-1].any()
    assert all(0 not in codes for _, codes in encoded.questions.values())
    assert sorted({column for column, _ in encoded.questions.values()}) == list(range(encoded.width))


def test_sets_that_nest_share_a_column_and_few_codes():
    chain = [tuple(range(n)) for n in range(1, 16)]
    assert encode(chain).width == 1
    assert encode([*chain, *reversed(chain)]).width == 1


def test_the_order_of_the_sets_decides_and_nothing_else():
    sets = [(0, 1), (1, 2), (5,), (0, 5, 9)]
    assert (encode(sets).table == encode(list(sets)).table).all()
