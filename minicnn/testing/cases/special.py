"""Rows for `minicnn.ops.special`."""

from __future__ import annotations

from minicnn.ops.special import digamma, lgamma, normal_cdf, polygamma
from minicnn.testing.cases.case import Case, both, plain, positive

ROWS = [
    both("erf", "signed", lambda m, x: m.erf(x), (2, 3)),
    both("erf", "wide", lambda m, x: m.erf(x * 3), (3, 5)),
    both("erfc", "signed", lambda m, x: m.erfc(x), (2, 3)),
    both("erfc", "wide", lambda m, x: m.erfc(x * 3), (3, 5)),
    both("erfinv", "within bounds", lambda m, x: m.erfinv(x / 2.1), (3, 4)),
    Case("normal_cdf", "signed", normal_cdf, ((2, 3),), lambda torch, x: torch.special.ndtr(x)),
    # PyTorch's trigamma has 9 digits, so what needs it is compared with SciPy's elsewhere
    Case("lgamma", "positive", lgamma, (positive(2, 3),)),
    Case("lgamma", "signed", lambda x: lgamma(x / 6 - 1.5), ((2, 3),)),
    Case("digamma", "positive", digamma, (positive(2, 3),)),
    Case("digamma", "signed", lambda x: digamma(x / 6 - 1.5), ((2, 3),)),
    Case("derivative_of_digamma", "order 1", lambda x: polygamma(1, x), (positive(2, 3),)),
    both("derivative_of_digamma", "order 2", lambda m, x: x.polygamma(2), positive(2, 3)),
    both("derivative_of_digamma", "order 4", lambda m, x: m.polygamma(4, x + 1), positive(2, 3)),
    both("sinc", "signed", lambda m, x: m.sinc(x), (2, 3)),
    both("sinc", "a single value", lambda m, x: x.sinc(), ()),
    both("xlogy", "one shape", lambda m, a, b: m.xlogy(a, b), (2, 3), positive(2, 3)),
    both("xlogy", "rows and columns", lambda m, a, b: a.xlogy(b), (2, 1), positive(3)),
    both("xlogy", "number", lambda m, x: m.xlogy(2.5, x), positive(2, 3)),
    both("xlogy", "of a number", lambda m, x: m.xlogy(x, 2.5), (2, 3)),
    both("log_odds", "logit", lambda m, x: m.logit(x / 5 + 0.5), (2, 3)),
    both("limit", "logit with bounds", lambda m, x: m.logit(x / 3 + 0.5, eps=0.1), (3, 4)),
]

PLAIN = [
    plain("lgamma", "value", lambda m, x: m.lgamma(x), (2, 3)),
    plain("digamma", "value", lambda m, x: m.digamma(x.detach()), (2, 3)),
    plain("digamma", "order 0", lambda m, x: m.polygamma(0, x.detach()), positive(2, 3)),
]
