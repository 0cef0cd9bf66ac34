// Softmax, its logarithm, their gradients, and the cross-entropy of both with labels.
//
// x is seen as (P, n, Q): the sums go over n.  A team has one row: a warp, or a block if n is large;
// where other values lie in between, Q > 1, one thread alone, beside those of its neighbours.
#include "ptx.cuh"
#include "team.cuh"

const int THREADS = 256;

struct Rows {
    int count, length, beside;  // P * Q rows of n values, which lie Q apart
};

__device__ inline float lowest() { return __uint_as_float(0xff800000); }  // -infinity

// The values of a team's row: the first that this thread has, and how many values are in between.
template <int LANES>
struct Row {
    int number, lane, first, stride;
    bool outside;

    __device__ explicit Row(const Rows& in) {
        number = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
        lane = threadIdx.x % LANES;
        first = number / in.beside * in.length * in.beside + number % in.beside;
        stride = in.beside;
        outside = number >= in.count;
    }
};

// The largest value of a row, and the sum of e^(x - top).
struct Total {
    float top, sum;
};

template <int LANES, typename T>
__device__ Total total_of(const T* __restrict__ x, const Row<LANES>& row, int length) {
    float top = lowest(), sum = 0.0f;
    for (int i = row.lane; i < length; i += LANES) {
        top = Largest::of(top, to_float(x[row.first + i * row.stride]));
    }
    top = of_team<LANES, Largest>(top);
    for (int i = row.lane; i < length; i += LANES) {
        sum += expf(to_float(x[row.first + i * row.stride]) - top);
    }
    return {top, of_team<LANES, Sum>(sum)};
}

// y = e^x / sum of e^x, times the scale of the row, or that of all (scales = 0); or ln of it.
template <int LANES, typename T>
__device__ void softmax(const T* __restrict__ x, const T* __restrict__ scale, int scales,
                        T* __restrict__ y, bool logarithm, const Rows& in) {
    Row<LANES> row(in);
    if (row.outside) return;
    Total total = total_of(x, row, in.length);
    float factor = scale ? to_float(scale[row.number * scales]) : 1.0f;
    float by = logarithm ? logf(total.sum) : factor / total.sum;
    for (int i = row.lane; i < in.length; i += LANES) {
        int place = row.first + i * row.stride;
        float value = to_float(x[place]) - total.top;
        y[place] = from_float<T>(logarithm ? value - by : expf(value) * by);
    }
}

// dx = y * (dy - sum of dy * y); of the logarithm dx = dy - e^y * sum of dy.
template <int LANES, typename T>
__device__ void softmax_gradient(const T* __restrict__ dy, const T* __restrict__ y,
                                 T* __restrict__ dx, bool logarithm, const Rows& in) {
    Row<LANES> row(in);
    if (row.outside) return;
    float sum = 0.0f;
    for (int i = row.lane; i < in.length; i += LANES) {
        int place = row.first + i * row.stride;
        sum += to_float(dy[place]) * (logarithm ? 1.0f : to_float(y[place]));
    }
    sum = of_team<LANES, Sum>(sum);
    for (int i = row.lane; i < in.length; i += LANES) {
        int place = row.first + i * row.stride;
        float slope = to_float(dy[place]), value = to_float(y[place]);
        dx[place] = from_float<T>(logarithm ? slope - expf(value) * sum : value * (slope - sum));
    }
}

// The largest value of each row, and the logarithm of the sum of e^(x - top).
template <int LANES, typename T>
__device__ void log_total(const T* __restrict__ x, T* __restrict__ top, T* __restrict__ log_sum,
                          const Rows& in) {
    Row<LANES> row(in);
    if (row.outside) return;
    Total total = total_of(x, row, in.length);
    if (row.lane) return;
    top[row.number] = from_float<T>(total.top);
    log_sum[row.number] = from_float<T>(logf(total.sum));
}

// Return -ln softmax(x)[label], or NaN for what is no label.
template <int LANES, typename T>
__device__ float loss_of(const T* __restrict__ x, const Row<LANES>& row, long long label,
                         int length) {
    Total total = total_of(x, row, length);
    if (label < 0 || label >= length) return __uint_as_float(0x7fc00000);
    return logf(total.sum) - (to_float(x[row.first + int(label) * row.stride]) - total.top);
}

// y = the loss of each row.
template <int LANES, typename T>
__device__ void cross_entropy(const T* __restrict__ x, const long long* __restrict__ labels,
                              T* __restrict__ y, const Rows& in) {
    Row<LANES> row(in);
    if (row.outside) return;
    float loss = loss_of(x, row, labels[row.number], in.length);
    if (row.lane == 0) y[row.number] = from_float<T>(loss);
}

// Write the sum of the losses of each block, and how many there are whose label is not `ignore`.
template <int LANES, typename T>
__device__ void sum_cross_entropy(const T* __restrict__ x, const long long* __restrict__ labels,
                                  float* __restrict__ found, long long ignore, const Rows& in) {
    Row<LANES> row(in);
    long long label = row.outside ? ignore : labels[row.number];
    bool used = label != ignore;
    float loss = used ? loss_of(x, row, label, in.length) : 0.0f;
    bool first = row.lane == 0;
    loss = of_team<THREADS, Sum>(first ? loss : 0.0f);
    float count = of_team<THREADS, Sum>(first && used ? 1.0f : 0.0f);
    if (threadIdx.x) return;
    found[blockIdx.x] = loss;
    found[gridDim.x + blockIdx.x] = count;
}

// y = the mean of the losses that `sum_cross_entropy` has found in so many blocks; write their count.
template <typename T>
__device__ void finish_mean(const float* __restrict__ found, T* __restrict__ y,
                            float* __restrict__ count, int blocks) {
    float loss = 0.0f, used = 0.0f;
    for (int i = threadIdx.x; i < blocks; i += THREADS) {
        loss += found[i];
        used += found[blocks + i];
    }
    loss = of_team<THREADS, Sum>(loss);
    used = of_team<THREADS, Sum>(used);
    if (threadIdx.x) return;
    *y = from_float<T>(loss / used);
    *count = used;
}

// dx = dy * (softmax(x) - 1 at the label), divided by a count; 0 where the label is `ignore`.
template <int LANES, typename T>
__device__ void cross_entropy_gradient(const T* __restrict__ x, const T* __restrict__ dy,
                                       int slopes, const long long* __restrict__ labels,
                                       const float* __restrict__ count, T* __restrict__ dx,
                                       long long ignore, const Rows& in) {
    Row<LANES> row(in);
    if (row.outside) return;
    Total total = total_of(x, row, in.length);
    float slope = to_float(dy[row.number * slopes]);
    long long label = labels[row.number];
    if (count) slope = label == ignore ? 0.0f : slope / *count;
    float by = slope / total.sum;
    for (int i = row.lane; i < in.length; i += LANES) {
        int place = row.first + i * row.stride;
        float value = expf(to_float(x[place]) - total.top) * by;
        dx[place] = from_float<T>(i == label ? value - slope : value);
    }
}

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

#define KERNELS(LANES, T, t)                                                                     \
    KERNEL softmax_##t##_##LANES(const T* x, const T* scale, int scales, T* y, int logarithm,    \
                                 Rows in) {                                                      \
        softmax<LANES>(x, scale, scales, y, logarithm, in);                                      \
    }                                                                                            \
    KERNEL softmax_gradient_##t##_##LANES(const T* dy, const T* y, T* dx, int logarithm,         \
                                          Rows in) {                                             \
        softmax_gradient<LANES>(dy, y, dx, logarithm, in);                                       \
    }                                                                                            \
    KERNEL log_total_##t##_##LANES(const T* x, T* top, T* log_sum, Rows in) {                    \
        log_total<LANES>(x, top, log_sum, in);                                                   \
    }                                                                                            \
    KERNEL cross_entropy_##t##_##LANES(const T* x, const long long* labels, T* y, Rows in) {     \
        cross_entropy<LANES>(x, labels, y, in);                                                  \
    }                                                                                            \
    KERNEL sum_cross_entropy_##t##_##LANES(const T* x, const long long* labels, float* found,    \
                                           long long ignore, Rows in) {                          \
        sum_cross_entropy<LANES>(x, labels, found, ignore, in);                                  \
    }                                                                                            \
    KERNEL cross_entropy_gradient_##t##_##LANES(const T* x, const T* dy, int slopes,             \
                                                const long long* labels,                         \
                                                const float* count, T* dx, long long ignore,     \
                                                Rows in) {                                       \
        cross_entropy_gradient<LANES>(x, dy, slopes, labels, count, dx, ignore, in);             \
    }

#define FAMILY(T, t)                                                                             \
    KERNELS(1, T, t)                                                                             \
    KERNELS(32, T, t)                                                                            \
    KERNELS(256, T, t)                                                                           \
    KERNEL finish_mean_##t(const float* found, T* y, float* count, int blocks) {                 \
        finish_mean(found, y, count, blocks);                                                    \
    }

FAMILY(float, f32)
FAMILY(bf16, bf16)
