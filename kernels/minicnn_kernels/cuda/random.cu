// Random words that only a key and a place decide: Philox 4x64-10, as NumPy's Philox counts.
//
// Paper: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
#include "pack.cuh"

struct Words {
    uint64 at[4];
};

// Return numbers 4 * block to 4 * block + 3 of the stream of a key.
__device__ inline Words philox(uint64 block, uint64 key0, uint64 key1) {
    Words x = {{block + 1, 0, 0, 0}};  // NumPy counts before it draws
    for (int round = 0; round < 10; round++) {
        const uint64 high0 = __umul64hi(0xD2E7470EE14C6C93, x.at[0]);
        const uint64 high1 = __umul64hi(0xCA5A826395121157, x.at[2]);
        x = {{high1 ^ x.at[1] ^ key0, 0xCA5A826395121157 * x.at[2],
              high0 ^ x.at[3] ^ key1, 0xD2E7470EE14C6C93 * x.at[0]}};
        key0 += 0x9E3779B97F4A7C15;
        key1 += 0xBB67AE8584CAA73B;
    }
    return x;
}

// kept[i] = word i of the stream >= least, i counted in the reading order of images (N, C, pixels).
//
// They lie in memory as (N, pixels, C); with C = 1 in reading order.  A thread draws eight words.
extern "C" __global__ void __launch_bounds__(256)
keep_mask(const uint64* key, uint64 least, long long size, long long channels, long long pixels,
          bool* kept) {
    const long long block = blockIdx.x * 256LL + threadIdx.x;
    const long long begin = 8 * block;
    if (begin >= size) return;
    const Words words = philox(block, key[0], key[1]);
    Pack<bool, 8> pack;
#pragma unroll
    for (int k = 0; k < 8; k++)
        pack.values[k] = uint32(words.at[k / 2] >> 32 * (k % 2)) >= least;
    if (channels == 1 && begin + 8 <= size) {
        *reinterpret_cast<Pack<bool, 8>*>(kept + begin) = pack;
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const long long i = begin + k;
        const long long image = i / pixels / channels, channel = i / pixels % channels;
        if (i < size) kept[(image * pixels + i % pixels) * channels + channel] = pack.values[k];
    }
}
