"""Special functions of float64, to its last digits: erf and its inverse, and the gamma family.

Each takes an array of floating-point numbers of any type and returns that type.  float32 takes a
shorter way to erf; everything else is computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.pointwise import one_step
from minicnn_kernels.reference.blockwise import in_blocks, pieces


def polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """y = c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule.

    >>> polynomial(np.array([0.0, 10.0]), (1, 2, 3))
    array([  1., 321.])
    """
    y = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        y *= x
        y += coefficient
    return y


def _in_double(formula: Callable[[Array], Array], x: Array) -> Array:
    """Compute in float64, whatever the type of x."""
    return in_blocks(lambda part: formula(part.astype(np.float64, copy=False)), x)


# --- the error function ---------------------------------------------------------------------------

# Cody 1969, "Rational Chebyshev approximations for the error function", Mathematics of Computation
# 23.  Numerator and denominator, the lowest power first: of erf(x) / x in x^2 up to 0.46875, of
# erfc(x) e^(x^2) in x up to 4, of what is left of its asymptotic series in 1 / x^2 beyond.
NEAR_0 = (
    (3209.37758913846947, 377.485237685302021, 113.864154151050156, 3.1611237438705656,
     0.185777706184603153),
    (2844.23683343917062, 1282.61652607737228, 244.024637934444173, 23.6012909523441209, 1.0),
)  # fmt: skip
UP_TO_4 = (
    (1230.33935479799725, 2051.07837782607147, 1712.04761263407058, 881.95222124176909,
     298.635138197400131, 66.1191906371416295, 8.88314979438837594, 0.564188496988670089,
     2.15311535474403846e-8),
    (1230.33935480374942, 3439.36767414372164, 4362.61909014324716, 3290.79923573345963,
     1621.38957456669019, 537.181101862009858, 117.693950891312499, 15.7449261107098347, 1.0),
)  # fmt: skip
BEYOND_4 = (
    (6.58749161529837803e-4, 0.0160837851487422766, 0.125781726111229246, 0.360344899949804439,
     0.305326634961232344, 0.0163153871373020978),
    (2.33520497626869185e-3, 0.0605183413124413191, 0.527905102951428412, 1.87295284992346047,
     2.56852019228982242, 1.0),
)  # fmt: skip

# Fitted for this file, with the least largest relative error: erf(x) / x in x^2 for |x| < 3.937, to
# 2e-8, and P(a normal value < -x) e^(x^2 / 2) in x for 0 <= x < 14.5, to 6e-9.
ERF_SINGLE = (
    (1.128379145, 0.1910498456, 0.05281971433, 3.789494673e-3, 2.847613987e-4, 2.036323108e-6),
    (1.0, 0.5026462217, 0.1143622562, 0.01501738824, 1.167112490e-3, 3.794328532e-5),
)
NORMAL_SINGLE = (
    (0.5000000030, 0.4382962335, 0.1832361111, 0.04063356101, 4.116360504e-3),
    (1.0, 1.674477448, 1.202507135, 0.4694732047, 0.1018596797, 0.01031806589),
)


@one_step("erf")
def erf(x: Array) -> Array:
    """y = 2 / sqrt(pi) * integral of e^(-t^2) from 0 to x."""
    return in_blocks(_erf if x.dtype == np.float64 else _erf_single, x)


@one_step("erfc")
def erfc(x: Array) -> Array:
    """y = 1 - erf(x), without loss of digits where that is small."""
    if x.dtype == np.float64:
        return in_blocks(_erfc, x)
    return in_blocks(lambda part: 2 * _normal_cdf_single(part * -math.sqrt(2)), x)


def normal_cdf(x: Any) -> Any:
    """y = erfc(-x / sqrt(2)) / 2: the probability of a normal value below x."""
    if not isinstance(x, np.ndarray):
        return 0.5 * erfc(x * -math.sqrt(0.5))
    if x.dtype == np.float64:
        return in_blocks(lambda part: 0.5 * _erfc(part * -math.sqrt(0.5)), x)
    return in_blocks(_normal_cdf_single, x)


def _ratio(x: Array, coefficients: tuple[Sequence[float], Sequence[float]]) -> Array:
    numerator, denominator = coefficients
    y = polynomial(x, numerator)
    y /= polynomial(x, denominator)
    return y


def _erf(x: Array) -> Array:
    near, far = _erf_near_0, lambda x: np.copysign(1 - _erfc_far(np.abs(x)), x)
    return pieces(x, [np.abs(x) <= 0.46875], [near, far])


def _erfc(x: Array) -> Array:
    return pieces(
        x,
        [np.abs(x) <= 0.46875, x > 0.46875],
        [lambda x: 1 - _erf_near_0(x), _erfc_far, lambda x: 2 - _erfc_far(-x)],
    )


def _erf_near_0(x: Array) -> Array:
    return x * _ratio(x * x, NEAR_0)


def _erfc_far(x: Array) -> Array:
    """Return erfc(x) for x > 0.46875; it is 0 from 27.3 on."""
    x = np.minimum(x, 28.0)
    coarse = np.floor(x * 16) / 16  # its square is exact, so that e^(-x^2) keeps its digits
    e: Array = np.exp(-coarse * coarse) * np.exp((coarse - x) * (coarse + x))
    e *= pieces(x, [x <= 4], [lambda x: _ratio(x, UP_TO_4), _erfc_series])
    return e


def _erfc_series(x: Array) -> Array:
    """Return erfc(x) e^(x^2) = (1/sqrt(pi) - r(1/x^2)) / x, for x > 4."""
    inverse = 1 / (x * x)
    return (1 / math.sqrt(math.pi) - inverse * _ratio(inverse, BEYOND_4)) / x


def _erf_single(x: Array) -> Array:
    x = np.clip(x.astype(np.float32, copy=False), -4, 4)  # the fit is 1 there
    y: Array = x * _ratio(x * x, ERF_SINGLE)
    return np.clip(y, -1, 1, out=y)


def _normal_cdf_single(x: Array) -> Array:
    size = np.abs(x.astype(np.float32, copy=False))
    np.minimum(size, 14.5, out=size)
    y = _ratio(size, NORMAL_SINGLE)
    size *= size
    size *= -0.5
    y *= np.exp(size, out=size)
    np.copysign(y, x + 0.0, out=y)  # -0.0 + 0.0 is 0.0
    return np.subtract(x >= 0, y, out=y)  # 1 - y above 0, and y below it


# Wichura 1988, algorithm AS 241, "The percentage points of the normal distribution", Applied
# Statistics 37: numerator and denominator of the quantile, in the centre and in two tails.
CENTRE = (
    (3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
TAIL = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550,
     3.64784832476320460504, 1.27045825245236838258, 0.241780725177450611770,
     0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4,
     1.05075007164441684324e-9),
)  # fmt: skip
FAR_TAIL = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580,
     0.296560571828504891230, 0.0265321895265761230930, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15),
)  # fmt: skip


def erfinv(y: Array) -> Array:
    """x = the number with erf(x) = y; infinite at -1 and 1, NaN beyond."""
    return in_blocks(_erfinv if y.dtype == np.float64 else _erfinv_single, y)


def _erfinv(y: Array) -> Array:
    centre, tail = _erfinv_centre, lambda y: np.copysign(_erfinv_tail(np.abs(y)), y)
    x = pieces(y, [np.abs(y) <= 0.85], [centre, tail])
    return x * math.sqrt(0.5)  # the quantile is that of (1 + y) / 2


def _erfinv_centre(y: Array) -> Array:
    half = y / 2
    return half * _ratio(0.180625 - half * half, CENTRE)


def _erfinv_tail(y: Array) -> Array:
    depth = np.sqrt(-np.log((1 - y) / 2))
    return pieces(
        depth,
        [depth <= 5, depth == np.inf],
        [lambda r: _ratio(r - 1.6, TAIL), np.inf, lambda r: _ratio(r - 5, FAR_TAIL)],
    )


# Giles 2010, "Approximating the erfinv function", GPU Computing Gems: erfinv(y) / y for float32, in
# w = -ln(1 - y^2): in w - 2.5 below 5, and in sqrt(w) - 3 from there on.
ERFINV_SINGLE = (
    1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 2.1858087e-4, -4.39150654e-6,
    -3.5233877e-6, 3.43273939e-7, 2.81022636e-8,
)  # fmt: skip
ERFINV_TAIL_SINGLE = (
    2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844,
    0.00134934322, 1.00950558e-4, -2.00214257e-4,
)  # fmt: skip


def _erfinv_single(y: Array) -> Array:
    y = y.astype(np.float32, copy=False)
    w = -np.log((1 - y) * (1 + y))
    tail = polynomial(np.sqrt(w) - 3, ERFINV_TAIL_SINGLE)
    x = np.where(w < 5, polynomial(w - 2.5, ERFINV_SINGLE), tail)
    return y * np.where(w < np.inf, x, w)


# --- the gamma function's family ------------------------------------------------------------------

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
"""B[2], B[4], ..., B[18]: all three functions below have them in their asymptotic series."""

ASYMPTOTIC = 10
"""From here on nine terms of an asymptotic series give all digits."""


@one_step("lgamma")
def lgamma(x: Array) -> Array:
    """y = ln |Gamma(x)|; infinite at 0, -1, -2, ..."""
    return _in_double(_lgamma, x)


def _lgamma(x: Array) -> Array:
    size = np.abs(x)
    y = pieces(size, [size < ASYMPTOTIC], [_lgamma_small, _lgamma_large])
    # Gamma(x) Gamma(-x) = -pi / (x sin(pi x))
    reflected = -np.log(np.abs(_sine(x)) / math.pi) - np.log(size) - y
    return np.where((x < 0) & (size < np.inf), reflected, y)


def _lgamma_large(x: Array) -> Array:
    """Return (x - 1/2) ln x - x + ln(2 pi) / 2 + sum_k B[2k] / (2k (2k-1) x^(2k-1)) (Stirling)."""
    series = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, start=1)]
    inverse = 1 / x
    y = (x - 0.5) * (np.log(x) - 1) + polynomial(inverse * inverse, series) * inverse
    return np.where(x < np.inf, y + (math.log(2 * math.pi) - 1) / 2, x)


def _lgamma_small(x: Array) -> Array:
    """Return ln Gamma(2 + w) + ln((2 + w) (3 + w) ... (x - 1)), where w = x - round(x).

    The first is w (1 - gamma + sum_k (-1)^k (zeta(k) - 1) w^(k-1) / k), so it is exact near its 0.
    """
    n = np.rint(x)
    w = x - n
    product = np.ones_like(x)
    for factor in range(2, ASYMPTOTIC):
        product *= 1 + (factor < n) * (w + (factor - 1))  # quicker than np.where
    missing = np.where(n < 2, x, 1) * np.where(n < 1, 1 + x, 1)
    y = polynomial(w, _logarithm_of_gamma())
    y *= w
    y += np.log(product)
    y -= np.log(missing)
    return y


@cache
def _logarithm_of_gamma() -> list[float]:
    """Return the coefficients of ln Gamma(2 + w) / w."""
    at_2 = np.array([2.0])
    return [1 - np.euler_gamma, *((-1) ** k * _zeta(k, at_2).item() / k for k in range(2, 28))]


def digamma(x: Array) -> Array:
    """y = d/dx ln Gamma(x); infinite at 0, NaN at -1, -2, ..."""
    return _in_double(_digamma, x)


def _digamma(x: Array) -> Array:
    y, shifted = np.zeros_like(x), np.where(x < 0, 1 - x, x)
    for _ in range(ASYMPTOTIC):  # psi(x) = psi(x + 1) - 1 / x
        y -= 1 / shifted
        shifted += 1
    series = [b / (2 * k) for k, b in enumerate(BERNOULLI, start=1)]
    inverse = 1 / shifted
    square = inverse * inverse
    y += np.log(shifted) - inverse / 2 - square * polynomial(square, series)
    pole = (x < 0) & (x == np.rint(x))
    return np.where(x < 0, y - np.where(pole, np.nan, math.pi * _cotangent(x)), y)


def polygamma(n: int, x: Array) -> Array:
    """y = d^(n+1)/dx^(n+1) ln Gamma(x), for n >= 0."""
    return digamma(x) if n == 0 else _in_double(lambda part: _polygamma(n, part), x)


def _polygamma(n: int, x: Array) -> Array:
    sign = (-1) ** (n + 1)
    y: Array = sign * math.factorial(n) * _zeta(n + 1, np.where(x < 0, 1 - x, x))
    cotangent = np.polynomial.Polynomial([0, 1])  # its derivatives are polynomials of itself
    for _ in range(n):
        cotangent = -math.pi * np.polynomial.Polynomial([1, 0, 1]) * cotangent.deriv()
    reflected = [lambda x: -math.pi * polynomial(_cotangent(x), cotangent.coef.tolist()), 0]
    y = np.where(x < 0, pieces(x, [x < 0], reflected) - sign * y, y)
    return np.where((x <= 0) & (x == np.rint(x)), sign * np.inf, y)


def _zeta(s: int, x: Array) -> Array:
    """y = sum_k (x + k)^-s for k = 0, 1, ...: Hurwitz's zeta function, by Euler and Maclaurin."""
    y = np.zeros_like(x)
    for k in range(ASYMPTOTIC):
        y += _power(1 / (x + k), s)
    inverse = 1 / (x + ASYMPTOTIC)
    y += _power(inverse, s - 1) * (1 / (s - 1) + inverse / 2)
    power, square = _power(inverse, s + 1), inverse * inverse
    rising = float(s)  # s (s + 1) ... (s + 2j - 2)
    for j, b in enumerate(BERNOULLI, start=1):
        y += (b * rising / math.factorial(2 * j)) * power
        power *= square
        rising *= (s + 2 * j - 1) * (s + 2 * j)
    return y


def _power(x: Array, n: int) -> Array:
    """Return x^n by multiplication, which is many times quicker than `**`."""
    y = x.copy()
    for _ in range(n - 1):
        y *= x
    return y


def _sine(x: Array) -> Array:
    """Return sin(pi x) up to its sign, exactly 0 for integers."""
    return np.sin(math.pi * (x - np.rint(x)))


def _cotangent(x: Array) -> Array:
    """Return cot(pi x)."""
    return 1 / np.tan(math.pi * (x - np.rint(x)))
