import pytest
from planted_checks import family, prove


@pytest.mark.parametrize("case", family("pooling"), ids=lambda case: case.name)
def test_each_marked_line_is_the_mistake(case):
    prove(case)
