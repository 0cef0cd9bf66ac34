// Convolution in small groups and its gradients; depthwise where a group is one channel.
//
// Nothing is shared between groups, so there is no matrix product, and memory sets the pace.  A
// thread has LANES neighbouring channels of a strip of results, which it keeps in registers; next
// to it are threads of the next channels, so a warp reads runs.  Channels come last in memory:
// x (N, H, W, C); w (O, KH, KW, inputs of a group).
#include "pack.cuh"

const int THREADS = 256;

// What the gradient by x computes is called its result as well: there `in` is dy, `out` is dx, and
// `inputs` counts the filters of a group.
struct Shape {
    int images, in_height, in_width, in_channels, out_height, out_width, out_channels;
    int kernel_height, kernel_width, inputs, outputs;  // inputs and outputs of a group
    int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    int lanes;    // threads beside each other in the channels
    int turned;   // whether w belongs to the convolution whose gradient by x this is
    int relu;
};

// --- what the kernels share -----------------------------------------------------------------------

template <typename T, int LANES>
__device__ void read_or_zero(const T* from, bool inside, float (&to)[LANES]) {
    if (inside) {
        read(from, to);
    } else {
#pragma unroll
        for (int v = 0; v < LANES; v++) to[v] = 0;
    }
}

// Put the filters of the block's channels into shared memory, as (KH, KW, inputs, channels).
template <typename T>
__device__ void stage(const T* w, const Shape& s, int first, int channels, float* filter) {
    int cells = s.kernel_height * s.kernel_width;
    for (int i = threadIdx.x; i < cells * s.inputs * channels; i += blockDim.x) {
        int o = first + i % channels, r = i / channels % s.inputs, cell = i / channels / s.inputs;
        long long place = ((long long)o * cells + cell) * s.inputs + r;
        if (s.turned) {
            long long of_group = o / s.outputs * s.inputs + r;
            place = (of_group * cells + cells - 1 - cell) * s.outputs + o % s.outputs;
        }
        filter[i] = o < s.out_channels ? to_float(w[place]) : 0;
    }
    __syncthreads();
}

// Add what follows the convolution, and write LANES channels of one result.
template <typename T, int LANES>
__device__ void finish(float (&sum)[LANES], const T* bias, const T* add, T* y, const Shape& s,
                       long long pixel, int channel) {
    long long place = pixel * s.out_channels + channel;
    float other[LANES];
    if (bias) {
        read(bias + channel, other);
#pragma unroll
        for (int v = 0; v < LANES; v++) sum[v] += other[v];
    }
    if (add) {
        read(add + place, other);
#pragma unroll
        for (int v = 0; v < LANES; v++) sum[v] += other[v];
    }
    if (s.relu) {
#pragma unroll
        for (int v = 0; v < LANES; v++) sum[v] = sum[v] < 0 ? 0 : sum[v];  // NaN stays
    }
    write(y + place, sum);
}

// --- forward, and the gradient by x at stride 1, which is one with the filter turned --------------

// y[n,i,j,o] = sum_abr x[n, i*s + a - p, j*s + b - p, r of o's group] * w[o,a,b,r], groups of R in
// and R out.  A thread reads each pixel of a row once for all of its ROWS x COLUMNS results.
template <typename T, int R, int KW, int S, int ROWS, int COLUMNS>
__device__ void by_rows(const T* x, const T* w, const T* bias, const T* add, T* y, const Shape& s) {
    DYNAMIC_SHARED(float, filter);
    int lane = threadIdx.x % s.lanes, first = blockIdx.y * s.lanes * 4;
    int channel = first + lane * 4;
    stage(w, s, first, s.lanes * 4, filter);

    int across = (s.out_width + COLUMNS - 1) / COLUMNS, down = (s.out_height + ROWS - 1) / ROWS;
    int strip = blockIdx.x * (THREADS / s.lanes) + threadIdx.x / s.lanes;
    int column = strip % across * COLUMNS, row = strip / across % down * ROWS;
    int image = strip / across / down;
    if (threadIdx.x / s.lanes >= THREADS / s.lanes || image >= s.images ||
        channel >= s.out_channels) return;

    float sum[ROWS][COLUMNS][4] = {};
    int left = column * S - s.padding_x, top = row * S - s.padding_y;
    for (int k = 0; k < (ROWS - 1) * S + s.kernel_height; k++) {
        int h = top + k;
        if (h < 0 || h >= s.in_height) continue;
        const T* from = x + ((long long)image * s.in_height + h) * s.in_width * s.in_channels;
        float line[(COLUMNS - 1) * S + KW][4];
#pragma unroll
        for (int e = 0; e < (COLUMNS - 1) * S + KW; e++) {
            int c = left + e;
            read_or_zero(from + (long long)c * s.in_channels + channel,
                         c >= 0 && c < s.in_width, line[e]);
        }
#pragma unroll
        for (int q = 0; q < ROWS; q++) {
            int a = k - q * S;
            if (a < 0 || a >= s.kernel_height) continue;
#pragma unroll
            for (int b = 0; b < KW; b++) {
#pragma unroll
                for (int r = 0; r < R; r++) {
                    float weight[4];
                    read(filter + ((a * KW + b) * R + r) * s.lanes * 4 + lane * 4, weight);
#pragma unroll
                    for (int p = 0; p < COLUMNS; p++) {
#pragma unroll
                        for (int v = 0; v < 4; v++) {
                            sum[q][p][v] += line[p * S + b][v / R * R + r] * weight[v];
                        }
                    }
                }
            }
        }
    }
#pragma unroll
    for (int q = 0; q < ROWS; q++) {
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) {
            if (row + q >= s.out_height || column + p >= s.out_width) continue;
            long long pixel = ((long long)image * s.out_height + row + q) * s.out_width;
            finish(sum[q][p], bias, add, y, s, pixel + column + p, channel);
        }
    }
}

// The same for any kernel, stride and dilation.  LANES is 4 for groups of one channel in and one
// out; else it is 1, for groups of any size.
template <typename T, int LANES>
__device__ void by_cells(const T* x, const T* w, const T* bias, const T* add, T* y,
                         const Shape& s) {
    const int COLUMNS = 4;
    DYNAMIC_SHARED(float, filter);
    int lane = threadIdx.x % s.lanes, first = blockIdx.y * s.lanes * LANES;
    int channel = first + lane * LANES;
    stage(w, s, first, s.lanes * LANES, filter);

    int across = (s.out_width + COLUMNS - 1) / COLUMNS;
    int strip = blockIdx.x * (THREADS / s.lanes) + threadIdx.x / s.lanes;
    int column = strip % across * COLUMNS, row = strip / across % s.out_height;
    int image = strip / across / s.out_height;
    if (threadIdx.x / s.lanes >= THREADS / s.lanes || image >= s.images ||
        channel >= s.out_channels) return;

    float sum[COLUMNS][LANES] = {};
    int from_channel = LANES > 1 ? channel : channel / s.outputs * s.inputs;
    for (int a = 0; a < s.kernel_height; a++) {
        int h = row * s.stride_y + a * s.dilation_y - s.padding_y;
        if (h < 0 || h >= s.in_height) continue;
        const T* from = x + ((long long)image * s.in_height + h) * s.in_width * s.in_channels;
        for (int b = 0; b < s.kernel_width; b++) {
            int left = column * s.stride_x + b * s.dilation_x - s.padding_x;
            for (int r = 0; r < s.inputs; r++) {
                int term = (a * s.kernel_width + b) * s.inputs + r;
                float weight[LANES];
                read(filter + (term * s.lanes + lane) * LANES, weight);
#pragma unroll
                for (int p = 0; p < COLUMNS; p++) {
                    int c = left + p * s.stride_x;
                    float value[LANES];
                    read_or_zero(from + (long long)c * s.in_channels + from_channel + r,
                                 c >= 0 && c < s.in_width, value);
#pragma unroll
                    for (int v = 0; v < LANES; v++) sum[p][v] += value[v] * weight[v];
                }
            }
        }
    }
#pragma unroll
    for (int p = 0; p < COLUMNS; p++) {
        if (column + p >= s.out_width) continue;
        long long pixel = ((long long)image * s.out_height + row) * s.out_width + column + p;
        finish(sum[p], bias, add, y, s, pixel, channel);
    }
}

// --- the gradient by x at any stride --------------------------------------------------------------

// dx[n,h,w,c] = sum_abt dy[n, i, j, t of c's group] * w[t,a,b,c], over the a with i*s + a*d - p = h.
//
// Pixels a stride apart see the same cells, so a thread has COLUMNS of those: `in` is dy.
template <typename T, int LANES>
__device__ void by_phases(const T* dy, const T* w, T* dx, const Shape& s) {
    const int COLUMNS = 4;
    DYNAMIC_SHARED(float, filter);
    int lane = threadIdx.x % s.lanes, first = blockIdx.y * s.lanes * LANES;
    int channel = first + lane * LANES;
    stage(w, s, first, s.lanes * LANES, filter);

    int runs = (s.out_width + s.stride_x * COLUMNS - 1) / (s.stride_x * COLUMNS);
    int across = runs * s.stride_x;
    int strip = blockIdx.x * (THREADS / s.lanes) + threadIdx.x / s.lanes;
    int phase = strip % s.stride_x, run = strip % across / s.stride_x;
    int row = strip / across % s.out_height, image = strip / across / s.out_height;
    if (threadIdx.x / s.lanes >= THREADS / s.lanes || image >= s.images ||
        channel >= s.out_channels) return;

    float sum[COLUMNS][LANES] = {};
    int column = run * COLUMNS * s.stride_x + phase;
    int from_channel = LANES > 1 ? channel : channel / s.outputs * s.inputs;
    for (int a = 0; a < s.kernel_height; a++) {
        int i = row + s.padding_y - a * s.dilation_y;
        if (i < 0 || i % s.stride_y || i / s.stride_y >= s.in_height) continue;
        long long line = ((long long)image * s.in_height + i / s.stride_y) * s.in_width;
        for (int b = 0; b < s.kernel_width; b++) {
            int j = column + s.padding_x - b * s.dilation_x;
            if (j % s.stride_x) continue;
            int left = j / s.stride_x;  // exact, so negative numbers are right as well
            for (int r = 0; r < s.inputs; r++) {
                int turned = (s.kernel_height - 1 - a) * s.kernel_width + s.kernel_width - 1 - b;
                float weight[LANES];
                read(filter + ((turned * s.inputs + r) * s.lanes + lane) * LANES, weight);
#pragma unroll
                for (int p = 0; p < COLUMNS; p++) {
                    int c = left + p;
                    float value[LANES];
                    read_or_zero(dy + (line + c) * s.in_channels + from_channel + r,
                                 c >= 0 && c < s.in_width, value);
#pragma unroll
                    for (int v = 0; v < LANES; v++) sum[p][v] += value[v] * weight[v];
                }
            }
        }
    }
#pragma unroll
    for (int p = 0; p < COLUMNS; p++) {
        int c = column + p * s.stride_x;
        if (c >= s.out_width) continue;
        long long pixel = ((long long)image * s.out_height + row) * s.out_width + c;
        write(dx + pixel * s.out_channels + channel, sum[p]);
    }
}

// --- the gradient by w ----------------------------------------------------------------------------
//
// Each block sums over a share of the strips, its threads over every so many of them.  Their sums
// meet in shared memory and are added in order; those of the blocks are added by splits.cu.

// Add what `threads` rows of `count` values hold, in order: values i of all threads beside another.
__device__ float sum_of_threads(const float* values, int threads, int count, int i) {
    float sum = 0;
#pragma unroll 1
    for (int t = 0; t < threads; t++) sum += values[t * count + i];
    return sum;
}

// parts[split,o,a,b,r] = sum_nij x[n, i*s + a - p, j*s + b - p, r of o's group] * dy[n,i,j,o] over
// the strips of a block, groups of R in and R out; blockIdx.z counts filter rows, CELLS at a time.
template <typename T, int R, int KW, int S, int CELLS>
__device__ void weight_by_rows(const T* x, const T* dy, float* parts, const Shape& s) {
    const int COLUMNS = 4;
    DYNAMIC_SHARED(float, sums);
    int lane = threadIdx.x % s.lanes, thread = threadIdx.x / s.lanes;
    int threads = THREADS / s.lanes;
    int first = blockIdx.y * s.lanes * 4, channel = first + lane * 4;
    int first_row = blockIdx.z * CELLS;
    int across = (s.out_width + COLUMNS - 1) / COLUMNS;
    long long strips = (long long)s.images * s.out_height * across;
    int begin = strips * blockIdx.x / gridDim.x, end = strips * (blockIdx.x + 1) / gridDim.x;

    float sum[CELLS][KW][R][4] = {};
    bool works = thread < threads && channel < s.out_channels;
    for (int strip = begin + thread; works && strip < end; strip += threads) {
        int column = strip % across * COLUMNS, row = strip / across % s.out_height;
        int image = strip / across / s.out_height;
        long long pixel = ((long long)image * s.out_height + row) * s.out_width + column;
        float dvalue[COLUMNS][4];
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) {
            read_or_zero(dy + (pixel + p) * s.out_channels + channel, column + p < s.out_width,
                         dvalue[p]);
        }
#pragma unroll
        for (int a = 0; a < CELLS; a++) {
            int h = row * S - s.padding_y + first_row + a;
            if (h < 0 || h >= s.in_height) continue;
            const T* from = x + ((long long)image * s.in_height + h) * s.in_width * s.in_channels;
            float line[(COLUMNS - 1) * S + KW][4];
#pragma unroll
            for (int e = 0; e < (COLUMNS - 1) * S + KW; e++) {
                int c = column * S - s.padding_x + e;
                read_or_zero(from + (long long)c * s.in_channels + channel,
                             c >= 0 && c < s.in_width, line[e]);
            }
#pragma unroll
            for (int b = 0; b < KW; b++) {
#pragma unroll
                for (int r = 0; r < R; r++) {
#pragma unroll
                    for (int p = 0; p < COLUMNS; p++) {
#pragma unroll
                        for (int v = 0; v < 4; v++) {
                            sum[a][b][r][v] += line[p * S + b][v / R * R + r] * dvalue[p][v];
                        }
                    }
                }
            }
        }
    }

    int count = CELLS * KW * R * s.lanes * 4;
    if (thread < threads) {
#pragma unroll
        for (int a = 0; a < CELLS; a++) {
#pragma unroll
            for (int b = 0; b < KW; b++) {
#pragma unroll
                for (int r = 0; r < R; r++) {
                    int term = (a * KW + b) * R + r;
                    write(sums + thread * count + (term * s.lanes + lane) * 4, sum[a][b][r]);
                }
            }
        }
    }
    __syncthreads();
    int all_terms = s.kernel_height * KW * R;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        int o = first + i % (s.lanes * 4), term = first_row * KW * R + i / (s.lanes * 4);
        if (o >= s.out_channels || term >= all_terms) continue;
        long long filter = (long long)blockIdx.x * s.out_channels + o;
        parts[filter * all_terms + term] = sum_of_threads(sums, threads, count, i);
    }
}

// The same for any kernel, stride and dilation; LANES as in `by_cells`.  blockIdx.z counts terms,
// that is cells and inputs of the group, TERMS at a time.
template <typename T, int LANES>
__device__ void weight_by_cells(const T* x, const T* dy, float* parts, const Shape& s) {
    const int TERMS = 4;
    DYNAMIC_SHARED(float, sums);
    int lane = threadIdx.x % s.lanes, thread = threadIdx.x / s.lanes;
    int threads = THREADS / s.lanes;
    int first = blockIdx.y * s.lanes * LANES, channel = first + lane * LANES;
    int all_terms = s.kernel_height * s.kernel_width * s.inputs;
    int pixels_of_image = s.out_height * s.out_width;
    long long pixels = (long long)s.images * pixels_of_image;
    int begin = pixels * blockIdx.x / gridDim.x, end = pixels * (blockIdx.x + 1) / gridDim.x;

    int move_y[TERMS], move_x[TERMS], from_channel[TERMS];
#pragma unroll
    for (int k = 0; k < TERMS; k++) {
        int term = min((int)blockIdx.z * TERMS + k, all_terms - 1), cell = term / s.inputs;
        move_y[k] = cell / s.kernel_width * s.dilation_y - s.padding_y;
        move_x[k] = cell % s.kernel_width * s.dilation_x - s.padding_x;
        from_channel[k] =
            LANES > 1 ? channel : channel / s.outputs * s.inputs + term % s.inputs;
    }
    float sum[TERMS][LANES] = {};
    bool works = thread < threads && channel < s.out_channels;
    for (int pixel = begin + thread; works && pixel < end; pixel += threads) {
        int image = pixel / pixels_of_image;
        int row = pixel % pixels_of_image / s.out_width, column = pixel % s.out_width;
        float dvalue[LANES];
        read(dy + (long long)pixel * s.out_channels + channel, dvalue);
#pragma unroll
        for (int k = 0; k < TERMS; k++) {
            int h = row * s.stride_y + move_y[k], c = column * s.stride_x + move_x[k];
            bool inside = h >= 0 && h < s.in_height && c >= 0 && c < s.in_width;
            long long place = ((long long)image * s.in_height + h) * s.in_width + c;
            float value[LANES];
            read_or_zero(x + place * s.in_channels + from_channel[k], inside, value);
#pragma unroll
            for (int v = 0; v < LANES; v++) sum[k][v] += value[v] * dvalue[v];
        }
    }

    int count = TERMS * s.lanes * LANES;
    if (thread < threads) {
#pragma unroll
        for (int k = 0; k < TERMS; k++) {
            write(sums + thread * count + (k * s.lanes + lane) * LANES, sum[k]);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += THREADS) {
        int o = first + i % (s.lanes * LANES), term = blockIdx.z * TERMS + i / (s.lanes * LANES);
        if (o >= s.out_channels || term >= all_terms) continue;
        long long filter = (long long)blockIdx.x * s.out_channels + o;
        parts[filter * all_terms + term] = sum_of_threads(sums, threads, count, i);
    }
}

// --- names ----------------------------------------------------------------------------------------

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)

#define BY_ROWS(type, T, R, KW, S, ROWS, COLUMNS)                                                \
    KERNEL by_rows_##type##_r##R##_k##KW##_s##S(                                                 \
        const T* x, const T* w, const T* bias, const T* add, T* y, Shape s) {                    \
        by_rows<T, R, KW, S, ROWS, COLUMNS>(x, w, bias, add, y, s);                              \
    }
#define WEIGHT_BY_ROWS(type, T, R, KW, S, CELLS)                                                 \
    KERNEL weight_by_rows_##type##_r##R##_k##KW##_s##S(                                          \
        const T* x, const T* dy, float* parts, Shape s) {                                        \
        weight_by_rows<T, R, KW, S, CELLS>(x, dy, parts, s);                                     \
    }
#define BY_CELLS(type, T, LANES)                                                                 \
    KERNEL by_cells_##type##_##LANES(                                                            \
        const T* x, const T* w, const T* bias, const T* add, T* y, Shape s) {                    \
        by_cells<T, LANES>(x, w, bias, add, y, s);                                               \
    }                                                                                            \
    KERNEL by_phases_##type##_##LANES(const T* dy, const T* w, T* dx, Shape s) {                 \
        by_phases<T, LANES>(dy, w, dx, s);                                                       \
    }                                                                                            \
    KERNEL weight_by_cells_##type##_##LANES(const T* x, const T* dy, float* parts, Shape s) {    \
        weight_by_cells<T, LANES>(x, dy, parts, s);                                              \
    }
BY_CELLS(f32, float, 1)
BY_CELLS(f32, float, 4)
BY_CELLS(bf16, bf16, 1)
BY_CELLS(bf16, bf16, 4)

BY_ROWS(f32, float, 1, 3, 1, 2, 4)
BY_ROWS(f32, float, 1, 3, 2, 1, 4)
BY_ROWS(f32, float, 1, 5, 1, 2, 4)
BY_ROWS(f32, float, 1, 5, 2, 1, 2)
BY_ROWS(f32, float, 1, 7, 1, 2, 4)
BY_ROWS(f32, float, 4, 3, 1, 2, 4)
BY_ROWS(f32, float, 4, 3, 2, 1, 4)
BY_ROWS(bf16, bf16, 1, 3, 1, 2, 4)
BY_ROWS(bf16, bf16, 1, 3, 2, 1, 4)

WEIGHT_BY_ROWS(f32, float, 1, 3, 1, 3)
WEIGHT_BY_ROWS(f32, float, 1, 3, 2, 3)
WEIGHT_BY_ROWS(f32, float, 1, 5, 1, 2)
WEIGHT_BY_ROWS(f32, float, 1, 5, 2, 2)
WEIGHT_BY_ROWS(f32, float, 1, 7, 1, 1)
WEIGHT_BY_ROWS(f32, float, 4, 3, 1, 1)
WEIGHT_BY_ROWS(f32, float, 4, 3, 2, 1)
WEIGHT_BY_ROWS(bf16, bf16, 1, 3, 1, 3)
WEIGHT_BY_ROWS(bf16, bf16, 1, 3, 2, 3)
