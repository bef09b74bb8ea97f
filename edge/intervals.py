"""How far a share that was counted on few photos can be trusted."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""Standard normal quantile at 0.975: 95 % of the mass lies within plus or minus this."""


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Low and high end, 0 to 1, of the 95 % score interval of hits / n, for 0 <= hits <= n.

    Without a trial nothing is known: (0, 1). Source: E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", Journal of the American Statistical Association 22 (1927).
    Unlike the normal approximation it stays within 0 and 1, and has a width at 0 and at n hits.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    margin = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = centre - margin if hits else 0.0  # exact at both ends, where rounding leaves 1e-17
    high = centre + margin if hits < n else 1.0
    return low, high
