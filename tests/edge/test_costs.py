import numpy as np
import pytest

from edge.costs import choose_answers, expected_costs
from edge.errors import UsageError

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.5, 0.5, 0.0]], dtype=np.float32)


def test_without_costs_the_likeliest_answer_and_its_probability() -> None:
    answers, scores = choose_answers(PROBABILITIES)
    assert (answers.dtype, scores.dtype) == (np.int64, np.float64)
    assert answers.tolist() == [0, 1, 0]
    assert scores.tolist() == pytest.approx([0.7, 0.4, 0.5])


def test_mistakes_that_all_cost_the_same_change_nothing() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([0.5] * 7, 500).astype(np.float32)
    answers, scores = choose_answers(chances, 3.0 * (1 - np.eye(7)))
    plain = choose_answers(chances)
    assert (answers == plain[0]).all()
    assert scores == pytest.approx(plain[1], abs=1e-6)


def test_a_dear_mistake_is_avoided() -> None:
    costs = np.array([[0.0, 1, 1], [10, 0, 1], [1, 1, 0]])
    expected = expected_costs(PROBABILITIES, costs)
    assert expected[0].tolist() == pytest.approx([2.1, 0.8, 0.9])
    answers, scores = choose_answers(PROBABILITIES, costs)
    assert answers.tolist() == [1, 1, 1]
    assert scores.tolist() == pytest.approx([1 - 0.08, 1 - 0.06, 1 - 0.05])


def test_of_equally_cheap_answers_the_likeliest() -> None:
    costs = np.array([[0.0, 0, 2], [0, 0, 2], [2, 2, 0]])
    assert choose_answers(np.array([[0.2, 0.5, 0.3]]), costs)[0].tolist() == [1]


def test_no_photo_and_costs_that_do_not_fit() -> None:
    answers, scores = choose_answers(np.zeros((0, 3), dtype=np.float32), 1 - np.eye(3))
    assert len(answers) == len(scores) == 0
    with pytest.raises(UsageError, match=r"costs of shape \(2, 2\) for 3 classes"):
        choose_answers(PROBABILITIES, 1 - np.eye(2))
    with pytest.raises(UsageError, match="all 0"):
        choose_answers(PROBABILITIES, np.zeros((3, 3)))
