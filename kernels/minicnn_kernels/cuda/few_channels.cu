// First layers: convolution of images of one to four channels, and its gradient by w.
//
// The sum over rows, columns and channels of a filter is short, and channels are too few for
// vectors.  But one row of a window is one run in memory, (KW, C), and the windows of a row lie in
// one line.  So lines of the image and one row of the filters are put into shared memory, term after
// term is read from there, and a thread multiplies those of PIXELS results with FILTERS weights.
// w is transposed beforehand: (KH, KW, C, O).
#include "pack.cuh"

const int THREADS = 256;

struct Shape {
    int images, height, width, channels, out_height, out_width, filters;
    int kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, dilation_y;
    int tile_width, lanes;  // forward: columns of a tile; gradient: columns, and threads for terms
    int vectors, relu;      // whether runs of four filters begin where a vector may
};

// Copy rows of an image, `step` apart, into shared memory: from column `left` on, `length` values of
// each.  Outside the image is 0.  Each warp copies a row.
template <typename T>
__device__ void copy_lines(const T* x, const Shape& s, int image, int top, int step, int left,
                           int rows, int length, float* lines) {
    int width = s.width * s.channels, begin = left * s.channels;
    for (int r = threadIdx.x / 32; r < rows; r += THREADS / 32) {
        int h = top + r * step;
        const T* from = x + ((long long)image * s.height + h) * width;
        for (int e = threadIdx.x % 32; e < length; e += 32) {
            bool inside = h >= 0 && h < s.height && begin + e >= 0 && begin + e < width;
            lines[r * length + e] = inside ? to_float(from[begin + e]) : 0;
        }
    }
}

// y[n,i,j,o] = sum_abc x[n, i*s + a*d - p, j*s + b - p, c] * w[a,b,c,o].
//
// GROUPS threads beside each other have a filter in four each, FILTERS in all; the others of the
// block have other pixels.
template <typename T, int GROUPS, int FILTERS>
__device__ void few_channels(const T* x, const T* w, const T* bias, const T* add, T* y,
                             const Shape& s) {
    const int PIXELS = 8, PACKS = FILTERS / 4, ALL = GROUPS * FILTERS, LANES = THREADS / GROUPS;
    DYNAMIC_SHARED(float, filter);  // (KW, C, ALL), then the lines
    int terms = s.kernel_width * s.channels;
    int step = s.stride_x * s.channels, length = (s.tile_width - 1) * step + terms;
    float* lines = filter + terms * ALL;

    int tile_height = PIXELS * LANES / s.tile_width;
    int across = (s.out_width + s.tile_width - 1) / s.tile_width;
    int down = (s.out_height + tile_height - 1) / tile_height;
    int image = blockIdx.x / across / down, first = blockIdx.y * ALL;
    int group = threadIdx.x % GROUPS, lane = threadIdx.x / GROUPS;
    int top = blockIdx.x / across % down * tile_height, left = blockIdx.x % across * s.tile_width;
    int row = lane / s.tile_width, column = lane % s.tile_width;
    int next_row = LANES / s.tile_width;  // from a thread's pixel to its next

    float sum[PIXELS][FILTERS] = {};
    for (int a = 0; a < s.kernel_height; a++) {
        __syncthreads();
        copy_lines(x, s, image, top * s.stride_y + a * s.dilation_y - s.padding_y, s.stride_y,
                   left * s.stride_x - s.padding_x, tile_height, length, lines);
        for (int i = threadIdx.x; i < terms * ALL; i += THREADS) {
            int o = first + i % ALL;
            long long place = (long long)(a * terms + i / ALL) * s.filters + o;
            filter[i] = o < s.filters ? to_float(w[place]) : 0;
        }
        __syncthreads();
#pragma unroll 2
        for (int k = 0; k < terms; k++) {
            float weight[PACKS][4], value[PIXELS];
#pragma unroll
            for (int h = 0; h < PACKS; h++) {
                read(filter + k * ALL + (h * GROUPS + group) * 4, weight[h]);
            }
#pragma unroll
            for (int q = 0; q < PIXELS; q++) {
                value[q] = lines[(row + q * next_row) * length + column * step + k];
            }
#pragma unroll
            for (int q = 0; q < PIXELS; q++) {
#pragma unroll
                for (int f = 0; f < FILTERS; f++) sum[q][f] += value[q] * weight[f / 4][f % 4];
            }
        }
    }

#pragma unroll
    for (int q = 0; q < PIXELS; q++) {
        int i = top + row + q * next_row, j = left + column;
        if (i >= s.out_height || j >= s.out_width) continue;
        long long pixel = (((long long)image * s.out_height + i) * s.out_width + j) * s.filters;
#pragma unroll
        for (int h = 0; h < PACKS; h++) {
            int o = first + (h * GROUPS + group) * 4;
            float out[4], other[4];
#pragma unroll
            for (int v = 0; v < 4; v++) {
                bool inside = o + v < s.filters;
                out[v] = sum[q][h * 4 + v] + (bias && inside ? to_float(bias[o + v]) : 0);
                other[v] = add && inside && !s.vectors ? to_float(add[pixel + o + v]) : 0;
            }
            if (o >= s.filters) continue;
            if (add && s.vectors) read(add + pixel + o, other);
#pragma unroll
            for (int v = 0; v < 4; v++) {
                out[v] += other[v];
                if (s.relu) out[v] = out[v] < 0 ? 0 : out[v];  // NaN stays
            }
            if (s.vectors) {
                write(y + pixel + o, out);
            } else {
#pragma unroll
                for (int v = 0; v < 4; v++) {
                    if (o + v < s.filters) y[pixel + o + v] = from_float<T>(out[v]);
                }
            }
        }
    }
}

// parts[split,o,a,b,c] = sum_nij x[n, i*s + a*d - p, j*s + b - p, c] * dy[n,i,j,o] over a share of
// the runs of results.
//
// A block has TERMS * s.lanes terms (a, b, c) and GROUPS * FILTERS filters; those of its threads
// that are left share out the pixels of a run, and their sums are added in order.
template <typename T, int GROUPS, int FILTERS>
__device__ void few_channels_weight(const T* x, const T* dy, float* parts, const Shape& s) {
    const int TERMS = 5, PACKS = FILTERS / 4, ALL = GROUPS * FILTERS;
    DYNAMIC_SHARED(float, gradient);  // (columns, ALL), then the lines
    int of_row = s.kernel_width * s.channels, all_terms = s.kernel_height * of_row;
    int step = s.stride_x * s.channels, length = (s.tile_width - 1) * step + of_row;
    float* lines = gradient + s.tile_width * ALL;

    int group = threadIdx.x % GROUPS, first = blockIdx.y * ALL;
    int lane = threadIdx.x / GROUPS % s.lanes, share = threadIdx.x / GROUPS / s.lanes;
    int shares = THREADS / GROUPS / s.lanes;
    int begin_term = blockIdx.z * TERMS * s.lanes;
    int end_term = min(begin_term + TERMS * s.lanes, all_terms);
    int first_row = begin_term / of_row, rows = (end_term - 1) / of_row - first_row + 1;
    int places[TERMS];
#pragma unroll
    for (int q = 0; q < TERMS; q++) {
        int term = min(begin_term + lane + q * s.lanes, end_term - 1);
        places[q] = (term / of_row - first_row) * length + term % of_row;
    }

    int across = (s.out_width + s.tile_width - 1) / s.tile_width;
    long long runs = (long long)s.images * s.out_height * across;
    int begin = runs * blockIdx.x / gridDim.x, end = runs * (blockIdx.x + 1) / gridDim.x;
    float sum[TERMS][FILTERS] = {};
    for (int run = begin; run < end; run++) {
        int left = run % across * s.tile_width, i = run / across % s.out_height;
        int image = run / across / s.out_height;
        long long pixel = ((long long)image * s.out_height + i) * s.out_width + left;
        __syncthreads();
        copy_lines(x, s, image, i * s.stride_y + first_row * s.dilation_y - s.padding_y,
                   s.dilation_y, left * s.stride_x - s.padding_x, rows, length, lines);
        int columns = min(s.tile_width, s.out_width - left);
        for (int e = threadIdx.x; e < columns * ALL; e += THREADS) {
            int o = first + e % ALL;
            long long place = (pixel + e / ALL) * s.filters + o;
            gradient[e] = o < s.filters ? to_float(dy[place]) : 0;
        }
        __syncthreads();
#pragma unroll 2
        for (int p = share; p < columns; p += shares) {
            float dvalue[PACKS][4], value[TERMS];
#pragma unroll
            for (int h = 0; h < PACKS; h++) {
                read(gradient + p * ALL + (h * GROUPS + group) * 4, dvalue[h]);
            }
#pragma unroll
            for (int q = 0; q < TERMS; q++) value[q] = lines[places[q] + p * step];
#pragma unroll
            for (int q = 0; q < TERMS; q++) {
#pragma unroll
                for (int f = 0; f < FILTERS; f++) sum[q][f] += value[q] * dvalue[f / 4][f % 4];
            }
        }
    }

    __syncthreads();
    const int PITCH = ALL + 1;  // so that the same filter of many terms lies in different banks
    float* sums = gradient;     // (shares, terms, PITCH)
    int count = TERMS * s.lanes;
#pragma unroll
    for (int q = 0; q < TERMS; q++) {
#pragma unroll
        for (int f = 0; f < FILTERS; f++) {
            int o = (f / 4 * GROUPS + group) * 4 + f % 4;
            sums[(share * count + lane + q * s.lanes) * PITCH + o] = sum[q][f];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count * ALL; i += THREADS) {
        int k = i % count, o = i / count;
        if (begin_term + k >= end_term || first + o >= s.filters) continue;
        float total = 0;
#pragma unroll 1
        for (int t = 0; t < shares; t++) total += sums[(t * count + k) * PITCH + o];
        long long filter = (long long)blockIdx.x * s.filters + first + o;
        parts[filter * all_terms + begin_term + k] = total;
    }
}

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)

#define FEW_CHANNELS(type, T, ALL, GROUPS, FILTERS)                                          \
    KERNEL few_channels_##type##_##ALL(                                                      \
        const T* x, const T* w, const T* bias, const T* add, T* y, Shape s) {                \
        few_channels<T, GROUPS, FILTERS>(x, w, bias, add, y, s);                             \
    }                                                                                        \
    KERNEL few_channels_weight_##type##_##ALL(                                               \
        const T* x, const T* dy, float* parts, Shape s) {                                    \
        few_channels_weight<T, GROUPS, FILTERS>(x, dy, parts, s);                            \
    }

FEW_CHANNELS(f32, float, 8, 2, 4)
FEW_CHANNELS(f32, float, 16, 4, 4)
FEW_CHANNELS(f32, float, 32, 8, 4)
FEW_CHANNELS(f32, float, 64, 8, 8)
FEW_CHANNELS(bf16, bf16, 8, 2, 4)
FEW_CHANNELS(bf16, bf16, 16, 4, 4)
FEW_CHANNELS(bf16, bf16, 32, 8, 4)
FEW_CHANNELS(bf16, bf16, 64, 8, 8)
