// Implicit GEMM on tensor cores, for cards from compute capability 8.0 on.
//
// Values come to shared memory as they are, by cp.async, three chunks of 64 bytes a line ahead of
// the one that is multiplied.  Their order within a chunk is free, as long as it is the same for
// both factors; and so is that of rows and columns within 32.  Both are chosen so that a lane reads
// what it needs 16 bytes at a time, all lanes from different banks, and writes 4 neighbours of y.
#pragma once
#include "implicit_gemm.cuh"

#if MINICNN_EMULATED || __CUDA_ARCH__ >= 800

constexpr int STAGES = 4;

// --- math modes ----------------------------------------------------------------------------------
//
// A lane has four 32-bit words of a line of a chunk.  `prepare` makes of them what mma takes, two
// words for each STEP; PARTS is 2 if a value is a sum of two.  A product has TERMS products.

// Multiply with what rounds to TF32, 11 bits, once the tensor core has cut off the other 13.  To add
// ln 2 of half a unit rounds up as often as down, in one instruction where cvt.rna takes three; what
// has 11 bits already, infinity and NaN stay what they are.
__device__ inline float near_tf32(float x) { return fmaf(x, 0.6931472f / 2048, x); }

struct Tf32 {
    using T = float;
    static constexpr int STEPS = 2, PARTS = 1, TERMS = 1;

    __device__ static void prepare(const uint32 (&words)[4], uint32 (&factor)[PARTS][STEPS][2]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            factor[0][i / 2][i % 2] = __float_as_uint(near_tf32(__uint_as_float(words[i])));
        }
    }
    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
        mma_tf32(sums, a, b);
    }
};

// A float is the sum of two TF32, but for its last two bits; the product of the small parts is left
// out.  Infinity becomes NaN.
struct Tf32x3 : Tf32 {
    static constexpr int PARTS = 2, TERMS = 3;

    __device__ static void prepare(const uint32 (&words)[4], uint32 (&factor)[PARTS][STEPS][2]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float value = __uint_as_float(words[i]);
            uint32 large = __float_as_uint(near_tf32(value)) & 0xffffe000;
            factor[0][i / 2][i % 2] = large;
            factor[1][i / 2][i % 2] = __float_as_uint(value - __uint_as_float(large));
        }
    }
};

// Arrays of float32, rounded to bfloat16 on their way.
struct Bf16OfFloat {
    using T = float;
    static constexpr int STEPS = 1, PARTS = 1, TERMS = 1;

    __device__ static void prepare(const uint32 (&words)[4], uint32 (&factor)[PARTS][STEPS][2]) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            factor[0][0][i] = bf16_pair(__uint_as_float(words[2 * i]),
                                        __uint_as_float(words[2 * i + 1]));
        }
    }
    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
        mma_bf16(sums, a, b);
    }
};

// Arrays of bfloat16.
struct Bf16 {
    using T = bf16;
    static constexpr int STEPS = 2, PARTS = 1, TERMS = 1;

    __device__ static void prepare(const uint32 (&words)[4], uint32 (&factor)[PARTS][STEPS][2]) {
#pragma unroll
        for (int i = 0; i < 4; i++) factor[0][i / 2][i % 2] = words[i];
    }
    __device__ static void multiply(float (&sums)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
        mma_bf16(sums, a, b);
    }
};

// --- tiles in shared memory ----------------------------------------------------------------------
//
// A tile has 4 units of 16 bytes for each of LINES lines.  If neighbours in memory belong to the
// sum, a line's units lie side by side.  Else (INNER) the units of one k do: there lanes read four
// k at once, and to find them in different banks the units change places by k.

template <bool INNER, int LINES, int UNIT>
__device__ int unit_of(int line, int k) {
    return INNER ? k * (LINES / UNIT) + (line / UNIT ^ k / UNIT % 4 * 2) : line * 4 + k / UNIT;
}

// Which of 32 lines a lane holds as number e of 4, where g is lane / 4.
template <bool INNER>
__device__ int line_of(int e, int g) {
    return INNER ? 4 * g + e : e / 2 * 16 + g / 2 * 4 + e % 2 * 2 + g % 2;
}

template <typename T, class Units>
__device__ void copy_tile(T* tile, const Units& units, int from) {
    constexpr int UNIT = 16 / sizeof(T), LINES = Units::LINES, STEP = Units::STEP;
    const auto& source = units.source;
    int first = unit_of<Units::INNER, LINES, UNIT>(units.line, units.k);
    units.each(from, [&](int i, const auto& row, const Column& column, int j) {
        // What unit_of would say: k is below STEP and that a multiple of UNIT, or of UNIT * 4 a part.
        int unit = Units::INNER ? (first ^ i * STEP / UNIT % 4 * 2) + i * STEP * (LINES / UNIT)
                                : first + i * STEP * 4;
        static_assert(!Units::INNER || (STEP % UNIT == 0 && (STEP & (STEP - 1)) == 0), "carries");
        T* place = tile + unit * UNIT;
        if (source.vectors) {
            bool inside = source.inside(row, column);
            if constexpr (Units::SEEN_AGAIN) {
                copy_async_16_kept(place, row.start + column.offset, inside);
            } else {
                copy_async_16(place, row.start + column.offset, inside);
            }
            return;
        }
        j = afresh(j);
#pragma unroll
        for (int e = 0; e < UNIT; e++) {
            Column next = source.column(j + e);
            const T* value = row.start + next.offset;
            bool inside = source.inside(row, next);
            if constexpr (sizeof(T) == 4) copy_async_4(place + e, value, inside);
            else place[e] = inside ? *value : T{};
        }
    });
}

// Read four words for each of the lane's 4 lines among the 32 from `first` on.
template <bool INNER, int LINES, typename T>
__device__ void read_words(uint32 (&words)[4][4], const T* tile, int first, int lane) {
    constexpr int UNIT = 16 / sizeof(T);
    int g = lane / 4, q = lane % 4;
    if constexpr (!INNER) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int unit = unit_of<false, LINES, UNIT>(first + line_of<false>(e, g), q * UNIT);
            uint4 four = *reinterpret_cast<const uint4*>(tile + unit * UNIT);
            words[e][0] = four.x;
            words[e][1] = four.y;
            words[e][2] = four.z;
            words[e][3] = four.w;
        }
    } else if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int unit = unit_of<true, LINES, UNIT>(first + 4 * g, q * UNIT + i);
            uint4 four = *reinterpret_cast<const uint4*>(tile + unit * UNIT);
            words[0][i] = four.x;
            words[1][i] = four.y;
            words[2][i] = four.z;
            words[3][i] = four.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int k = q * UNIT + 2 * i, half = g % 2 * 4;
            int unit = unit_of<true, LINES, UNIT>(first + 4 * g, k);
            const T* place = tile + unit * UNIT + half;
            uint2 even = *reinterpret_cast<const uint2*>(place);
            uint2 odd = *reinterpret_cast<const uint2*>(place + LINES);
            words[0][i] = (even.x & 0xffff) | odd.x << 16;
            words[1][i] = even.x >> 16 | (odd.x & 0xffff0000);
            words[2][i] = (even.y & 0xffff) | odd.y << 16;
            words[3][i] = even.y >> 16 | (odd.y & 0xffff0000);
        }
    }
}

// Add the products of a chunk to 16 rows of sums.
template <class Math, int WIDE>
__device__ void add_products(float (&sums)[WIDE][4],
                             const uint32 (&left)[2][Math::PARTS][Math::STEPS][2],
                             const uint32 (&right)[WIDE][Math::PARTS][Math::STEPS][2]) {
    // A tensor core cuts off what does not fit a sum, always towards zero.  Where that matters, it
    // only adds up a chunk, and ordinary additions, which round, the chunks.
    constexpr bool APART = Math::TERMS > 1;
    float apart[WIDE][4] = {};
    float(&target)[WIDE][4] = APART ? apart : sums;
#pragma unroll
    for (int step = 0; step < Math::STEPS; step++)
#pragma unroll
        for (int term = 0; term < Math::TERMS; term++) {  // the large ones last
            int a_part = Math::TERMS == 3 && term == 0, b_part = Math::TERMS == 3 && term == 1;
            const auto& upper = left[0][a_part][step];
            const auto& lower = left[1][a_part][step];
            const uint32 four[4] = {upper[0], lower[0], upper[1], lower[1]};
#pragma unroll
            for (int n = 0; n < WIDE; n++) {
                Math::multiply(target[n], four, right[n][b_part][step]);
            }
        }
    if constexpr (APART) {
#pragma unroll
        for (int n = 0; n < WIDE; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[n][e] += apart[n][e];
    }
}

// --- a block -------------------------------------------------------------------------------------

template <class Math, Pass PASS, int ROWS, int COLUMNS, int DOWN, int ACROSS>  // so many warps
__device__ void convolve(const typename Math::T* a, const typename Math::T* b,
                         typename Math::T* y, const typename Math::T* bias,
                         const typename Math::T* add, float* parts, int relu,
                         const Problem& problem) {
    using T = typename Math::T;
    using F = Factors<PASS, T>;
    constexpr int THREADS = DOWN * ACROSS * 32, UNIT = 16 / sizeof(T), CHUNK = 4 * UNIT;
    constexpr int STAGE = (ROWS + COLUMNS) * CHUNK;
    constexpr int TALL = ROWS / DOWN, WIDE = COLUMNS / ACROSS;  // what a warp computes
    DYNAMIC_SHARED(T, stages);

    const Block block = block_of<PASS>(problem);
    Place place = place_of<ROWS, COLUMNS>(problem);
    if (place.row >= block.rows) return;
    auto a_source = F::a(a, place.group, block, problem);
    auto b_source = F::b(b, place.group, block, problem);
    Loader<decltype(a_source), F::a_inner, ROWS, CHUNK, UNIT, THREADS> a_units(a_source, place.row);
    Loader<decltype(b_source), F::b_inner, COLUMNS, CHUNK, UNIT, THREADS> b_units(b_source,
                                                                                   place.column);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = warp / ACROSS * TALL, column = warp % ACROSS * WIDE;
    float sums[TALL / 16][WIDE / 8][4] = {};
    for (int chunk = 1 - STAGES; block.begin + chunk * CHUNK < block.end; chunk++) {
        if (chunk >= 0) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();  // all of it has come, and all threads are done with the stage before
        }
        int next = chunk + STAGES - 1, k = block.begin + next * CHUNK;
        if (k < block.end) {
            T* stage = stages + next % STAGES * STAGE;
            copy_tile(stage, a_units, k);
            copy_tile(stage + ROWS * CHUNK, b_units, k);
        }
        copy_async_commit();  // a group even if it is empty, so that they can be counted
        if (chunk < 0) continue;

        const T* a_tile = stages + chunk % STAGES * STAGE;
        const T* b_tile = a_tile + ROWS * CHUNK;
        uint32 right[WIDE / 8][Math::PARTS][Math::STEPS][2];
#pragma unroll
        for (int n = 0; n < WIDE / 32; n++) {
            uint32 words[4][4];
            read_words<F::b_inner, COLUMNS>(words, b_tile, column + 32 * n, lane);
#pragma unroll
            for (int e = 0; e < 4; e++) Math::prepare(words[e], right[4 * n + e]);
        }
#pragma unroll
        for (int m = 0; m < TALL / 32; m++) {
            uint32 words[4][4];
            read_words<F::a_inner, ROWS>(words, a_tile, row + 32 * m, lane);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32 left[2][Math::PARTS][Math::STEPS][2];
                Math::prepare(words[2 * i], left[0]);
                Math::prepare(words[2 * i + 1], left[1]);
                add_products<Math>(sums[2 * m + i], left, right);
            }
        }
    }

    // The sums go through shared memory, as many rows as it holds, and are written in whole rows.
    // There, too, units change places, by a bit in which rows that are stored together differ.
    constexpr int ROOM = STAGES * STAGE * int(sizeof(T)) / (4 * COLUMNS);
    constexpr int HEIGHT = ROOM >= ROWS ? ROWS : ROWS / 2;
    static_assert(HEIGHT <= ROOM && HEIGHT % TALL == 0, "sums do not fit");
    auto unit_of_sums = [](int line, int unit) {
        int swap = (line ^ line / 4) & 1;
        return line * (COLUMNS / 4) + (unit ^ (F::b_inner ? swap : swap * 4));
    };
    float4* tile = reinterpret_cast<float4*>(stages);
    int g = lane / 4, q = lane % 4;
    place = place_of<ROWS, COLUMNS>(problem);
    const Result<T> result(y, bias, add, parts, relu, place.group, block, problem);
#pragma unroll 1
    for (int from = 0; from < ROWS; from += HEIGHT) {
        __syncthreads();
        if (row >= from && row < from + HEIGHT) {
#pragma unroll
            for (int m = 0; m < TALL / 16; m++)
#pragma unroll
                for (int half = 0; half < 2; half++)
#pragma unroll
                    for (int n = 0; n < WIDE / 16; n++) {  // of 4 columns
                        int line = row - from + m / 2 * 32;
                        line += line_of<F::a_inner>(m % 2 * 2 + half, g);
                        int first = column + n / 2 * 32;
                        first += F::b_inner ? q * 8 + n % 2 * 4 : n % 2 * 16 + q * 4;
                        float four[4];
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            four[e] = F::b_inner ? sums[m][n / 2 * 4 + e][2 * half + n % 2]
                                                 : sums[m][n * 2 + e / 2][2 * half + e % 2];
                        }
                        tile[unit_of_sums(line, first / 4)] =
                            make_float4(four[0], four[1], four[2], four[3]);
                    }
        }
        __syncthreads();
#pragma unroll 2
        for (int i = threadIdx.x; i < HEIGHT * COLUMNS / 4; i += THREADS) {
            int line = i / (COLUMNS / 4), unit = i % (COLUMNS / 4);
            int at = place.row + from + line;
            if (at >= block.rows) break;
            result.write(result.start(at), place.column + 4 * unit, tile[unit_of_sums(line, unit)]);
        }
    }
}

#define CONVOLVE(name, MATH, PASS, ROWS, COLUMNS, DOWN, ACROSS, BLOCKS)                          \
    extern "C" __global__ void __launch_bounds__(DOWN* ACROSS * 32, BLOCKS)                      \
    name(const MATH::T* a, const MATH::T* b, MATH::T* y, const MATH::T* bias,                    \
         const MATH::T* add, float* parts, int relu, Problem problem) {                          \
        convolve<MATH, PASS, ROWS, COLUMNS, DOWN, ACROSS>(a, b, y, bias, add, parts, relu,       \
                                                          problem);                              \
    }

#else

#define CONVOLVE(name, MATH, PASS, ROWS, COLUMNS, DOWN, ACROSS, BLOCKS)

#endif

#define CONVOLVE_PASSES(math, MATH, ROWS, COLUMNS, DOWN, ACROSS, BLOCKS)                         \
    CONVOLVE(conv_##math##_##ROWS##x##COLUMNS, MATH, FORWARD, ROWS, COLUMNS, DOWN, ACROSS,       \
             BLOCKS)                                                                             \
    CONVOLVE(conv_input_##math##_##ROWS##x##COLUMNS, MATH, INPUT, ROWS, COLUMNS, DOWN, ACROSS,   \
             BLOCKS)                                                                             \
    CONVOLVE(conv_weight_##math##_##ROWS##x##COLUMNS, MATH, WEIGHT, ROWS, COLUMNS, DOWN, ACROSS, \
             BLOCKS)
