// Pooling of images whose channels lie side by side: a thread computes one window of a few channels,
// or on the way back one pixel, which looks at all windows that see it.  So no two threads write to
// the same place, and sums come out the same every time.
#include "pack.cuh"

// One side of the images: windows in even steps, or with a stride of 0 as many bins as there are outputs.
struct Side {
    int image, output, kernel, stride, padding, dilation;
};

struct Images {
    Side depth, rows, columns;
    int channels;
    unsigned items;  // threads that have something to do
};

// Where something lies in images of windows or of pixels.
struct Place {
    int image, depth, row, column, channel;
};

// Return which place a thread has in images of such sides, N channels being one item.
template <int N>
__device__ Place place_of(unsigned item, int depth, int rows, int columns, int channels) {
    Place at;
    unsigned packs = channels / N;
    at.channel = item % packs * N;
    item /= packs;
    at.column = item % columns;
    item /= columns;
    at.row = item % rows;
    item /= rows;
    at.depth = item % depth;
    at.image = item / depth;
    return at;
}

__device__ inline int first_of_bin(const Side& side, int i) {
    return i * side.image / side.output;
}

// Return which pixel window i sees through a cell, or -1: it is in the padding.
__device__ inline int pixel(const Side& side, int i, int cell) {
    if (side.stride) {
        int at = i * side.stride - side.padding + cell * side.dilation;
        return at < side.image ? max(at, -1) : -1;
    }
    int at = first_of_bin(side, i) + cell;
    int end = ((i + 1) * side.image + side.output - 1) / side.output;
    return at < end ? at : -1;
}

// Return through which cell window i sees a pixel, or -1.
__device__ inline int cell_of(const Side& side, int i, int pixel) {
    if (side.stride == 0) return pixel - first_of_bin(side, i);
    int distance = pixel + side.padding - i * side.stride;
    return distance % side.dilation ? -1 : distance / side.dilation;
}

// Return the first window whose cells reach to a pixel or beyond.
__device__ inline int first_window(const Side& side, int pixel) {
    if (side.stride == 0) return pixel * side.output / side.image;
    int beyond = pixel + side.padding - (side.kernel - 1) * side.dilation;
    return beyond <= 0 ? 0 : (beyond + side.stride - 1) / side.stride;
}

// Return the last window that begins at a pixel or before it.
__device__ inline int last_window(const Side& side, int pixel) {
    if (side.stride == 0) return ((pixel + 1) * side.output - 1) / side.image;
    return min((pixel + side.padding) / side.stride, side.output - 1);
}

// Call visit(number, offset) for the pixels that a window sees, from its last cell to the first.
template <typename Visit>
__device__ void each_pixel(const Images& in, const Place& at, Visit visit) {
    for (int a = in.depth.kernel - 1; a >= 0; --a) {
        int depth = pixel(in.depth, at.depth, a);
        if (depth < 0) continue;
        for (int b = in.rows.kernel - 1; b >= 0; --b) {
            int row = pixel(in.rows, at.row, b);
            if (row < 0) continue;
            int above = (at.image * in.depth.image + depth) * in.rows.image + row;
            for (int c = in.columns.kernel - 1; c >= 0; --c) {
                int column = pixel(in.columns, at.column, c);
                if (column < 0) continue;
                int number = (a * in.rows.kernel + b) * in.columns.kernel + c;
                visit(number, (above * in.columns.image + column) * in.channels + at.channel);
            }
        }
    }
}

// Call visit(number, offset) for the windows that see a pixel, through the cell `number`.
template <typename Visit>
__device__ void each_window(const Images& in, const Place& at, Visit visit) {
    for (int i = first_window(in.depth, at.depth); i <= last_window(in.depth, at.depth); ++i) {
        int a = cell_of(in.depth, i, at.depth);
        if (a < 0) continue;
        for (int j = first_window(in.rows, at.row); j <= last_window(in.rows, at.row); ++j) {
            int b = cell_of(in.rows, j, at.row);
            if (b < 0) continue;
            int above = (at.image * in.depth.output + i) * in.rows.output + j;
            int last = last_window(in.columns, at.column);
            for (int k = first_window(in.columns, at.column); k <= last; ++k) {
                int c = cell_of(in.columns, k, at.column);
                if (c < 0) continue;
                int number = (a * in.rows.kernel + b) * in.columns.kernel + c;
                visit(number, (above * in.columns.output + k) * in.channels + at.channel);
            }
        }
    }
}

template <int N>
__device__ Place window_of(unsigned item, const Images& in) {
    return place_of<N>(item, in.depth.output, in.rows.output, in.columns.output, in.channels);
}

template <int N>
__device__ Place pixel_of(unsigned item, const Images& in) {
    return place_of<N>(item, in.depth.image, in.rows.image, in.columns.image, in.channels);
}

__device__ inline unsigned item_of_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

// y = the largest pixel of each window, and the number of its cell: the first of equals, NaN before
// all others.  The cells come from the last to the first, and win if none so far was larger.
template <int N, typename T, typename Number>
__device__ void max_winners(const T* x, T* y, Number* winner, const Images& in) {
    unsigned item = item_of_thread();
    if (item >= in.items) return;
    float best[N];
    Pack<Number, N> won;
    for (int i = 0; i < N; ++i) {
        best[i] = __uint_as_float(0xff800000);  // -infinity
        won.values[i] = Number(in.depth.kernel * in.rows.kernel * in.columns.kernel - 1);
    }
    each_pixel(in, window_of<N>(item, in), [&](int number, int offset) {
        float seen[N];
        read<N>(x + offset, seen);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (seen[i] >= best[i] || seen[i] != seen[i]) {
                best[i] = seen[i];
                won.values[i] = Number(number);
            }
        }
    });
    write<N>(y + item * N, best);
    *reinterpret_cast<Pack<Number, N>*>(winner + item * N) = won;
}

// y = the pixel that won each window; 0 where that is in the padding.
template <typename T, typename Number>
__device__ void take_winners(const T* x, const Number* winner, T* y, const Images& in) {
    unsigned item = item_of_thread();
    if (item >= in.items) return;
    Place at = window_of<1>(item, in);
    int number = winner[item];
    int cells = in.rows.kernel * in.columns.kernel;
    int depth = pixel(in.depth, at.depth, number / cells);
    int row = pixel(in.rows, at.row, number % cells / in.columns.kernel);
    int column = pixel(in.columns, at.column, number % in.columns.kernel);
    int above = (at.image * in.depth.image + depth) * in.rows.image + row;
    bool inside = depth >= 0 && row >= 0 && column >= 0;
    y[item] = inside ? x[(above * in.columns.image + column) * in.channels + at.channel]
                     : from_float<T>(0.0f);
}

// dx = the sum of dy over the windows that a pixel has won.
template <int N, typename T, typename Number>
__device__ void route_to_winners(const T* dy, const Number* winner, T* dx, const Images& in) {
    unsigned item = item_of_thread();
    if (item >= in.items) return;
    float total[N] = {};
    each_window(in, pixel_of<N>(item, in), [&](int number, int offset) {
        float slope[N];
        read<N>(dy + offset, slope);
        Pack<Number, N> won = *reinterpret_cast<const Pack<Number, N>*>(winner + offset);
#pragma unroll
        for (int i = 0; i < N; ++i) total[i] += won.values[i] == number ? slope[i] : 0.0f;
    });
    write<N>(dx + item * N, total);
}

// y = the sum of the pixels of each window.
template <int N, typename T>
__device__ void window_sum(const T* x, T* y, const Images& in) {
    unsigned item = item_of_thread();
    if (item >= in.items) return;
    float total[N] = {};
    each_pixel(in, window_of<N>(item, in), [&](int, int offset) {
        float seen[N];
        read<N>(x + offset, seen);
#pragma unroll
        for (int i = 0; i < N; ++i) total[i] += seen[i];
    });
    write<N>(y + item * N, total);
}

// dx = the sum of dy over the windows that see a pixel.
template <int N, typename T>
__device__ void window_spread(const T* dy, T* dx, const Images& in) {
    unsigned item = item_of_thread();
    if (item >= in.items) return;
    float total[N] = {};
    each_window(in, pixel_of<N>(item, in), [&](int, int offset) {
        float slope[N];
        read<N>(dy + offset, slope);
#pragma unroll
        for (int i = 0; i < N; ++i) total[i] += slope[i];
    });
    write<N>(dx + item * N, total);
}

// Four blocks on a multiprocessor are enough; for a fifth the compiler would spill registers.
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 4)

#define WINNERS(N, T, type, Number, number)                                                      \
    KERNEL max_winners_##type##_##number##_##N(const T* x, T* y, Number* winner, Images in) {    \
        max_winners<N>(x, y, winner, in);                                                        \
    }                                                                                            \
    KERNEL route_to_winners_##type##_##number##_##N(const T* dy, const Number* winner, T* dx,    \
                                                    Images in) {                                 \
        route_to_winners<N>(dy, winner, dx, in);                                                 \
    }

#define TAKE(T, type, Number, number)                                                            \
    KERNEL take_winners_##type##_##number##_1(const T* x, const Number* winner, T* y,            \
                                              Images in) {                                       \
        take_winners(x, winner, y, in);                                                          \
    }

#define SUMS(N, T, type)                                                                         \
    KERNEL window_sum_##type##_##N(const T* x, T* y, Images in) { window_sum<N>(x, y, in); }     \
    KERNEL window_spread_##type##_##N(const T* dy, T* dx, Images in) {                           \
        window_spread<N>(dy, dx, in);                                                            \
    }

#define FAMILY(T, type)                                                                          \
    WINNERS(1, T, type, unsigned char, u8)                                                       \
    WINNERS(4, T, type, unsigned char, u8)                                                       \
    WINNERS(1, T, type, int, i32)                                                                \
    WINNERS(4, T, type, int, i32)                                                                \
    TAKE(T, type, unsigned char, u8)                                                             \
    TAKE(T, type, int, i32)                                                                      \
    SUMS(1, T, type)                                                                             \
    SUMS(4, T, type)

FAMILY(float, f32)
FAMILY(bf16, bf16)
