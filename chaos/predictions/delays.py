"""How late bytes come on a stream that delays each chunk by a draw of its own, in order. Pure.

A chunk waits for its own delay, drawn evenly from `latency - jitter` to `latency + jitter`, and for
all before it: nothing overtakes. With chunks that come by chance, `rate_hz` of them, the chance
that one is at most x late is

    F(x) exp(-rate * integral of 1 - F(x + s) over s >= 0)

its own draw, times that of no earlier chunk still being under way: one that came s before must have
drawn more than x + s to hold it up. The more chunks, the nearer all of them come to the largest
draw; with hardly any it is the draw itself.
"""

import math


def percent_within(late_ms: float, latency_ms: float, jitter_ms: float, rate_hz: float) -> float:
    """Percent of chunks that come at most so late."""
    lowest_ms, highest_ms = latency_ms - jitter_ms, latency_ms + jitter_ms
    if late_ms >= highest_ms:
        return 100.0
    if late_ms < lowest_ms:
        return 0.0
    width_ms = highest_ms - lowest_ms
    held_up_ms = (highest_ms - late_ms) ** 2 / (2 * width_ms)
    own = (late_ms - lowest_ms) / width_ms
    return 100 * own * math.exp(-rate_hz / 1000 * held_up_ms)


def median_ms(latency_ms: float, jitter_ms: float, rate_hz: float) -> float:
    """Half of all chunks come at most so late."""
    low_ms, high_ms = latency_ms - jitter_ms, latency_ms + jitter_ms
    while high_ms - low_ms > 0.1:
        middle_ms = (low_ms + high_ms) / 2
        if percent_within(middle_ms, latency_ms, jitter_ms, rate_hz) < 50:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms
