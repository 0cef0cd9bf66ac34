// Convolution, its two gradients and the product of matrices as one thing: y = a b for matrices of
// which most exist nowhere.  Blocks of threads look their values up in images and filters.
//
//   pass     y (rows x columns)       a                            b
//   FORWARD  pixels of y x filters    windows of x                 filters, a row each
//   INPUT    pixels of dx x channels  windows of dy                filters, a row for each tap
//   WEIGHT   filters x (taps, chan.)  dy, a row for each pixel     windows of x
//
// Memory is channels-last: x (N, H, W, C), w (O, KH, KW, C).  A factor whose rows in memory belong
// to the sum's index k (the "inner" one), as both of WEIGHT, is loaded as it lies, not turned.
//
// With a stride, the pixels of dx fall into phases: those of one remainder by the stride see the
// same taps, and only these.  A phase is a convolution of its own, blockIdx.y says which.
#pragma once
#include "ptx.cuh"

enum Pass { FORWARD, INPUT, WEIGHT };

// x / value as x * multiplier / 2^(31 + shift): exact for 0 <= x < 2^31.
struct Divisor {
    int value;
    uint32 multiplier;
    int shift;
};

__device__ inline int divide(int x, const Divisor& by) {
    return int(__umulhi(2u * uint32(x), by.multiplier) >> by.shift);
}

__device__ inline Divisor divisor(int value) {
    int shift = value > 1 ? 32 - __clz(value - 1) : 0;
    uint64 power = 1ull << (31 + shift);
    return {value, uint32((power + uint32(value) - 1) / uint32(value)), shift};
}

// Which windows look at an image, and what of it each sees.
struct Windows {
    Divisor per_image, per_line;  // windows
    Divisor channels, kernel_w;   // of a window
    int height, width;            // of the image
    int pixel;                    // values from one pixel to the next
    int start_h, start_w, step_h, step_w, dilation_h, dilation_w;
};

// How the pixels of dx fall into phases.
struct Phases {
    int count, images, height, width;
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
    int tap_step_h, tap_step_w;  // taps that a phase sees are so far apart
};

struct Problem {  // the host's twin is PROBLEM in convolution.py
    long long a_group, b_group, y_group;  // values from one group to the next
    long long part;                       // values of y, where the sum is split
    Windows windows;
    Phases phases;
    int rows, columns, inner;       // of the largest phase
    int inner_of_part;              // how much of the sum each part takes
    int parts;                      // if more than one, they are written for splits.cu
    int matrix_pitch, y_pitch;      // values from row to row
    int plain;                      // whether a window is one pixel, the same one: no arithmetic
    int a_vectors, b_vectors, y_vectors;  // whether 16 bytes lie side by side, aligned
};

// A row and a column of a factor: their value lies at start[offset], and is zero if the sum of h or of
// w is outside the image.
template <typename T>
struct Row {
    const T* start;
    int h, w;
};
struct Column {
    int offset, h, w;
};
constexpr int OUTSIDE = -(1 << 30);

// The same number, of which the compiler does not know so: what depends on it is computed where it is
// used, instead of being kept in registers all the time.
__device__ inline int afresh(int x) {
#ifndef MINICNN_EMULATED
    asm volatile("" : "+r"(x));
#endif
    return x;
}

// --- factors -------------------------------------------------------------------------------------

// A row is a window, a column a tap and a channel.
template <typename T>
struct WindowRows {
    static constexpr bool seen_again = true;  // a block reads a pixel for each tap
    const T* data;
    Windows windows;
    int rows, columns;
    bool plain, vectors;

    __device__ Row<T> row(int i) const {
        if (i >= rows) return {data, OUTSIDE, 0};
        if (plain) return {data + (long long)i * windows.pixel, 0, 0};
        int image = divide(i, windows.per_image), rest = i - image * windows.per_image.value;
        int line = divide(rest, windows.per_line), at = rest - line * windows.per_line.value;
        int h = windows.start_h + line * windows.step_h, w = windows.start_w + at * windows.step_w;
        int pixel = (image * windows.height + h) * windows.width + w;
        return {data + (long long)pixel * windows.pixel, h, w};
    }

    __device__ Column column(int j) const {
        if (j >= columns) return {0, OUTSIDE, 0};
        if (plain) return {j, 0, 0};
        int tap = divide(j, windows.channels), channel = j - tap * windows.channels.value;
        int line = divide(tap, windows.kernel_w), at = tap - line * windows.kernel_w.value;
        int h = line * windows.dilation_h, w = at * windows.dilation_w;
        return {(h * windows.width + w) * windows.pixel + channel, h, w};
    }

    __device__ bool inside(const Row<T>& row, const Column& column) const {
        return uint32(row.h + column.h) < uint32(windows.height) &&
               uint32(row.w + column.w) < uint32(windows.width);
    }
};

// A matrix as it lies.
template <typename T>
struct MatrixRows {
    static constexpr bool seen_again = false;
    const T* data;
    int rows, columns, pitch;
    bool vectors;

    __device__ Row<T> row(int i) const {
        return {data + (long long)i * pitch, i < rows ? 0 : OUTSIDE, 0};
    }
    __device__ Column column(int j) const { return {j, j < columns ? 0 : OUTSIDE, 0}; }
    __device__ bool inside(const Row<T>& row, const Column& column) const {
        return row.h + column.h >= 0;
    }};

// A row is a tap and a filter, in the order of the columns of INPUT's windows; a column a channel.
template <typename T>
struct TapRows : MatrixRows<T> {
    Divisor filters, kernel_w;   // taps of the phase in a line
    int first, step, line_step;  // of taps, within a filter
    bool plain;

    __device__ Row<T> row(int i) const {
        if (plain || i >= this->rows) return MatrixRows<T>::row(i);
        int tap = divide(i, filters), filter = i - tap * filters.value;
        int line = divide(tap, kernel_w), at = tap - line * kernel_w.value;
        int place = first + line * line_step + at * step;
        return {this->data + filter * this->pitch + place * this->columns, 0, 0};
    }};

// --- what a block is to do -----------------------------------------------------------------------

// A side of a phase: which pixels it has, and which taps they see.
struct PhaseSide {
    int first, count, tap, taps, start;

    __device__ PhaseSide(int remainder, int size, int kernel, int stride, int padding, int dilation,
                         int tap_step) {
        first = ((remainder - padding) % stride + stride) % stride;
        count = first < size ? (size - first - 1) / stride + 1 : 0;
        int end = min(kernel, tap_step);
        for (tap = 0; tap < end && (remainder - tap * dilation) % stride; tap++) {
        }
        taps = tap < end ? (kernel - tap - 1) / tap_step + 1 : 0;
        start = (first + padding - tap * dilation) / stride;
    }
};

// What is different in each phase.
struct Phase {
    Divisor per_image, per_line, kernel_w;
    int rows, inner;
    int start_h, start_w;  // of its first window
    int first_tap, first_h, first_w;

    Phase() = default;

    __device__ Phase(const Problem& problem) {
        const Phases& all = problem.phases;
        PhaseSide h(blockIdx.y / all.stride_w, all.height, all.kernel_h, all.stride_h,
                    all.padding_h, all.dilation_h, all.tap_step_h);
        PhaseSide w(blockIdx.y % all.stride_w, all.width, all.kernel_w, all.stride_w,
                    all.padding_w, all.dilation_w, all.tap_step_w);
        per_image = divisor(max(1, h.count * w.count));
        per_line = divisor(max(1, w.count));
        kernel_w = divisor(max(1, w.taps));
        rows = all.images * h.count * w.count;
        inner = h.taps * w.taps * problem.windows.channels.value;
        start_h = h.start;
        start_w = w.start;
        first_tap = h.tap * all.kernel_w + w.tap;
        first_h = h.first;
        first_w = w.first;
    }
};

// What a block adds up.
struct Block {
    const Phase* phase;  // or null, if there is one only
    int rows;            // of y, in all
    int begin, end;      // of the sum
};

template <Pass PASS>
__device__ Block block_of(const Problem& problem) {
    Block block{nullptr, problem.rows, int(blockIdx.z) * problem.inner_of_part, problem.inner};
    if constexpr (PASS == INPUT) {
        if (problem.phases.count > 1) {
            __shared__ Phase phase;  // registers are dear
            if (threadIdx.x == 0) phase = Phase(problem);
            __syncthreads();
            block = {&phase, phase.rows, block.begin, phase.inner};
        }
    }
    block.end = min(block.end, block.begin + problem.inner_of_part);
    return block;
}

// The part of y that a block computes: its group, first row and first column.
struct Place {
    int group, row, column;
};

// Blocks that run at the same time are neighbours in both directions, so that what they read is in
// the L2 cache: columns of so many tiles, one after the other.
constexpr int PANEL = 8;

template <int ROWS, int COLUMNS>
__device__ Place place_of(const Problem& problem) {
    int down = (problem.rows + ROWS - 1) / ROWS, across = (problem.columns + COLUMNS - 1) / COLUMNS;
    int tile = afresh(blockIdx.x), group = tile / (down * across);
    tile -= group * (down * across);
    int panel = tile / (PANEL * across) * PANEL, height = min(PANEL, down - panel);
    tile -= panel * across;
    return {group, (panel + tile % height) * ROWS, tile / height * COLUMNS};
}

template <Pass PASS, typename T>
struct Factors;

template <typename T>
struct Factors<FORWARD, T> {
    static constexpr bool a_inner = false, b_inner = false;  // whether rows in memory are the sum's

    __device__ static WindowRows<T> a(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        return {data + group * problem.a_group, problem.windows, block.rows, block.end,
                bool(problem.plain), bool(problem.a_vectors)};
    }
    __device__ static MatrixRows<T> b(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        return {data + group * problem.b_group, problem.columns, block.end,
                problem.matrix_pitch, bool(problem.b_vectors)};
    }
};

template <typename T>
struct Factors<INPUT, T> {
    static constexpr bool a_inner = false, b_inner = true;

    __device__ static WindowRows<T> a(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        WindowRows<T> rows = Factors<FORWARD, T>::a(data, group, block, problem);
        if (const Phase* phase = block.phase) {
            rows.windows.per_image = phase->per_image;
            rows.windows.per_line = phase->per_line;
            rows.windows.kernel_w = phase->kernel_w;
            rows.windows.start_h = phase->start_h;
            rows.windows.start_w = phase->start_w;
        }
        return rows;
    }
    __device__ static TapRows<T> b(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        const Phase* phase = block.phase;
        return {{data + group * problem.b_group, block.end, problem.columns,
                 problem.matrix_pitch, bool(problem.b_vectors)},
                problem.windows.channels, phase ? phase->kernel_w : problem.windows.kernel_w,
                phase ? phase->first_tap : 0, problem.phases.tap_step_w,
                problem.phases.tap_step_h * problem.phases.kernel_w, bool(problem.plain)};
    }
};

template <typename T>
struct Factors<WEIGHT, T> {
    static constexpr bool a_inner = true, b_inner = true;

    __device__ static MatrixRows<T> a(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        return {data + group * problem.a_group, block.end, block.rows, problem.matrix_pitch,
                bool(problem.a_vectors)};
    }
    __device__ static WindowRows<T> b(const T* data, int group, const Block& block,
                                           const Problem& problem) {
        return {data + group * problem.b_group, problem.windows, block.end, problem.columns,
                bool(problem.plain), bool(problem.b_vectors)};
    }
};

// --- results -------------------------------------------------------------------------------------

template <typename T>
struct Result {
    const Block& block;
    const Problem& problem;
    T* y;
    const T* bias;  // one for each column, or null
    const T* add;   // as y, or null
    float* part;    // where to write the part of a sum, or null
    bool relu;

    // Made after the sums, so that the pointers take no registers meanwhile.
    __device__ Result(T* y, const T* bias, const T* add, float* parts, bool relu, int group,
                      const Block& block, const Problem& problem)
        : block(block), problem(problem), relu(relu) {
        long long from = group * problem.y_group;
        this->y = y + from;
        this->bias = bias ? bias + group * problem.columns : nullptr;
        this->add = add ? add + from : nullptr;
        part = problem.parts > 1 ? parts + blockIdx.z * problem.part + from : nullptr;
    }

    __device__ long long start(int row) const {
        if (!block.phase) return (long long)row * problem.y_pitch;
        const Phases& phases = problem.phases;
        const Phase& phase = *block.phase;
        int image = divide(row, phase.per_image), rest = row - image * phase.per_image.value;
        int line = divide(rest, phase.per_line), at = rest - line * phase.per_line.value;
        int h = phase.first_h + line * phases.stride_h, w = phase.first_w + at * phases.stride_w;
        return (((long long)image * phases.height + h) * phases.width + w) * problem.y_pitch;
    }

    __device__ T finished(float value, float more, float shortcut) const {
        value = value + more + shortcut;
        return from_float<T>(relu && value < 0 ? 0 : value);
    }

    // Write four neighbours in a row, of which some may lie beyond the last column.
    __device__ void write(long long start, int column, float4 four) const {
        struct alignas(4 * sizeof(T)) Four {
            T values[4];
        };
        long long at = start + column;
        const float values[4] = {four.x, four.y, four.z, four.w};
        if (problem.y_vectors) {
            if (column >= problem.columns) return;
            if (part) {
                *reinterpret_cast<float4*>(part + at) = four;
                return;
            }
            Four zeros = {}, done;
            Four more = bias ? *reinterpret_cast<const Four*>(bias + column) : zeros;
            Four shortcut = add ? *reinterpret_cast<const Four*>(add + at) : zeros;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                done.values[i] = finished(values[i], to_float(more.values[i]),
                                          to_float(shortcut.values[i]));
            }
            *reinterpret_cast<Four*>(y + at) = done;
            return;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (column + i < problem.columns) {
                if (part) {
                    part[at + i] = values[i];
                } else {
                    y[at + i] = finished(values[i], bias ? to_float(bias[column + i]) : 0,
                                         add ? to_float(add[at + i]) : 0);
                }
            }
        }
    }
};

// --- loading -------------------------------------------------------------------------------------

// A thread's part of loading a factor's tiles, LINES lines of y's rows or columns times CHUNK
// values of the sum: always the same units of UNIT values that are neighbours in memory.
template <class Source, bool IN, int LINES_, int CHUNK, int UNIT, int THREADS>
struct Loader {
    static constexpr bool INNER = IN, SEEN_AGAIN = Source::seen_again;
    static constexpr int LINES = LINES_;
    static constexpr int ACROSS = (INNER ? LINES : CHUNK) / UNIT;  // units in a row of memory
    static constexpr int STEP = THREADS / ACROSS;                  // rows that all threads load
    static constexpr int COUNT = (INNER ? CHUNK : LINES) / STEP;
    static_assert(THREADS % ACROSS == 0 && (INNER ? CHUNK : LINES) % STEP == 0, "units left over");

    const Source& source;
    int line, k;   // of the first unit, within a tile
    int first;     // line of the tile
    decltype(source.row(0)) rows[INNER ? 1 : COUNT];
    Column column;

    __device__ Loader(const Source& source, int first) : source(source), first(first) {
        int row = threadIdx.x / ACROSS, at = threadIdx.x % ACROSS * UNIT;
        line = INNER ? at : row;
        k = INNER ? row : at;
        if constexpr (INNER) {
            column = source.column(first + line);
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++) rows[i] = source.row(first + line + i * STEP);
        }
    }

    // Call use(i, row, column, number of the column) for each unit of the tile at k.  Unit i is STEP
    // lines, or with INNER values of the sum, below unit i - 1.
    template <class Use>
    __device__ void each(int from, Use use) const {
        if constexpr (INNER) {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                use(i, source.row(from + k + i * STEP), column, first + line);
            }
        } else {
            Column column = source.column(from + k);
#pragma unroll
            for (int i = 0; i < COUNT; i++) use(i, rows[i], column, from + k);
        }
    }
};
