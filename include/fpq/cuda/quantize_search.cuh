// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The fast quantizer of bf16 and fp16 matrices for the methods that score candidates:
// sweep and four_over_six. A thread owns 16 values as in quantize_packed.cuh; a warp walks the
// candidates of its groups together, each group around its own start.
//
// Candidates that cannot win are left out. Downwards: what the group's maximum alone loses to
// clipping is more than the best error. Upwards: when the maximum is at most 6 half steps, every
// value of the grid that it could use exists under half the step too. Both hold for all candidates
// further on.
#pragma once

#include "fpq/cuda/group_search.cuh"
#include "fpq/cuda/quantize_packed.cuh"

namespace fpq::cuda {

/// Steps of the candidates, normalised for one group.
template <block_format Format>
struct search_steps;

template <>
struct search_steps<block_format::nvfp4> {
    step_source<block_format::nvfp4> halves;
    float const* sizes;  // (128), shared
    float unit;          // the group's power of two, and its reciprocal
    float back;

    __device__ search_step operator()(int byte) const {
        half_reciprocal const half = halves(static_cast<std::uint32_t>(byte));
        return {mul_rn(sizes[byte], unit), {mul_rn(half.hi, back), mul_rn(half.lo, back)}};
    }
};

template <>
struct search_steps<block_format::mxfp4> {
    step_source<block_format::mxfp4> halves;
    float inverse;  // fl(1 / G)
    float unit;
    float back;

    __device__ search_step operator()(int byte) const {
        auto const at = static_cast<std::uint32_t>(byte);
        half_reciprocal const half = halves(at);
        float const power = mul_rn(bits_of<float>(at << 23), unit);
        return {mul_rn(inverse, power), {mul_rn(half.hi, back), mul_rn(half.lo, back)}};
    }
};

/// Error (times step^2) of the group that a lane holds, all of it or, for MX, half; quick. `a` is
/// the group's maximum. All lanes enter.
template <bool Wide>
__device__ float quick_group_error(float const (&x)[16], float a, search_step const& step) {
    constexpr unsigned all = 0xFFFFFFFFu;
    float const r = 2.0F * step.half.hi;
    float e;
    if (__any_sync(all, a * r > 6.5F)) {
        e = quick_error<search_reach::beyond>(x, r);
    } else if (__any_sync(all, a * r > 4.5F)) {
        e = quick_error<search_reach::within>(x, r);
    } else {
        e = quick_error<search_reach::short_of_five>(x, r);
    }
    if constexpr (Wide) {
        e += __shfl_xor_sync(all, e, 1);
    }
    return e * step.size * step.size;
}

/// The same, as the CPU path sums it: 16 lanes, a wide group two values each.
template <bool Wide>
__device__ float exact_group_error(float const (&x)[16], search_step const& step) {
    float lane[16];
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        lane[i] = exact_loss(x[i], step);
        if constexpr (Wide) {
            lane[i] = add_rn(lane[i], __shfl_xor_sync(0xFFFFFFFFu, lane[i], 1));
        }
    }
    return sum_of_lanes(lane);
}

/// The byte of least squared error around `start`. All lanes enter.
template <block_format Format>
__device__ int sweep_group(float const (&x)[16], float a, int start,
                           search_steps<Format> const& steps) {
    constexpr bool wide = Format != block_format::nvfp4;
    constexpr unsigned all = 0xFFFFFFFFu;
    constexpr int last = wide ? e8m0::max_code : e4m3::max_code;
    int const least = wide ? max(start - 2, 0) : 1;
    int const most = wide ? min(start + 3, last) : last;
    int best = start;
    float best_error = 3.4e38F;
    float second = 3.4e38F;
    int lowest = 0;
    int k = 0;  // the candidate's distance from start: 0, -1, .. lowest, 1, 2, ..
    bool down = true;
    while (true) {
        int const byte = start + k;
        search_step const step = steps(min(max(byte, least), most));
        bool need = byte >= least && byte <= most;
        if (!down) {
            // Half the step is a candidate too, from byte 16 on for E4M3.
            need = need && !(a * 1.00001F <= 3.0F * step.size && (wide || byte >= 16));
        } else if (k < 0) {
            float const over = a - 6.0F * step.size;
            float const limit = best_error + 2.0F * search_slack(best_error);
            need = need && !(over > 0.0F && over * over > limit);
        }
        if (!__any_sync(all, need)) {
            if (!down) {
                break;
            }
            lowest = k + 1;
            down = false;
            k = 1;
            continue;
        }
        float const e = quick_group_error<wide>(x, a, step);
        if (need) {
            second = e < best_error ? best_error : fminf(second, e);
            best = e < best_error ? byte : best;
            best_error = fminf(e, best_error);
        }
        k += down ? -1 : 1;
    }
    if (__any_sync(all, a != 0.0F && second <= best_error + search_slack(best_error))) {
        int const highest = k - 1;
        float exact_error = 3.4e38F;
#pragma unroll 1
        for (int i = 0; i <= highest - lowest; ++i) {
            int const byte = start + (i <= -lowest ? -i : i + lowest);
            float const e = exact_group_error<wide>(x, steps(min(max(byte, least), most)));
            if (byte >= least && byte <= most && e < exact_error) {
                exact_error = e;
                best = byte;
            }
        }
    }
    return best;
}

/// Scale byte and codes of a segment where something is not finite or far from 1, by the group
/// rules. All lanes enter.
template <class Half, block_format Format, scale_method Method>
__device__ std::uint32_t search_carefully(half_segment const& x, quantize_work const& work,
                                          float global, std::uint32_t (&out)[4]) {
    constexpr bool wide = Format != block_format::nvfp4;
    group_rule const rule{Format, Method, global, false, {}};
    float v[wide ? 32 : 16];
    int const own = wide && threadIdx.x % 2 != 0 ? 16 : 0;
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        v[own + 2 * i] = to_float(Half{static_cast<std::uint16_t>(x.word[i])});
        v[own + 2 * i + 1] = to_float(Half{static_cast<std::uint16_t>(x.word[i] >> 16)});
    }
    if constexpr (wide) {
#pragma unroll 1
        for (int i = 0; i < 16; ++i) {
            v[16 - own + i] = __shfl_xor_sync(0xFFFFFFFFu, v[own + i], 1);
        }
    }
    // The count is a run-time value: unrolled, this rare path would be most of the kernel.
    std::uint8_t const byte = group_byte(rule, v, work.map.wide_group ? 32 : 16);
    float const s = step_of(Format, byte, global);
    std::uint32_t codes[2] = {};
#pragma unroll 1
    for (int i = 0; i < 16; ++i) {
        codes[i / 8] |= std::uint32_t{code_of(rule, v[own + i], s, 0)} << (i % 8 * 4);
    }
    out[0] = codes[0];
    out[1] = codes[1];
    return byte;
}

/// Blocks a multiprocessor should hold: leaves 128 registers a thread to two exact errors, 64 to a
/// walk.
template <scale_method Method>
inline constexpr unsigned search_blocks = Method == scale_method::four_over_six ? 2 : 4;

/// One segment a thread at a time, the grid walking the matrix; see the head of the file.
template <class Half, block_format Format, scale_method Method>
__global__ void __launch_bounds__(quantize_threads, search_blocks<Method>)
    quantize_search(quantize_work const work) {
    constexpr bool wide = Format != block_format::nvfp4;
    using op = half_words<Half>;
    __shared__ half_reciprocal table[wide ? 1 : 128];
    __shared__ float sizes[wide ? 1 : 128];
    float const global = work.global_scale();
    search_steps<Format> steps{};
    if constexpr (wide) {
        steps.inverse = div_rn(1.0F, global);
        steps.halves.prepare(global);
    } else {
        steps.halves.table = table;
        steps.halves.prepare(global);
        steps.sizes = sizes;
        for (unsigned byte = threadIdx.x; byte < 127; byte += quantize_threads) {
            sizes[byte] = step_of(Format, static_cast<std::uint8_t>(byte), global);
        }
        __syncthreads();
    }
    plain_byte<Format> const byte_of(scale_method::minmax, global);
    plain_byte<Format> const floor_of(scale_method::floor, global);
    bool const plain_global = is_plain_global(global);
    std::uint32_t const units = work.map.units;
    std::uint32_t const step = gridDim.x * quantize_threads;
    for (std::uint32_t base = blockIdx.x * quantize_threads; base < units; base += step) {
        std::uint32_t const unit = base + threadIdx.x;
        segment_place const place = work.map.at(unit);
        bool const inside = unit < units && place.row < work.map.rows && place.seg < work.map.segs;
        half_segment x;
        x.clear();
        if (inside) {
            x.load(static_cast<std::uint16_t const*>(work.x) + place.row * work.stride +
                   place.seg * segment);
        }
        float a = x.template maximum<Half>();
        if constexpr (wide) {
            float const other = __shfl_xor_sync(0xFFFFFFFFu, a, 1);
            a = other > a || other != other ? other : a;
        }
        std::uint32_t byte;
        std::uint32_t out[4];
        if (__any_sync(0xFFFFFFFFu, !(plain_global && is_plain_maximum(a)))) {
            byte = search_carefully<Half, Format, Method>(x, work, global, out);
        } else {
            std::uint32_t const octave = bits_of<std::uint32_t>(a) >> 23;
            steps.unit = bits_of<float>(a == 0.0F ? 127u << 23 : (254u - octave) << 23);
            steps.back = bits_of<float>(a == 0.0F ? 127u << 23 : octave << 23);
            float v[16];
            FPQ_UNROLL
            for (int i = 0; i < 8; ++i) {
                v[2 * i] = mul_rn(absolute(op::low(x.word[i])), steps.unit);
                v[2 * i + 1] = mul_rn(absolute(op::high(x.word[i])), steps.unit);
            }
            byte = byte_of(a);
            if constexpr (Method == scale_method::four_over_six) {
                std::uint32_t const four =
                    max(std::uint32_t{e4m3_byte(mul_rn(mul_rn(a, 0.25F), global))}, 1u);
                float const with_six = exact_group_error<wide>(v, steps(static_cast<int>(byte)));
                float const with_four = exact_group_error<wide>(v, steps(static_cast<int>(four)));
                byte = a != 0.0F && with_four < with_six ? four : byte;
            } else {
                int const start = static_cast<int>(wide ? floor_of(a) : byte);
                int const best = sweep_group<Format>(v, mul_rn(a, steps.unit), start, steps);
                byte = a == 0.0F ? byte : static_cast<std::uint32_t>(best);
            }
            encode_segment<Half, Format>(x, steps.halves(byte), out);
        }
        if (inside) {
            std::size_t const at = place.row * static_cast<std::size_t>(work.map.segs) + place.seg;
            reinterpret_cast<uint2*>(work.codes)[at] = {out[0], out[1]};
        }
        bool const owner = !wide || threadIdx.x % 2 == 0;
        if (owner && unit < units && (work.map.swizzled || inside)) {
            work.scales[place.scale] = static_cast<std::uint8_t>(inside ? byte : 0u);
        }
    }
}

}  // namespace fpq::cuda
