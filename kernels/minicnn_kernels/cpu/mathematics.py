"""Elementary functions that a compiled loop evaluates for many numbers at once.

A loop that calls the C library does one number at a time.  These are arithmetic without branches,
so that LLVM turns a loop around them into vector instructions: reduce the argument to a small
interval, evaluate a polynomial there, undo the reduction.  float32 is right to 2 units in the last
place, denormal numbers, NaN and Inf included (sin, cos and tan: for |x| < 2^50); other types
take NumPy's function, or the C library's.

The polynomials were fitted for this file, with the least largest relative error, the lowest power
first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from minicnn_kernels.cpu.jit import EXACT

# Whatever the caller's are: if sums were reordered, what they lose could not be found again.
OPTIONS = {"fastmath": set(EXACT), "error_model": "numpy", "forceinline": True}


def elementary(other: Callable[[Any], Any]) -> Callable[[Callable[[Any], Any]], Any]:
    """Take the decorated formula for float32 in compiled code, `other` for all else."""

    def decorate(single: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def function(x: Any) -> Any:
            return other(x)

        @overload(function, jit_options=OPTIONS)
        def _(x: Any) -> Callable[[Any], Any]:
            return single if x == types.float32 else function

        function.__name__ = function.__qualname__ = single.__name__
        function.__doc__ = single.__doc__
        return function

    return decorate


def elementary_of_two(
    other: Callable[[Any, Any], Any],
) -> Callable[[Callable[[Any, Any], Any]], Any]:
    """Take the decorated formula for two float32 in compiled code, `other` for all else."""

    def decorate(single: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def function(a: Any, b: Any) -> Any:
            return other(a, b)

        @overload(function, jit_options=OPTIONS)
        def _(a: Any, b: Any) -> Callable[[Any, Any], Any]:
            return single if (a, b) == (types.float32, types.float32) else function

        function.__name__ = function.__qualname__ = single.__name__
        function.__doc__ = single.__doc__
        return function

    return decorate


def floats(*numbers: float) -> tuple[np.float32, ...]:
    """Return the numbers as float32: a bare one would turn a formula to float64."""
    return tuple(np.float32(number) for number in numbers)


ZERO, HALF, ONE, TWO, INF, NAN = floats(0, 0.5, 1, 2, np.inf, np.nan)
TINY = np.float32(2**-25)  # many a function is x itself below this; so -0 keeps its sign


@register_jitable(**OPTIONS)
def polynomial(x: Any, coefficients: Any) -> Any:
    """y = c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule."""
    y = coefficients[-1]
    for i in range(len(coefficients) - 2, -1, -1):
        y = y * x + coefficients[i]
    return y


@register_jitable(**OPTIONS)
def with_sign_of(x: Any, y: Any) -> Any:
    """Return -y for negative x, else y."""
    return -y if x < ZERO else y


# --- extremes -------------------------------------------------------------------------------------


def llvm_function(name: str) -> Any:
    """Return LLVM's function of two floating-point numbers of one type."""

    @intrinsic
    def function(context: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = arguments[0].type
            declared = ir.FunctionType(kind, [kind, kind])
            llvm = builder.module.declare_intrinsic(name, [kind], declared)
            return builder.call(llvm, arguments, fastmath=("nsz",))

        return a(a, b), code

    return function


# The larger and the smaller of two numbers, NaN if there is one; also a loop that looks for the
# largest of many becomes vector instructions, which a comparison would prevent.
maximum, minimum = llvm_function("llvm.maximum"), llvm_function("llvm.minimum")


# --- powers ---------------------------------------------------------------------------------------

ROUND = np.float32(1.5 * 2**23)  # a number plus this is whole; it stands in the lowest bits
ROUND_BITS = ROUND.view(np.int32)
LOG2_E, LN2_HIGH, LN2_LOW = floats(1 / math.log(2), 0.693359375, math.log(2) - 0.693359375)
EXP_LEAST, EXP_MOST = floats(-104, 88.8)  # beyond, e^x is 0 or infinite
EXP_LEAST_NORMAL = np.float32(-87.33)
EXP2_LEAST, EXP2_MOST = floats(-151, 128.5)
EXPM1_LEAST = np.float32(-20)  # beyond, e^x - 1 is -1
EXP = floats(0.500000006, 0.166665425, 0.0416662807, 0.00836664431, 0.00139465522)
EXP2 = floats(
    0.693147181, 0.240226511, 0.0555041096, 0.00961803691, 0.00133334308, 1.54671107e-4, 1.531495e-5
)


@register_jitable(**OPTIONS)
def power_of_2(n: Any) -> Any:
    """Return 2^n for -127 < n < 128: the exponent's bits alone."""
    return np.int32((n + 127) << 23).view(np.float32)


@register_jitable(**OPTIONS)
def times_power_of_2(y: Any, n: Any) -> Any:
    """Return y * 2^n, in two steps, for 2^n alone may be too large or too small."""
    half = np.int32(n >> 1)
    return y * power_of_2(half) * power_of_2(np.int32(n - half))


@register_jitable(**OPTIONS)
def round_to_integer(x: Any) -> Any:
    """Return the nearest whole number as float32 and as int32, for |x| < 2^22."""
    shifted = x + ROUND
    return shifted - ROUND, np.int32(np.float32(shifted).view(np.int32) - ROUND_BITS)


@register_jitable(**OPTIONS)
def exp_parts(x: Any) -> Any:
    """Return n and e^r - 1 with x = n ln 2 + r, |r| <= ln 2 / 2."""
    whole, n = round_to_integer(x * LOG2_E)
    r = x - whole * LN2_HIGH - whole * LN2_LOW
    return n, r + r * r * polynomial(r, EXP)


@elementary(np.exp)
def exp(x: Any) -> Any:
    """e^x = 2^n e^r."""
    outside = x < EXP_LEAST or x > EXP_MOST
    n, tail = exp_parts(ZERO if outside else x)
    y = times_power_of_2(ONE + tail, n)
    return (ZERO if x < ZERO else INF) if outside else y


@elementary(np.exp)
def exp_below_0(x: Any) -> Any:
    """e^x for x <= 0, two thirds of the work of `exp`; 0 instead of a denormal number."""
    outside = x < EXP_LEAST_NORMAL
    n, tail = exp_parts(ZERO if outside else x)
    return ZERO if outside else (ONE + tail) * power_of_2(n)


@elementary(np.exp2)
def exp2(x: Any) -> Any:
    """2^x = 2^n 2^r with n = round(x)."""
    outside = x < EXP2_LEAST or x > EXP2_MOST
    held = ZERO if outside else x
    whole, n = round_to_integer(held)
    r = held - whole
    y = times_power_of_2(ONE + r * polynomial(r, EXP2), n)
    return (ZERO if x < ZERO else INF) if outside else y


@elementary(np.expm1)
def expm1(x: Any) -> Any:
    """e^x - 1 = 2^n (e^r - 1) + 2^n - 1, by halves: 2^n alone may be too large."""
    held = EXPM1_LEAST if x < EXPM1_LEAST else x
    n, tail = exp_parts(EXP_MOST if held > EXP_MOST else held)
    scale = power_of_2(np.int32(n - 1))
    y = (scale * tail + (scale - HALF)) * TWO
    return x if abs(x) < TINY else y


# --- logarithms -----------------------------------------------------------------------------------

LEAST_NORMAL = np.float32(2**-126)
TWO_TO_23, TWENTY_THREE = floats(2**23, 23)
ROOT_HALF_BITS = np.float32(math.sqrt(0.5)).view(np.int32)
LOG = floats(
    0.333333124, -0.250000096, 0.200021337, -0.166680067, 0.142192223, -0.124051365, 0.118903395,
    -0.116796549, 0.0674656618,
)  # fmt: skip
LOG10_E = np.float32(math.log10(math.e))
LOG10_2_HIGH, LOG10_2_LOW = floats(0.30078125, math.log10(2) - 0.30078125)


@register_jitable(**OPTIONS)
def log_parts(x: Any) -> Any:
    """Return e, f and log(1 + f) - f with x = 2^e (1 + f), -0.3 < f < 0.42."""
    denormal = x < LEAST_NORMAL
    bits = np.float32(x * TWO_TO_23 if denormal else x).view(np.int32)
    e = np.int32(np.int32(bits - ROOT_HALF_BITS) >> 23)
    f = np.int32(bits - np.int32(e << 23)).view(np.float32) - ONE
    tail = f * f * (f * polynomial(f, LOG) - HALF)
    return np.float32(e) - (TWENTY_THREE if denormal else ZERO), f, tail


@register_jitable(**OPTIONS)
def log_at_edges(x: Any, y: Any) -> Any:
    """Return y where a logarithm of x is finite, else what it is there: Inf, -Inf or NaN."""
    outside = -INF if x == ZERO else (x if x == INF else NAN)
    return y if x > ZERO and x < INF else outside


@elementary(np.log)
def log(x: Any) -> Any:
    """log x = e log 2 + log(1 + f)."""
    e, f, tail = log_parts(x)
    return log_at_edges(x, e * LN2_HIGH + (f + (tail + e * LN2_LOW)))


@elementary(np.log2)
def log2(x: Any) -> Any:
    """log2 x = e + log(1 + f) / log 2."""
    e, f, tail = log_parts(x)
    return log_at_edges(x, e + (f + tail) * LOG2_E)


@elementary(np.log10)
def log10(x: Any) -> Any:
    """log10 x = e log10 2 + log(1 + f) / log 10."""
    e, f, tail = log_parts(x)
    return log_at_edges(x, e * LOG10_2_HIGH + (f * LOG10_E + (tail * LOG10_E + e * LOG10_2_LOW)))


@elementary(np.log1p)
def log1p(x: Any) -> Any:
    """log(1 + x) = log u + c / u with u = 1 + x rounded, and c what the rounding has lost."""
    u = ONE + x
    y = log(u)
    near = y + (x - (u - ONE)) / u
    return x if abs(x) < TINY else (near if abs(y) < INF else y)


# --- bounded functions ----------------------------------------------------------------------------

TANH_BOUND = np.float32(0.55)
TANH = floats(-0.333333176, 0.133325861, -0.053852308, 0.0210716716, -0.0062742294)
ERF_BOUND = np.float32(0.95)
ERF_NEAR = floats(
    0.128379166, -0.376126318, 0.112836659, -0.0268577766, 0.0051970826, -8.09884871e-4, 8.188965e-5
)
ERF_FAR = floats(
    1.12863707, 0.63519804, 0.106159039, -0.0236945574, 0.00361033783, -3.14857086e-4, 1.043301e-5
)
ERF_MOST = np.float32(4)  # beyond, erf(x) is 1
ERFC = (
    1.2530080591221335, -0.13562113929909228, -0.047562399443997365, 0.129646414537712,
    -0.11927097531543689, 0.06829576720033571, -0.02379753005144716, 0.0025673785716361,
    0.0020018120302319467, -0.0007775854011680161, -0.00026812888587293227,
)  # fmt: skip
ERFC_MOST = np.float32(10.1)  # beyond, erfc(x) is 0


@elementary(np.tanh)
def tanh(x: Any) -> Any:
    """tanh x = 1 - 2 / (e^(2x) + 1); a polynomial where that would be small."""
    square = x * x
    near = x + x * (square * polynomial(square, TANH))
    far = with_sign_of(x, ONE - TWO / (exp(TWO * abs(x)) + ONE))
    return x if abs(x) < TINY else (near if abs(x) < TANH_BOUND else far)


@elementary(math.erf)
def erf(x: Any) -> Any:
    """erf x = 1 - e^(-x p(x)); a polynomial where that would be small."""
    size = abs(x)
    square = x * x
    near = x + x * polynomial(square, ERF_NEAR)
    held = ERF_MOST if size > ERF_MOST else size
    far = with_sign_of(x, ONE - exp(-held * polynomial(held, ERF_FAR)))
    return near if size < ERF_BOUND else far


@elementary(math.erfc)
def erfc(x: Any) -> Any:
    """erfc x = e^(-x^2) p(q) / (1 + 2x),  q = (x - 3) / (x + 3), for x >= 0; 2 - erfc(-x) below.

    All but the exponential is in float64: what x^2 loses by rounding would be large there.
    """
    size = np.float64(ERFC_MOST if abs(x) > ERFC_MOST else abs(x))
    square = np.float32(size * size)
    lost = size * size - np.float64(square)
    scale = polynomial((size - 3.0) / (size + 3.0), ERFC) / (1.0 + 2.0 * size)
    y = np.float64(exp(-square)) * (1.0 - lost) * scale
    return np.float32(2.0 - y if x < ZERO else y)


# --- circular functions ---------------------------------------------------------------------------

# 2 / pi in pieces of 29 bits, so that the product of each with a float32 is exact in float64.
TWO_OVER_PI = (0x145F306D * 2.0**-29, 0x19391054 * 2.0**-58, 0x14FE13AB * 2.0**-87)
SIN = floats(-0.166666549, 0.00833217767, -0.000195172328)
COS = floats(0.0416666469, -0.00138873669, 2.44383768e-05)
TAN = floats(
    0.333333498, 0.133326623, 0.0540600353, 0.021281558, 0.0108374852, 8.73661418e-5, 0.00437736939
)
PI, PI_2, PI_4 = floats(math.pi, math.pi / 2, math.pi / 4)
PI_LOW, PI_2_LOW, PI_4_LOW = floats(
    math.pi - float(PI), math.pi / 2 - float(PI_2), math.pi / 4 - float(PI_4)
)
TAN_PI_8, TAN_3PI_8 = floats(math.sqrt(2) - 1, math.sqrt(2) + 1)
ATAN = floats(-0.333333155, 0.199984883, -0.142438261, 0.105958244, -0.0608298206)
ASIN = floats(0.166666598, 0.0750051703, 0.0445144681, 0.0318286947, 0.0143584623, 0.0376301342)


@register_jitable(**OPTIONS)
def quarter_turns(x: Any) -> Any:
    """Return n modulo 4, and r in float64, with x = n pi/2 + r, |r| <= pi/4.

    The pieces of x * 2 / pi drop their multiples of 4 before they are added up.  What is not there
    of 2 / pi makes an error of |x| / 2^88 quarter turns: none to speak of below 2^50, the
    digits of a small result beyond.
    """
    high, middle, low = TWO_OVER_PI
    size = np.float64(x)
    turns = modulo_4(size * high) + (modulo_4(size * middle) + size * low)
    whole = np.rint(turns)
    _, n = round_to_integer(np.float32(whole))
    return n, (turns - whole) * (math.pi / 2)


@register_jitable(**OPTIONS)
def modulo_4(x: Any) -> Any:
    """Return what is left of x, from -2 to 2, without multiples of 4."""
    return x - 4.0 * np.rint(0.25 * x)


@register_jitable(**OPTIONS)
def sine_near_0(r: Any) -> Any:
    """Return sin r for |r| <= pi/4."""
    square = r * r
    return r + r * (square * polynomial(square, SIN))


@register_jitable(**OPTIONS)
def cosine_near_0(r: Any) -> Any:
    """Return cos r for |r| <= pi/4."""
    square = r * r
    return ONE - HALF * square + square * (square * polynomial(square, COS))


@elementary(np.sin)
def sin(x: Any) -> Any:
    """sin x = sin r, cos r, -sin r, -cos r in the four quarters of a turn."""
    n, turn = quarter_turns(x)
    r = np.float32(turn)
    y = cosine_near_0(r) if n & 1 else sine_near_0(r)
    return x if abs(x) < TINY else (-y if n & 2 else y)


@elementary(np.cos)
def cos(x: Any) -> Any:
    """cos x = cos r, -sin r, -cos r, sin r in the four quarters of a turn."""
    n, turn = quarter_turns(x)
    r = np.float32(turn)
    y = sine_near_0(r) if n & 1 else cosine_near_0(r)
    return -y if (n + 1) & 2 else y


@elementary(np.tan)
def tan(x: Any) -> Any:
    """tan x = tan r, -1 / tan r, in turn."""
    n, turn = quarter_turns(x)
    r = np.float32(turn)
    square = r * r
    y = turn + np.float64(r * (square * polynomial(square, TAN)))
    return x if abs(x) < TINY else np.float32(-1.0 / y if n & 1 else y)


@elementary(np.arctan)
def atan(x: Any) -> Any:
    """atan x = pi/2 + atan(-1 / x) = pi/4 + atan((x - 1) / (x + 1))."""
    size = abs(x)
    large, small = size > TAN_3PI_8, size < TAN_PI_8
    above = -ONE if large else (size if small else size - ONE)
    below = size if large else (ONE if small else size + ONE)
    z = above / below
    square = z * z
    start = PI_2 if large else (ZERO if small else PI_4)
    lost = PI_2_LOW if large else (ZERO if small else PI_4_LOW)
    y = start + (z + (z * (square * polynomial(square, ATAN)) + lost))
    return x if size < TINY else with_sign_of(x, y)


@register_jitable(**OPTIONS)
def asin_parts(x: Any) -> Any:
    """Return whether |x| > 1/2, and asin of |x|, or then of sqrt((1 - |x|) / 2)."""
    size = abs(x)
    large = size > HALF
    square = HALF * (ONE - size) if large else size * size
    root = np.sqrt(square) if large else size
    return large, root + root * (square * polynomial(square, ASIN))


@elementary(np.arcsin)
def asin(x: Any) -> Any:
    """asin x = pi/2 - 2 asin sqrt((1 - x) / 2)."""
    large, y = asin_parts(x)
    ends = PI_2 - TWO * y + PI_2_LOW
    return x if abs(x) < TINY else with_sign_of(x, ends if large else y)


@elementary(np.arccos)
def acos(x: Any) -> Any:
    """acos x = 2 asin sqrt((1 - x) / 2) = pi/2 - asin x."""
    large, y = asin_parts(x)
    ends = PI - TWO * y if x < ZERO else TWO * y
    return ends if large else PI_2 - with_sign_of(x, y)


# --- the gamma function ---------------------------------------------------------------------------

LN2, HALF_LN_2PI = math.log(2), math.log(2 * math.pi) / 2
SHIFT = 7  # below, Gamma(x) is Gamma(x + 7) / (x (x+1) ... (x+6))
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
LOG_DOUBLE = tuple(2 / k for k in range(3, 21, 2))
SINE_OF_PI = tuple((-1) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(9))


@register_jitable(**OPTIONS)
def log_double(x: Any) -> Any:
    """log x = n ln 2 + 2 atanh((m - 1) / (m + 1)), x = m 2^n; to 1e-14, for normal numbers."""
    bits = np.float64(x).view(np.int64)
    n = (bits - 0x3FE6A09E667F3BCD) >> 52  # m lies between sqrt(1/2) and sqrt(2)
    m = np.int64(bits - (n << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    return np.float64(n) * LN2 + (2.0 * s + s * square * polynomial(square, LOG_DOUBLE))


@elementary(math.lgamma)
def lgamma(x: Any) -> Any:
    """ln|Gamma(x)| by Stirling's series; Gamma(x) Gamma(-x) = -pi / (x sin(pi x)) below 0.

    In float64, for it crosses 0 at 1 and 2, and near many a negative number.
    """
    size = np.float64(abs(x))
    z = size + 7.0 if size < 7.0 else size
    product = 1.0
    for k in range(SHIFT):
        product *= size + k
    inverse = 1.0 / z
    series = inverse * polynomial(inverse * inverse, STIRLING)
    stirling = (z - 0.5) * log_double(z) - z + HALF_LN_2PI + series
    r = size - np.rint(size)
    sine = abs(r * polynomial(r * r, SINE_OF_PI))
    divisor = product if size < 7.0 else 1.0
    reflected = math.pi * divisor / (size * sine)
    below = x < ZERO
    argument = reflected if below else divisor
    edge = INF if argument == 0.0 or argument == math.inf or size == math.inf else ZERO
    y = log_double(argument) - stirling if below else stirling - log_double(argument)
    y = 0.0 if abs(y) < 1e-12 else y  # at 1 and 2; no other float32 is so near
    return edge if edge > ZERO else (x if x != x else np.float32(y))


# --- of two numbers -------------------------------------------------------------------------------


@elementary_of_two(np.arctan2)
def atan2(a: Any, b: Any) -> Any:
    """atan2(a, b) = atan(a / b) for b > 0, else half a turn more, with the sign of a."""
    tall, wide = abs(a), abs(b)
    same = tall == wide  # both may be 0, or infinite
    angle = atan(ONE if same and tall > ZERO else (ZERO if same else tall / wide))
    left = math.copysign(ONE, b) < ZERO
    whole = PI - (angle - PI_LOW) if left else angle
    return math.copysign(whole, a) if whole == whole else whole


@elementary_of_two(np.hypot)
def hypot(a: Any, b: Any) -> Any:
    """Return sqrt(a^2 + b^2), in float64, where squares of float32 do not overflow."""
    x, y = np.float64(a), np.float64(b)
    length = np.float32(np.sqrt(x * x + y * y))
    return INF if abs(a) == INF or abs(b) == INF else length


@elementary_of_two(np.logaddexp)
def logaddexp(a: Any, b: Any) -> Any:
    """Return log(e^a + e^b) = max + log(1 + e^-|a - b|)."""
    most = a if a > b else b
    distance = ZERO if a == b else abs(a - b)  # also of two infinite numbers
    return most + log1p(exp(-distance))
