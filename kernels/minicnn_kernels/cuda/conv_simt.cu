// Implicit GEMM with ordinary multiply-adds, for every card: float32 to the last bit or two.
//
// A thread adds up 8 x 8 values of y, as two by two squares of 4 x 4: so it reads its factors from
// shared memory 16 bytes at a time, two times for each, and neighbours read other banks.  The next
// tiles are on their way to registers meanwhile, and go to the other half of shared memory.
#include "implicit_gemm.cuh"

constexpr int CHUNK = 8;   // values of the sum in a tile
constexpr int UNIT = 4;    // values that are loaded together
constexpr int MARGIN = 4;  // a row of a tile is so much longer: threads that turn units, of which
                           // one has k and the next k + 4, write to different banks

template <class Source, bool INNER, int LINES, int THREADS>
struct Staged {
    using Units = Loader<Source, INNER, LINES, CHUNK, UNIT, THREADS>;
    static constexpr int PITCH = LINES + MARGIN;
    Units units;
    float values[Units::COUNT][UNIT];

    __device__ Staged(const Source& source, int line) : units(source, line) {}

    __device__ void load(int k) {
        const Source& source = units.source;
        units.each(k, [&](int i, const auto& row, const Column& column, int j) {
            if (source.vectors) {
                float4 four = make_float4(0, 0, 0, 0);
                if (source.inside(row, column)) {
                    four = *reinterpret_cast<const float4*>(row.start + column.offset);
                }
                values[i][0] = four.x;
                values[i][1] = four.y;
                values[i][2] = four.z;
                values[i][3] = four.w;
            } else {
                j = afresh(j);
#pragma unroll
                for (int e = 0; e < UNIT; e++) {
                    Column next = source.column(j + e);
                    values[i][e] = source.inside(row, next) ? row.start[next.offset] : 0;
                }
            }
        });
    }

    // A tile has a row for each k, whatever lies in memory.
    __device__ void store(float* tile) const {
#pragma unroll
        for (int i = 0; i < Units::COUNT; i++) {
            int below = i * Units::STEP * (INNER ? PITCH : 1);
            float* place = tile + units.k * PITCH + units.line + below;
            const float(&unit)[UNIT] = values[i];
            if constexpr (INNER) {
                *reinterpret_cast<float4*>(place) = make_float4(unit[0], unit[1], unit[2], unit[3]);
            } else {
#pragma unroll
                for (int e = 0; e < UNIT; e++) place[e * PITCH] = unit[e];
            }
        }
    }
};

template <Pass PASS, int ROWS, int COLUMNS>
__device__ void convolve(const float* a, const float* b, float* y, const float* bias,
                         const float* add, float* parts, int relu, const Problem& problem) {
    using F = Factors<PASS, float>;
    constexpr int THREADS = ROWS * COLUMNS / 64;
    alignas(16) __shared__ float a_tiles[2][CHUNK * (ROWS + MARGIN)];
    alignas(16) __shared__ float b_tiles[2][CHUNK * (COLUMNS + MARGIN)];

    const Block block = block_of<PASS>(problem);
    Place place = place_of<ROWS, COLUMNS>(problem);
    if (place.row >= block.rows) return;
    auto a_source = F::a(a, place.group, block, problem);
    auto b_source = F::b(b, place.group, block, problem);
    Staged<decltype(a_source), F::a_inner, ROWS, THREADS> a_next(a_source, place.row);
    Staged<decltype(b_source), F::b_inner, COLUMNS, THREADS> b_next(b_source, place.column);

    // A warp covers 4 x 8 squares: it reads 16 different values of a, 32 of b.
    constexpr int ACROSS = COLUMNS / 64;  // warps
    int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    int row = (warp / ACROSS * 4 + lane / 8) * 4, column = (warp % ACROSS * 8 + lane % 8) * 4;

    float sums[8][8] = {};
    a_next.load(block.begin);
    b_next.load(block.begin);
    int half = 0;
    for (int k = block.begin; k < block.end; k += CHUNK, half ^= 1) {
        a_next.store(a_tiles[half]);
        b_next.store(b_tiles[half]);
        __syncthreads();  // one is enough: who is here has read the other half
        if (k + CHUNK < block.end) {
            a_next.load(k + CHUNK);
            b_next.load(k + CHUNK);
        }
#pragma unroll
        for (int i = 0; i < CHUNK; i++) {
            const float* left = a_tiles[half] + i * (ROWS + MARGIN) + row;
            const float* right = b_tiles[half] + i * (COLUMNS + MARGIN) + column;
            float4 u0 = *reinterpret_cast<const float4*>(left);
            float4 u1 = *reinterpret_cast<const float4*>(left + ROWS / 2);
            float4 v0 = *reinterpret_cast<const float4*>(right);
            float4 v1 = *reinterpret_cast<const float4*>(right + COLUMNS / 2);
            float u[8] = {u0.x, u0.y, u0.z, u0.w, u1.x, u1.y, u1.z, u1.w};
            float v[8] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
#pragma unroll
            for (int r = 0; r < 8; r++)
#pragma unroll
                for (int c = 0; c < 8; c++) sums[r][c] = fmaf(u[r], v[c], sums[r][c]);
        }
    }

    place = place_of<ROWS, COLUMNS>(problem);
    const Result<float> result(y, bias, add, parts, relu, place.group, block, problem);
#pragma unroll
    for (int r = 0; r < 8; r++) {
        int line = place.row + row + r / 4 * (ROWS / 2) + r % 4;
        if (line >= block.rows) continue;
        long long start = result.start(line);
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float* four = sums[r] + 4 * c;
            result.write(start, place.column + column + c * (COLUMNS / 2),
                         make_float4(four[0], four[1], four[2], four[3]));
        }
    }
}

#define CONVOLVE(name, PASS, ROWS, COLUMNS, BLOCKS)                                              \
    extern "C" __global__ void __launch_bounds__(ROWS* COLUMNS / 64, BLOCKS)                     \
    name(const float* a, const float* b, float* y, const float* bias, const float* add,          \
         float* parts, int relu, Problem problem) {                                              \
        convolve<PASS, ROWS, COLUMNS>(a, b, y, bias, add, parts, relu, problem);                 \
    }

CONVOLVE(conv_simt_128x64, FORWARD, 128, 64, 3)
CONVOLVE(conv_simt_64x64, FORWARD, 64, 64, 6)
CONVOLVE(conv_input_simt_128x64, INPUT, 128, 64, 3)
CONVOLVE(conv_input_simt_64x64, INPUT, 64, 64, 6)
CONVOLVE(conv_weight_simt_128x64, WEIGHT, 128, 64, 3)
CONVOLVE(conv_weight_simt_64x64, WEIGHT, 64, 64, 6)
