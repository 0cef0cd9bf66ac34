// Values added by position, and weighted sums of values by position, in an order that never changes.
//
// Where several values go to one place, the thread of the first of them adds them all: each knows
// the next one of its place.  So nothing is atomic, and sums are those of a loop.
#include "ptx.cuh"

const int THREADS = 256;

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

// next[b,j,k] is the first i > j with chosen[b,i,k] == chosen[b,j,k], or -1; later[b,i,k] becomes 1,
// and must be 0 everywhere beforehand.
KERNEL link_equal(const long long* chosen, int* next, unsigned char* later, int lines, int after,
                  long long count) {
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    int j = i / after % lines, found = -1;
    long long mine = chosen[i];
    for (int d = 1; d < lines - j; d++) {
        if (chosen[i + (long long)d * after] == mine) {
            found = j + d;
            later[i + (long long)d * after] = 1;
            break;
        }
    }
    next[i] = found;
}

// y[b,chosen[j],k] += (weights[j] *) values[b,j,k] for j in order, or chosen[b,j,k] unless `shared`.
//
// With weights there are fewer values than positions: j counts modulo `value_lines`.  Negative
// positions are left out.
template <typename T>
__device__ void add_linked(T* y, const T* values, const T* weights, const long long* chosen,
                           const int* next, const unsigned char* later, int lines, int value_lines,
                           int y_lines, int after, long long count, int shared) {
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    int k = i % after, j = i / after % lines;
    long long b = i / after / lines;
    long long links = shared ? 0 : b * lines * after + k;
    int step = shared ? 1 : after;
    if (later[links + (long long)j * step]) return;
    long long place = chosen[links + (long long)j * step];
    if (place < 0) return;
    T* to = y + (b * y_lines + place) * after + k;
    T sum = *to;
    for (; j >= 0; j = next[links + (long long)j * step]) {
        T value = values[(b * value_lines + j % value_lines) * after + k];
        sum += weights ? weights[j] * value : value;
    }
    *to = sum;
}

// y[b,i,k] = sum_t weights[t,i] * x[b,places[t,i],k]; where a place is negative, x is 0.
template <typename T>
__device__ void weighted_sums(const T* x, const long long* places, const T* weights, T* y,
                              int terms, int x_lines, int lines, int after, long long count) {
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    int k = i % after, line = i / after % lines;
    const T* from = x + i / after / lines * x_lines * after + k;
    T sum = 0;
    for (int t = 0; t < terms; t++) {
        long long place = places[(long long)t * lines + line];
        if (place >= 0) sum += weights[(long long)t * lines + line] * from[place * after];
    }
    y[i] = sum;
}

// dw[t,p] = sum_c x[pixels[t,p],c] * dy[p,c]: a warp for each.
template <typename T>
__device__ void match(const T* x, const T* dy, const long long* pixels, T* dw, int points,
                      int channels, long long count) {
    long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) / 32;
    if (i >= count) return;
    int lane = threadIdx.x % 32;
    long long pixel = pixels[i], p = i % points;
    T sum = 0;
    for (int c = lane; pixel >= 0 && c < channels; c += 32) {
        sum += x[pixel * channels + c] * dy[p * channels + c];
    }
    for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (lane == 0) dw[i] = sum;
}

#define NAMED(type, T)                                                                        \
    KERNEL add_linked_##type(T* y, const T* values, const T* weights, const long long* chosen, \
                             const int* next, const unsigned char* later, int lines,          \
                             int value_lines, int y_lines, int after, long long count,        \
                             int shared) {                                                    \
        add_linked(y, values, weights, chosen, next, later, lines, value_lines, y_lines,      \
                   after, count, shared);                                                     \
    }                                                                                         \
    KERNEL weighted_sums_##type(const T* x, const long long* places, const T* weights, T* y,  \
                                int terms, int x_lines, int lines, int after,                 \
                                long long count) {                                            \
        weighted_sums(x, places, weights, y, terms, x_lines, lines, after, count);            \
    }                                                                                         \
    KERNEL match_##type(const T* x, const T* dy, const long long* pixels, T* dw, int points,  \
                        int channels, long long count) {                                      \
        match(x, dy, pixels, dw, points, channels, count);                                    \
    }

NAMED(f32, float)
NAMED(f64, double)
