import pytest

from rowcast.server.limits import MAX_KEYS, RateLimiter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_then_a_rate():
    clock = Clock()
    limiter = RateLimiter(2.0, 3.0, clock)
    assert [limiter.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limiter.wait_s("b") == 0.0
    clock.now += 0.5
    assert [limiter.wait_s("a"), limiter.wait_s("a")] == [0.0, 0.5]
    clock.now += 100
    assert [limiter.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_looking_takes_nothing():
    limiter = RateLimiter(1.0, 1.0, Clock())
    assert [limiter.wait_s("a", take=False) for _ in range(3)] == [0.0] * 3
    assert limiter.wait_s("a") == 0.0
    assert limiter.wait_s("a", take=False) == 1.0


@pytest.mark.parametrize("key", ["a", "b"])
def test_no_rate_is_no_limit(key):
    limiter = RateLimiter(0.0, 0.0, Clock())
    assert not any(limiter.wait_s(key) for _ in range(1000))


def test_memory_is_bounded():
    limiter = RateLimiter(1.0, 1.0, Clock())
    for number in range(MAX_KEYS + 10):
        limiter.wait_s(str(number))
    assert len(limiter._left) == MAX_KEYS
