// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A search as a warp does it: the steps of all candidates, those of MX that fast errors
// leave open, and which open candidate has the least exact error. A lane has a group of NVFP4, or
// half a group of MX whose other half is its neighbour's. Device.
#pragma once

#include <cstdint>

#include "fpq/cuda/quantize/group_search_window.cuh"
#include "fpq/cuda/quantize/work.cuh"

namespace fpq::cuda {

inline constexpr unsigned whole_warp = 0xFFFFFFFFu;

/// Steps of the candidates, normalised for one group. Constructed by all threads of a block, `h`
/// and `table` being shared.
template <class Block>
struct search_steps;

template <>
struct search_steps<nvfp4_block> : search_window {
    step_source<nvfp4_block> halves;

    __device__ search_steps(step_source<nvfp4_block> h, float global, search_table& shared)
        : search_window(shared, global), halves(h) {
        auto const first = static_cast<int>(threadIdx.x);
        auto const stride = static_cast<int>(blockDim.x);
        shared.fill_sizes(global, first, stride);
        __syncthreads();
        shared.fill_pairs(global, halves, first, stride);
        __syncthreads();
    }
    __device__ search_step operator()(int byte) const {
        half_reciprocal const half = halves(static_cast<std::uint32_t>(byte));
        return {size(byte), {mul_rn(half.hi, back), mul_rn(half.lo, back)}};
    }
};

/// MX needs no table.
struct no_search_table {};

template <>
struct search_steps<mxfp4_block> {
    step_source<mxfp4_block> halves;
    float inverse;  // fl(1 / G)
    float unit;
    float back;

    __device__ search_steps(step_source<mxfp4_block> h, float global, no_search_table&)
        : halves(h), inverse(div_rn(1.0F, global)) {}
    __device__ search_step operator()(int byte) const {
        auto const at = static_cast<std::uint32_t>(byte);
        half_reciprocal const half = halves(at);
        float const power = mul_rn(bits_of<float>(at << 23), unit);
        return {mul_rn(inverse, power), {mul_rn(half.hi, back), mul_rn(half.lo, back)}};
    }
    __device__ void normalise(float a) {
        std::uint32_t const octave = a == 0.0F ? 127u : bits_of<std::uint32_t>(a) >> 23;
        unit = bits_of<float>((254u - octave) << 23);
        back = bits_of<float>(octave << 23);
    }
};

/// The candidates of MX that may have the least error. Of start - 2 .. start + 3, where 4 <= a /
/// step
/// <= 8 at the start, none can win from start + 2 on, and start + 1 only with quotients above 7;
/// then hardly one below does.
__device__ inline std::uint32_t open_candidates(std::uint32_t const (&x)[16], float a, int start,
                                                search_limit const& limit,
                                                search_steps<mxfp4_block> const& steps) {
    search_step const at = steps(start);
    // Neighbours are powers of two apart, exactly.
    auto const times = [&at](float power, float inverse) {
        return search_step{at.size * power, {at.half.hi * inverse, at.half.lo * inverse}};
    };
    search_step const below = times(0.5F, 2.0F);
    bool const up = a > least_useful * 2.0F * at.size;
    auto const errors = [&x](search_step const& low, search_step const& high) {
        std::uint32_t const own = quick_errors<search_reach::beyond>(x, pair_of_steps(low, high));
        return pair_add(own, __shfl_xor_sync(whole_warp, own, 1));
    };
    std::uint32_t e[2];
    e[0] = errors(up ? times(2.0F, 0.5F) : below, at);
    e[1] = infinite_pair;
    std::uint32_t const first = bit_of_offset(0) | bit_of_offset(up ? 1 : -1);
    float at_most = limit(fminf(low_of_pair(e[0]), high_of_pair(e[0])));
    if (any_lane(may_clip(a, (up ? 0.5F : 0.25F) * at.size, at_most))) {
        e[1] = errors(below, times(0.25F, 4.0F));
    }
    return close_to_least<2>(e, {first, bit_of_offset(-1) | bit_of_offset(-2)}, limit, at_most);
}

/// Error of a lane's 16 values as the CPU path sums it: 16 lanes, a wide group two values each.
template <bool Wide>
__device__ float exact_group_error(float const (&x)[16], search_step const& step) {
    auto const loss = [&](int i) {
        float const own = exact_loss(x[i], step);
        return Wide ? add_rn(own, __shfl_xor_sync(whole_warp, own, 1)) : own;
    };
    float sum[8];
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        sum[i] = add_rn(loss(i), loss(i + 8));
    }
    FPQ_UNROLL
    for (int i = 0; i < 4; ++i) {
        sum[i] = add_rn(sum[i], sum[i + 4]);
    }
    return add_rn(add_rn(sum[0], sum[2]), add_rn(sum[1], sum[3]));
}

/// The open candidates whose error in float32 is within the limit of the least.
template <class Block>
__device__ std::uint32_t closest(float const (&x)[16], std::uint32_t open, int start,
                                 search_steps<Block> const& steps) {
    float least = 3e38F;
    std::uint32_t close = 0;
#pragma unroll 1
    while (any_lane(open != 0)) {
        std::uint32_t const bit = open & (0u - open);
        int const offset = open == 0 ? 0 : offset_of_bit(__ffs(static_cast<int>(open)) - 1);
        float e = fine_error(x, steps(start + offset));
        if constexpr (!Block::has_global_scale) {
            e += __shfl_xor_sync(whole_warp, e, 1);
        }
        close = bit != 0 && fine_limit(e) < least ? 0u : close;
        close |= e > fine_limit(least) ? 0u : bit;  // NaN stays
        least = bit != 0 ? fminf(e, least) : least;
        open ^= bit;
    }
    return close;
}

/// The open candidate of least exact error, as an offset. All lanes enter, some without candidates.
template <class Block>
__device__ int settle(float const (&x)[16], std::uint32_t open, int start,
                      search_steps<Block> const& steps) {
    std::uint32_t close = closest<Block>(x, open, start, steps);
    int found = close == 0 ? 0 : offset_of_bit(__ffs(static_cast<int>(close)) - 1);
    if (!any_lane((close & (close - 1)) != 0)) {
        return found;
    }
    float least = 3.4e38F;
#pragma unroll 1
    while (any_lane(close != 0)) {
        int const offset = close == 0 ? found : offset_of_bit(__ffs(static_cast<int>(close)) - 1);
        close &= close - 1;
        float const e = exact_group_error<!Block::has_global_scale>(x, steps(start + offset));
        bool const first = rank_of_offset(offset) < rank_of_offset(found);
        found = e < least || (e == least && first) ? offset : found;
        least = fminf(e, least);
    }
    return found;
}

}  // namespace fpq::cuda
