// Normalisation of columns: groups are the values of one or a few neighbouring columns.
//
// x is seen as pieces of rows of columns; each piece has its own groups.  In batch normalisation of
// images with their channels last there is one piece, its rows are the pixels of all images, and a
// group is a column; in group normalisation a piece is an image, and a group some columns.  A block
// goes over a chunk of rows of some columns; what the chunks have found is put together by another
// kernel, in the order of the chunks, so that sums come out the same every time.
#include "columns.cuh"
#include "team.cuh"

const int ROWS = 64;  // of a thread, which are added up around the same center

// --- moments -------------------------------------------------------------------------------------

// Mean and squared distances to it of some values.  The mean is center + offset: center is one of
// the values, or near them, so that a large mean costs no digits.
struct Moments {
    float center, offset, squares, count;
};

// Return the moments of all values of a and b (Chan, Golub, LeVeque 1979).
__device__ inline Moments together(const Moments& a, const Moments& b) {
    if (b.count == 0.0f) return a;
    if (a.count == 0.0f) return b;
    float step = (b.center - a.center) + (b.offset - a.offset);
    float count = a.count + b.count, share = b.count / count;
    return {a.center, a.offset + step * share,
            a.squares + b.squares + step * step * a.count * share, count};
}

// Return the moments of all lanes of a warp, to its first lane.
__device__ inline Moments of_warp(Moments m) {
    for (int half = 16; half > 0; half /= 2) {
        Moments other = {
            __shfl_down_sync(0xffffffff, m.center, half),
            __shfl_down_sync(0xffffffff, m.offset, half),
            __shfl_down_sync(0xffffffff, m.squares, half),
            __shfl_down_sync(0xffffffff, m.count, half),
        };
        m = together(m, other);
    }
    return m;
}

// --- forward -------------------------------------------------------------------------------------

// Return which of a piece's groups a column belongs to, counted over all pieces.
__device__ inline int group_of(const Columns& in, int piece, int column) {
    return piece * (in.columns / in.group) + column / in.group;
}

// The result is (x - center) * scale + shift, rounded the same wherever it is computed.
struct Numbers {
    float center, scale, shift;
};

__device__ inline float scaled(float x, const Numbers& by) {
    return fmaf(x - by.center, by.scale, by.shift);
}

__device__ inline float inverse_of(float var, float eps) { return rsqrtf(var + eps); }

template <typename M, typename W>
__device__ Numbers numbers_of(M mean, M var, W gamma, W beta, float eps) {
    float center = float(mean), scale = to_float(gamma) * inverse_of(float(var), eps);
    return {center, scale, to_float(beta) - float(mean - M(center)) * scale};
}

// Write the moments of each column of each chunk; uncentered, their mean is 0.
template <int N, typename T>
__device__ void moments(const T* __restrict__ x, float* __restrict__ found, bool centered, const Columns& in) {
    __shared__ Moments sums[N][THREADS];
    Part part = part_of<N>(in);
    Moments total[N] = {};
    for (int start = part.begin; start < part.end; start += ROWS * part.step) {
        int end = min(start + ROWS * part.step, part.end);
        float center[N], sum[N] = {}, squares[N] = {};
        read<N>(x + offset_of(in, part, start), center);
        for (int i = 0; i < N; ++i) center[i] = centered ? center[i] : 0.0f;
        for (int row = start; row < end; row += AHEAD * part.step) {
            float values[AHEAD][N];
            read_rows(x, in, part, row, values);
#pragma unroll
            for (int k = 0; k < AHEAD; ++k) {
                bool more = row + k * part.step < end;
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    float distance = more ? values[k][i] - center[i] : 0.0f;
                    sum[i] += distance;
                    squares[i] += distance * distance;
                }
            }
        }
        float count = float((end - start + part.step - 1) / part.step);
        for (int i = 0; i < N; ++i) {
            float offset = centered ? sum[i] / count : 0.0f;
            float around = fmaxf(squares[i] - offset * offset * count, 0.0f);
            around = squares[i] == squares[i] ? around : squares[i];  // NaN stays NaN
            total[i] = together(total[i], {center[i], offset, around, count});
        }
    }
    for (int i = 0; i < N; ++i) sums[i][threadIdx.x] = total[i];
    for (int half = THREADS / 2; half >= in.lanes; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            for (int i = 0; i < N; ++i) {
                Moments& here = sums[i][threadIdx.x];
                here = together(here, sums[i][threadIdx.x + half]);
            }
        }
    }
    if (threadIdx.x >= in.lanes || part.outside) return;
    int place = of_chunk(in, part.piece, part.chunk) + part.column;
    int all = in.pieces * in.chunks * in.columns;
    for (int i = 0; i < N; ++i) {
        const Moments& here = sums[i][threadIdx.x];
        found[place + i] = here.center;
        found[place + i + all] = here.offset;
        found[place + i + 2 * all] = here.squares;
    }
}

// Write mean and variance of each group, a warp for each, of what `moments` has found.
KERNEL finish_moments(const float* __restrict__ found, double* __restrict__ mean, double* __restrict__ var, Columns in) {
    int groups = in.columns / in.group, lane = threadIdx.x % 32;
    int number = blockIdx.x * WARPS + threadIdx.x / 32;
    if (number >= in.pieces * groups) return;
    int piece = number / groups, first = number % groups * in.group;
    int all = in.pieces * in.chunks * in.columns;
    Moments total = {};
    for (int i = lane; i < in.chunks * in.group; i += 32) {
        int chunk = i / in.group;
        int place = of_chunk(in, piece, chunk) + first + i % in.group;
        float count = float(min(in.chunk, in.rows - chunk * in.chunk));
        Moments here = {found[place], found[place + all], found[place + 2 * all], count};
        total = together(total, here);
    }
    total = of_warp(total);
    if (lane == 0) {
        mean[number] = double(total.center) + double(total.offset);
        var[number] = double(total.squares) / (double(in.rows) * in.group);
    }
}

// r = keep * r + share * b, of b = mean and b = var * unbiased.
KERNEL move_averages(float* running_mean, float* running_var, const double* mean,
                     const double* var, float keep, float share, float unbiased, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    running_mean[i] = float(running_mean[i] * keep + mean[i] * share);
    running_var[i] = float(running_var[i] * keep + var[i] * unbiased * share);
}

// y = gamma * (x - mean) / sqrt(var + eps) + beta + add; rectified, no less than 0.
template <int N, typename T, typename W, typename M>
__device__ void scale(const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta, const T* __restrict__ add, const M* __restrict__ mean,
                      const M* __restrict__ var, T* __restrict__ y, float eps, bool rectified, const Columns& in) {
    Part part = part_of<N>(in);
    if (part.outside) return;
    Numbers by[N];
    for (int i = 0; i < N; ++i) {
        int column = part.column + i, group = group_of(in, part.piece, column);
        int weight = column / in.weight;
        by[i] = numbers_of(mean[group], var[group], gamma[weight], beta[weight], eps);
    }
    for (int row = part.begin; row < part.end; row += AHEAD * part.step) {
        float values[AHEAD][N], others[AHEAD][N];
        read_rows(x, in, part, row, values);
        if (add) read_rows(add, in, part, row, others);
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                float value = scaled(values[k][i], by[i]);
                if (add) value += others[k][i];
                values[k][i] = rectified && value < 0.0f ? 0.0f : value;
            }
            if (row + k * part.step < part.end) {
                write<N>(y + offset_of(in, part, row + k * part.step), values[k]);
            }
        }
    }
}

// --- backward ------------------------------------------------------------------------------------

// Who says where y was rectified: nobody, x, from which y is computed again, or y itself.
const int NOBODY = 0, FROM_X = 1, FROM_Y = 2;

// Return what is left of dy where y was rectified: a NaN of dy is left everywhere.
__device__ inline float left_of(float dy, float y, bool told) {
    return told ? dy * (y <= 0.0f ? 0.0f : 1.0f) : dy;
}

// Write the sums of dy and of dy * (x - center) over each column of each chunk, where y was not
// rectified.  Where y says so, what is left of dy is written to dadd.
template <int N, typename T, typename W>
__device__ void products(const T* __restrict__ dy, const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta, const T* __restrict__ y,
                         const double* __restrict__ mean, const double* __restrict__ var, float* __restrict__ found, T* __restrict__ dadd, float eps,
                         int told_by, const Columns& in) {
    Part part = part_of<N>(in);
    float sums[2][N] = {};  // of dy, and of dy * (x - center)
    if (!part.outside) {
        Numbers by[N];
        for (int i = 0; i < N; ++i) {
            int column = part.column + i, group = group_of(in, part.piece, column);
            int weight = column / in.weight;
            by[i] = numbers_of(mean[group], var[group], gamma[weight], beta[weight], eps);
        }
        for (int row = part.begin; row < part.end; row += AHEAD * part.step) {
            float values[AHEAD][N], slopes[AHEAD][N], results[AHEAD][N];
            read_rows(x, in, part, row, values);
            read_rows(dy, in, part, row, slopes);
            if (told_by == FROM_Y) read_rows(y, in, part, row, results);
#pragma unroll
            for (int k = 0; k < AHEAD; ++k) {
                bool more = row + k * part.step < part.end;
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    float value = values[k][i];
                    float result = told_by == FROM_Y ? results[k][i] : scaled(value, by[i]);
                    slopes[k][i] = left_of(slopes[k][i], result, told_by != NOBODY);
                    float slope = more ? slopes[k][i] : 0.0f;
                    sums[0][i] += slope;
                    sums[1][i] = fmaf(slope, value - by[i].center, sums[1][i]);
                }
                if (told_by == FROM_Y && more) {
                    write<N>(dadd + offset_of(in, part, row + k * part.step), slopes[k]);
                }
            }
        }
    }
    write_sums(sums, found, in, part);
}

// Write slope and offset of each group, and dgamma and dbeta of each column, a warp for each, of
// what `products` has found.  With g = dy * gamma
//     dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps)
// is scale * dy + slope * (x - center) + offset.
template <typename W>
__device__ void finish_products(const float* __restrict__ found, const W* __restrict__ gamma, const double* __restrict__ mean,
                                const double* __restrict__ var, float* __restrict__ terms, W* __restrict__ dgamma, W* __restrict__ dbeta, float eps,
                                bool centered, const Columns& in) {
    int groups = in.columns / in.group, lane = threadIdx.x % 32;
    int number = blockIdx.x * WARPS + threadIdx.x / 32;
    int all = in.pieces * in.chunks * in.columns, all_groups = in.pieces * groups;
    float by_1 = 0.0f, by_x = 0.0f;
    if (number < all_groups) {
        int piece = number / groups, first = number % groups * in.group;
        for (int i = lane; i < in.chunks * in.group; i += 32) {
            int column = first + i % in.group;
            int place = of_chunk(in, piece, i / in.group) + column;
            float weight = to_float(gamma[column / in.weight]);
            by_1 += found[place] * weight;
            by_x += found[place + all] * weight;
        }
        by_1 = of_warp(by_1);
        by_x = of_warp(by_x);
        if (lane) return;
        float rest = float(mean[number] - double(float(mean[number])));
        float inverse = inverse_of(float(var[number]), eps);
        float count = float(in.rows) * float(in.group);
        float slope = -inverse * inverse * inverse * ((by_x - by_1 * rest) / count);
        float offset = centered ? -inverse * (by_1 / count) : 0.0f;
        terms[number] = slope;
        terms[number + all_groups] = offset - slope * rest;
        return;
    }
    int column = number - all_groups;
    if (column >= in.columns) return;
    for (int i = lane; i < in.pieces * in.chunks; i += 32) {
        int group = group_of(in, i / in.chunks, column), place = i * in.columns + column;
        float rest = float(mean[group] - double(float(mean[group])));
        by_1 += found[place];
        by_x += (found[place + all] - found[place] * rest) * inverse_of(float(var[group]), eps);
    }
    by_1 = of_warp(by_1);
    by_x = of_warp(by_x);
    if (lane) return;
    dgamma[column] = from_float<W>(by_x);
    dbeta[column] = from_float<W>(by_1);
}

// Write dx, of the terms that `finish_products` has found.
template <int N, typename T, typename W>
__device__ void combine(const T* __restrict__ dy, const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta, const double* __restrict__ mean,
                        const double* __restrict__ var, const float* __restrict__ terms, T* __restrict__ dx, float eps, int told_by,
                        const Columns& in) {
    Part part = part_of<N>(in);
    if (part.outside) return;
    Numbers by[N];
    float slope[N], offset[N];
    int groups = in.pieces * (in.columns / in.group);
    for (int i = 0; i < N; ++i) {
        int column = part.column + i, group = group_of(in, part.piece, column);
        int weight = column / in.weight;
        by[i] = numbers_of(mean[group], var[group], gamma[weight], beta[weight], eps);
        slope[i] = terms[group];
        offset[i] = terms[group + groups];
    }
    for (int row = part.begin; row < part.end; row += AHEAD * part.step) {
        float values[AHEAD][N], slopes[AHEAD][N];
        read_rows(x, in, part, row, values);
        read_rows(dy, in, part, row, slopes);
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                float value = values[k][i];
                float left = left_of(slopes[k][i], scaled(value, by[i]), told_by == FROM_X);
                float rest = fmaf(slope[i], value - by[i].center, offset[i]);
                slopes[k][i] = fmaf(by[i].scale, left, rest);
            }
            if (row + k * part.step < part.end) {
                write<N>(dx + offset_of(in, part, row + k * part.step), slopes[k]);
            }
        }
    }
}

// --- variants ------------------------------------------------------------------------------------

#define PASSES(N, T, t, W, w)                                                                    \
    KERNEL scale_##t##_##w##_f64_##N(const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta, const T* __restrict__ add,    \
                                     const double* __restrict__ mean, const double* __restrict__ var, T* __restrict__ y, float eps,     \
                                     int rectified, Columns in) {                                \
        scale<N>(x, gamma, beta, add, mean, var, y, eps, rectified, in);                         \
    }                                                                                            \
    KERNEL scale_##t##_##w##_f32_##N(const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta, const T* __restrict__ add,    \
                                     const float* __restrict__ mean, const float* __restrict__ var, T* __restrict__ y, float eps,       \
                                     int rectified, Columns in) {                                \
        scale<N>(x, gamma, beta, add, mean, var, y, eps, rectified, in);                         \
    }                                                                                            \
    KERNEL products_##t##_##w##_##N(const T* __restrict__ dy, const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta,      \
                                    const T* __restrict__ y, const double* __restrict__ mean, const double* __restrict__ var,           \
                                    float* __restrict__ found, T* __restrict__ dadd, float eps, int told_by, Columns in) { \
        products<N>(dy, x, gamma, beta, y, mean, var, found, dadd, eps, told_by, in);            \
    }                                                                                            \
    KERNEL combine_##t##_##w##_##N(const T* __restrict__ dy, const T* __restrict__ x, const W* __restrict__ gamma, const W* __restrict__ beta,       \
                                   const double* __restrict__ mean, const double* __restrict__ var, const float* __restrict__ terms,    \
                                   T* __restrict__ dx, float eps, int told_by, Columns in) {                  \
        combine<N>(dy, x, gamma, beta, mean, var, terms, dx, eps, told_by, in);                  \
    }

#define MOMENTS(N, T, t)                                                                         \
    KERNEL moments_##t##_##N(const T* __restrict__ x, float* __restrict__ found, int centered, Columns in) {               \
        moments<N>(x, found, centered, in);                                                      \
    }

#define FINISH(W, w)                                                                             \
    KERNEL finish_products_##w(const float* __restrict__ found, const W* __restrict__ gamma, const double* __restrict__ mean,           \
                               const double* __restrict__ var, float* __restrict__ terms, W* __restrict__ dgamma, W* __restrict__ dbeta, float eps,  \
                               int centered, Columns in) {                                       \
        finish_products(found, gamma, mean, var, terms, dgamma, dbeta, eps, centered, in);       \
    }

MOMENTS(1, float, f32)
MOMENTS(4, float, f32)
MOMENTS(1, bf16, bf16)
MOMENTS(4, bf16, bf16)
FINISH(float, f32)
FINISH(bf16, bf16)
PASSES(1, float, f32, float, f32)
PASSES(4, float, f32, float, f32)
PASSES(1, bf16, bf16, bf16, bf16)
PASSES(4, bf16, bf16, bf16, bf16)
PASSES(1, bf16, bf16, float, f32)
PASSES(4, bf16, bf16, float, f32)
