// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The sweep observer on a warp of groups: the stored scale of least squared error. A
// warp walks the candidates of its groups together, each group around its own start.
//
// Candidates that cannot win are left out. Downwards: what the group's maximum alone loses to
// clipping is more than the best error. Upwards: when the maximum is at most 6 half steps, every
// value of the grid that it could use exists under half the step too. Both hold for all candidates
// further on.
#pragma once

#include "fpq/cuda/group_search.cuh"
#include "fpq/cuda/quantize_group.cuh"

namespace fpq::cuda {

inline constexpr unsigned whole_warp = 0xFFFFFFFFu;

/// Sizes of the steps of bytes 1 .. 126 and their reciprocals, in shared memory; none beyond them.
struct step_table {
    static constexpr int before = 64;
    static constexpr int count = 256;
    float2 entry[count];  // size, 1 / size

    __device__ void prepare(float global) {
        for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
            int const byte = i - before;
            bool const real = byte >= 1 && byte <= e4m3::max_code;
            float const s =
                real ? step_of(block_format::nvfp4, static_cast<std::uint8_t>(byte), global) : 0.0F;
            entry[i] =
                real ? make_float2(s, div_rn(1.0F, s)) : make_float2(byte < 1 ? 0.0F : 3e38F, 0.0F);
        }
    }
};

/// The best candidate so far and the runner-up's error.
struct search_state {
    int best = 0;
    float error = 3.4e38F;
    float second = 3.4e38F;

    __device__ void take(int byte, float e, bool need) {
        if (need) {
            second = e < error ? error : fminf(second, e);
            best = e < error ? byte : best;
            error = fminf(e, error);
        }
    }
    /// What the clipping of the maximum alone must exceed to end the walk downwards.
    __device__ float limit() const { return error + 2.0F * search_slack(error); }
    __device__ bool is_close() const { return second <= error + search_slack(error); }
};

/// What clipping loses on the maximum `a` alone is not yet too much.
__device__ inline bool may_clip(float a, float size, float limit) {
    float const over = a - 6.0F * size;
    return !(over > 0.0F && over * over > limit);
}

/// Half of this step does for `a` what the step does, and more.
__device__ inline bool is_dominated(float a, float size) { return a * 1.00001F <= 3.0F * size; }

/// The error of a lane's values as the CPU path sums it: 16 lanes, a wide group two values each.
template <bool Wide>
__device__ float exact_group_error(float const (&x)[16], search_step const& step) {
    float lane[16];
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        lane[i] = exact_loss(x[i], step);
        if constexpr (Wide) {
            lane[i] = add_rn(lane[i], __shfl_xor_sync(whole_warp, lane[i], 1));
        }
    }
    return sum_of_lanes(lane);
}

/// The first byte of least exact error among start, start - 1 .. start + lowest, start + 1 ..
/// start + highest, as far as they are within [least, most]. step_at(byte) is normalised.
template <bool Wide, class Steps>
__device__ int settle_exactly(float const (&x)[16], int start, int lowest, int highest, int least,
                              int most, Steps step_at) {
    int best = start;
    float error = 3.4e38F;
#pragma unroll 1
    for (int i = 0; i <= highest - lowest; ++i) {
        int const byte = start + (i <= -lowest ? -i : i + lowest);
        float const e = exact_group_error<Wide>(x, step_at(min(max(byte, least), most)));
        if (byte >= least && byte <= most && e < error) {
            error = e;
            best = byte;
        }
    }
    return best;
}

/// NVFP4: the byte of least squared error over all of 1 .. 126; x normalised by `unit` = 1 / back.
__device__ inline int sweep_nvfp4(float const (&x)[16], float a, int start, step_table const& table,
                                  float unit, float back) {
    auto const at = [&](int byte) {
        float2 const e = table.entry[byte + step_table::before];
        return make_float2(e.x * unit, e.y * back);
    };
    search_state state;
    float2 step = at(start);
    float const e0 = __any_sync(whole_warp, a * step.y > 6.5F)
                         ? quick_error<search_reach::beyond>(x, step.y)
                         : quick_error<search_reach::within>(x, step.y);
    state.take(start, e0 * step.x * step.x, true);
    int lowest = -1;
#pragma unroll 1
    for (;; --lowest) {
        step = at(max(start + lowest, 0));
        bool const need = start + lowest >= 1 && may_clip(a, step.x, state.limit());
        if (!__any_sync(whole_warp, need)) {
            break;
        }
        float const e = quick_error<search_reach::beyond>(x, step.y);
        state.take(start + lowest, e * step.x * step.x, need);
    }
    int highest = 1;
    bool large = true;  // some group still reaches 4.5 of its steps
#pragma unroll 1
    for (;; ++highest) {
        int const byte = start + highest;
        step = at(byte);
        // Half the step is a candidate too from byte 16 on.
        bool const need = byte <= e4m3::max_code && !(byte >= 16 && is_dominated(a, step.x));
        if (!__any_sync(whole_warp, need)) {
            break;
        }
        large = large && __any_sync(whole_warp, need && a * step.y > 4.5F);
        float const e = large ? quick_error<search_reach::within>(x, step.y)
                              : quick_error<search_reach::short_of_five>(x, step.y);
        state.take(byte, e * step.x * step.x, need);
    }
    if (__any_sync(whole_warp, a != 0.0F && state.is_close())) {
        return settle_exactly<false>(
            x, start, lowest + 1, highest - 1, 1, e4m3::max_code, [&](int byte) {
                float const size = mul_rn(table.entry[byte + step_table::before].x, unit);
                return search_step{size, half_reciprocal_of(size)};
            });
    }
    return state.best;
}

/// MXFP4: the byte of least squared error of start - 2 .. start + 3, where start is OCP's floor;
/// the group is this lane's values and its neighbour's. inverse = fl(1 / G).
__device__ inline int sweep_mxfp4(float const (&x)[16], float a, int start, float inverse,
                                  float unit) {
    auto const size_at = [&](int byte) {
        return mul_rn(inverse,
                      mul_rn(bits_of<float>(static_cast<std::uint32_t>(byte) << 23), unit));
    };
    auto const whole = [](float e) { return e + __shfl_xor_sync(whole_warp, e, 1); };
    float const size = size_at(start);
    float const r = __fdividef(1.0F, size);
    search_state state;
    state.take(start, whole(quick_error<search_reach::beyond>(x, r)) * size * size, true);
    // Of the steps above only the first can win, and only where the maximum is beyond 6 steps.
    bool const up = !is_dominated(a, 2.0F * size);
    bool const any_up = __any_sync(whole_warp, up);
    if (any_up) {
        float const e = whole(quick_error<search_reach::short_of_five>(x, 0.5F * r));
        state.take(start + 1, e * (4.0F * size * size), up);
    }
    float step = size;
    int lowest = -1;
#pragma unroll 1
    for (; lowest >= -2; --lowest) {
        step *= 0.5F;
        bool const need = may_clip(a, step, state.limit());
        if (!__any_sync(whole_warp, need)) {
            break;
        }
        float const e = whole(quick_error<search_reach::beyond>(x, __fdividef(1.0F, step)));
        state.take(start + lowest, e * step * step, need);
    }
    if (__any_sync(whole_warp, a != 0.0F && state.is_close())) {
        return settle_exactly<true>(x, start, lowest + 1, any_up ? 1 : 0, 0, e8m0::max_code,
                                    [&](int byte) {
                                        float const s = size_at(byte);
                                        return search_step{s, half_reciprocal_of(s)};
                                    });
    }
    return state.best;
}

}  // namespace fpq::cuda
