// Normalisation of rows, each by its own mean and variance; every place in a row has a weight.
//
// A team, a warp or a block, has a row.  The weights' gradients are sums down the columns: blocks go
// over chunks of rows of some columns, and another kernel adds up the chunks in their order.
#include "columns.cuh"
#include "team.cuh"

// The mean of a row is center + rest: center is its nearest float.
struct Row {
    float center, rest, inverse;
};

__device__ inline Row row_of(double mean, double var, float eps) {
    float center = float(mean);
    return {center, float(mean - double(center)), rsqrtf(float(var) + eps)};
}

// Return x's distance to the mean of its row.
__device__ inline float distance(float x, const Row& row) { return (x - row.center) - row.rest; }

template <int LANES>
__device__ int row_of_team() {
    return blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
}

// y = gamma * (x - mean) / sqrt(var + eps) + beta, of rows that are `length` long; write mean and var.
template <int LANES, int N, typename T, typename W>
__device__ void normalize_rows(const T* __restrict__ x, const W* __restrict__ gamma,
                               const W* __restrict__ beta, T* __restrict__ y,
                               double* __restrict__ mean, double* __restrict__ var, float eps,
                               bool centered, int rows, int length) {
    int row = row_of_team<LANES>(), lane = threadIdx.x % LANES * N;
    if (row >= rows) return;
    x += row * length;
    y += row * length;
    float center = centered ? to_float(x[0]) : 0.0f, sum = 0.0f, squares = 0.0f;
    for (int i = lane; i < length; i += LANES * N) {
        float values[N];
        read<N>(x + i, values);
        for (int k = 0; k < N; ++k) sum += values[k] - center;
    }
    float offset = centered ? of_team<LANES, Sum>(sum) / length : 0.0f;
    for (int i = lane; i < length; i += LANES * N) {
        float values[N];
        read<N>(x + i, values);
        for (int k = 0; k < N; ++k) {
            float away = (values[k] - center) - offset;
            squares = fmaf(away, away, squares);
        }
    }
    squares = of_team<LANES, Sum>(squares);
    double all = double(center) + double(offset), spread = double(squares) / length;
    Row by = row_of(all, spread, eps);
    for (int i = lane; i < length; i += LANES * N) {
        float values[N], weight[N], shift[N];
        read<N>(x + i, values);
        read<N>(gamma + i, weight);
        read<N>(beta + i, shift);
        for (int k = 0; k < N; ++k) {
            values[k] = fmaf(distance(values[k], by) * by.inverse, weight[k], shift[k]);
        }
        write<N>(y + i, values);
    }
    if (lane == 0) {
        mean[row] = all;
        var[row] = spread;
    }
}

// dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps) with g = dy * gamma.
template <int LANES, int N, typename T, typename W>
__device__ void row_gradients(const T* __restrict__ dy, const T* __restrict__ x,
                              const W* __restrict__ gamma, const double* __restrict__ mean,
                              const double* __restrict__ var, T* __restrict__ dx, float eps,
                              bool centered, int rows, int length) {
    int row = row_of_team<LANES>(), lane = threadIdx.x % LANES * N;
    if (row >= rows) return;
    x += row * length;
    dy += row * length;
    dx += row * length;
    Row by = row_of(mean[row], var[row], eps);
    float by_1 = 0.0f, by_x = 0.0f;
    for (int i = lane; i < length; i += LANES * N) {
        float values[N], slopes[N], weight[N];
        read<N>(x + i, values);
        read<N>(dy + i, slopes);
        read<N>(gamma + i, weight);
        for (int k = 0; k < N; ++k) {
            float slope = slopes[k] * weight[k];
            by_1 += slope;
            by_x = fmaf(slope, distance(values[k], by), by_x);
        }
    }
    by_1 = of_team<LANES, Sum>(by_1) / length;
    by_x = of_team<LANES, Sum>(by_x) / length * by.inverse * by.inverse;
    if (!centered) by_1 = 0.0f;
    for (int i = lane; i < length; i += LANES * N) {
        float values[N], slopes[N], weight[N];
        read<N>(x + i, values);
        read<N>(dy + i, slopes);
        read<N>(gamma + i, weight);
        for (int k = 0; k < N; ++k) {
            float left = fmaf(slopes[k], weight[k], -by_1);
            slopes[k] = fmaf(-by_x, distance(values[k], by), left) * by.inverse;
        }
        write<N>(dx + i, slopes);
    }
}

// Write the sums of dy and of dy * x_hat over each column of each chunk of rows.
template <int N, typename T>
__device__ void row_products(const T* __restrict__ dy, const T* __restrict__ x,
                             const double* __restrict__ mean, const double* __restrict__ var,
                             float* __restrict__ found, float eps, const Columns& in) {
    Part part = part_of<N>(in);
    float sums[2][N] = {};  // of dy, and of dy * x_hat
    for (int row = part.begin; row < part.end; row += part.step) {
        Row by = row_of(mean[row], var[row], eps);
        float values[N], slopes[N];
        read<N>(x + offset_of(in, part, row), values);
        read<N>(dy + offset_of(in, part, row), slopes);
        for (int i = 0; i < N; ++i) {
            sums[0][i] += slopes[i];
            sums[1][i] = fmaf(slopes[i], distance(values[i], by) * by.inverse, sums[1][i]);
        }
    }
    write_sums(sums, found, in, part);
}

// Write dgamma and dbeta, a warp for each column, of what `row_products` has found.
template <typename W>
__device__ void finish_rows(const float* __restrict__ found, W* __restrict__ dgamma,
                            W* __restrict__ dbeta, int columns, int chunks) {
    int column = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (column >= columns) return;
    float by_1 = 0.0f, by_x = 0.0f;
    for (int chunk = lane; chunk < chunks; chunk += 32) {
        by_1 += found[chunk * columns + column];
        by_x += found[(chunks + chunk) * columns + column];
    }
    by_1 = of_warp(by_1);
    by_x = of_warp(by_x);
    if (lane) return;
    dgamma[column] = from_float<W>(by_x);
    dbeta[column] = from_float<W>(by_1);
}

#define ROWS(LANES, N, T, t, W, w)                                                               \
    KERNEL normalize_rows_##t##_##w##_##N##_##LANES(                                             \
        const T* x, const W* gamma, const W* beta, T* y, double* mean, double* var, float eps,   \
        int centered, int rows, int length) {                                                    \
        normalize_rows<LANES, N>(x, gamma, beta, y, mean, var, eps, centered, rows, length);     \
    }                                                                                            \
    KERNEL row_gradients_##t##_##w##_##N##_##LANES(                                              \
        const T* dy, const T* x, const W* gamma, const double* mean, const double* var, T* dx,   \
        float eps, int centered, int rows, int length) {                                         \
        row_gradients<LANES, N>(dy, x, gamma, mean, var, dx, eps, centered, rows, length);       \
    }

#define PRODUCTS(N, T, t)                                                                        \
    KERNEL row_products_##t##_##N(const T* dy, const T* x, const double* mean,                   \
                                  const double* var, float* found, float eps, Columns in) {      \
        row_products<N>(dy, x, mean, var, found, eps, in);                                       \
    }

#define FINISH(W, w)                                                                             \
    KERNEL finish_rows_##w(const float* found, W* dgamma, W* dbeta, int columns, int chunks) {   \
        finish_rows(found, dgamma, dbeta, columns, chunks);                                      \
    }

#define FAMILY(T, t, W, w)                                                                       \
    ROWS(32, 1, T, t, W, w)                                                                      \
    ROWS(32, 4, T, t, W, w)                                                                      \
    ROWS(256, 1, T, t, W, w)                                                                     \
    ROWS(256, 4, T, t, W, w)

FAMILY(float, f32, float, f32)
FAMILY(bf16, bf16, bf16, bf16)
FAMILY(bf16, bf16, float, f32)
PRODUCTS(1, float, f32)
PRODUCTS(4, float, f32)
PRODUCTS(1, bf16, bf16)
PRODUCTS(4, bf16, bf16)
FINISH(float, f32)
FINISH(bf16, bf16)
