// The instructions that CUDA C++ has no words for, one function each.
//
// Tests compile the same sources for the CPU; these functions then come from the emulation.
#pragma once

using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;

// Dynamic shared memory, as an array of `type` called `name`.
#ifndef MINICNN_EMULATED
#define DYNAMIC_SHARED(type, name)                               \
    extern __shared__ __align__(128) unsigned char name##_bytes[]; \
    type* name = reinterpret_cast<type*>(name##_bytes)
#endif

// A bfloat16 is the upper half of a float: the same range, 8 bits of precision.
struct bf16 {
    uint16 bits;
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __uint_as_float(uint32(x.bits) << 16); }

template <typename T>
__device__ T from_float(float x);

template <>
__device__ inline float from_float<float>(float x) { return x; }

// Round to the nearest bfloat16, ties to even; NaN stays NaN.
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    uint32 bits = __float_as_uint(x);
    if (x != x) return bf16{uint16(bits >> 16 | 0x40)};
    return bf16{uint16((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// A float16 has 11 bits of precision and ends at 65,504.
struct f16 {
    uint16 bits;
};

#ifndef MINICNN_EMULATED
__device__ inline float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

// Round to the nearest float16, ties to even.
template <>
__device__ inline f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
#else
inline float to_float(f16 x) {
    const int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
    const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf(fraction, -24)
                                       : ldexpf(1024 + fraction, exponent - 25);
    return x.bits >> 15 ? -size : size;
}

template <>
inline f16 from_float<f16>(float x) {
    const uint32 bits = __float_as_uint(x), size = bits & 0x7fffffff;
    const uint32 rounded = size + 0xfff + (size >> 13 & 1);
    const uint16 sign = bits >> 16 & 0x8000;
    if (x != x) return f16{0x7fff};
    if (rounded >= 0x47800000) return f16{uint16(sign | 0x7c00)};
    if (size < 0x38800000) return f16{uint16(sign | uint32(rintf(fabsf(x) * 16777216)))};
    return f16{uint16(sign | (rounded >> 13) - (112 << 10))};
}
#endif

#ifdef MINICNN_EMULATED

inline uint32 bf16_pair(float low, float high) {
    return from_float<bf16>(low).bits | uint32(from_float<bf16>(high).bits) << 16;
}

inline void copy_async_16_kept(void* shared, const void* global, bool inside) {
    copy_async_16(shared, global, inside);
}

#elif __CUDA_ARCH__ >= 800

// Round two floats to bfloat16, the first in the lower half.
__device__ inline uint32 bf16_pair(float low, float high) {
    uint32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// Round to TF32, the upper 19 bits of a float, ties away from zero.
__device__ inline uint32 to_tf32(float x) {
    uint32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

// d += a * b over a warp: a is 16 x 8 (row major), b is 8 x 8 (column major), d is 16 x 8.
//
// Lane t holds, with g = t / 4 and q = t % 4: a[g][q], a[g+8][q], a[g][q+4], a[g+8][q+4];
// b[q][g], b[q+4][g]; d[g][2q], d[g][2q+1], d[g+8][2q], d[g+8][2q+1].
__device__ inline void mma_tf32(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a * b over a warp: a is 16 x 16 (row major), b is 16 x 8 (column major), of bfloat16.
//
// Each register holds two values, the one of the smaller k in the lower half: a[g][2q..],
// a[g+8][2q..], a[g][2q+8..], a[g+8][2q+8..]; b[2q..][g], b[2q+8..][g]; d as above.
__device__ inline void mma_bf16(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Copy 16 bytes from global to shared memory without waiting; where `inside` is false write zeros,
// and do not read.  Both addresses are multiples of 16.
__device__ inline void copy_async_16(void* shared, const void* global, bool inside) {
    uint32 to = uint32(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
                 "r"(inside ? 16 : 0));
}

// The same for what this block will read again: it stays in the L1 cache.
__device__ inline void copy_async_16_kept(void* shared, const void* global, bool inside) {
    uint32 to = uint32(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
                 "r"(inside ? 16 : 0));
}

// The same with 4 bytes.
__device__ inline void copy_async_4(void* shared, const void* global, bool inside) {
    uint32 to = uint32(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global),
                 "r"(inside ? 4 : 0));
}

// Put the copies since the last call into one group.
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;"); }

// Wait until at most `newest` groups of this thread are on their way.
template <int newest>
__device__ inline void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(newest));
}

#endif
