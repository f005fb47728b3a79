// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The fast quantizer of bf16 and fp16 matrices for the methods that score candidates:
// sweep (sweep_warp.cuh) and four_over_six. A thread owns 16 values as in quantize_packed.cuh.
#pragma once

#include "fpq/cuda/quantize_packed.cuh"
#include "fpq/cuda/sweep_warp.cuh"

namespace fpq::cuda {

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

/// One segment a thread at a time, the grid walking the matrix; see the head of the file.
template <class Half, block_format Format, scale_method Method>
__global__ void __launch_bounds__(quantize_threads, 3) quantize_search(quantize_work const work) {
    constexpr bool wide = Format != block_format::nvfp4;
    using op = half_words<Half>;
    __shared__ half_reciprocal halves[wide ? 1 : 128];
    __shared__ step_table table;
    float const global = work.global_scale();
    float const inverse = div_rn(1.0F, global);
    step_source<Format> steps{};
    if constexpr (!wide) {
        steps.table = halves;
        table.prepare(global);
    }
    steps.prepare(global);
    if constexpr (!wide) {
        __syncthreads();
    }
    plain_byte<Format> const byte_of(scale_method::minmax, global);
    plain_byte<Format> const floor_of(scale_method::floor, global);
    bool const plain_global = is_plain_global(global);
    std::uint32_t const units = work.map.units;
    std::uint32_t const stride = gridDim.x * quantize_threads;
    for (std::uint32_t base = blockIdx.x * quantize_threads; base < units; base += stride) {
        std::uint32_t const place_unit = base + threadIdx.x;
        segment_place const place = work.map.at(place_unit);
        bool const inside =
            place_unit < units && place.row < work.map.rows && place.seg < work.map.segs;
        half_segment x;
        x.clear();
        if (inside) {
            x.load(static_cast<std::uint16_t const*>(work.x) + place.row * work.stride +
                   place.seg * segment);
        }
        float a = x.template maximum<Half>();
        if constexpr (wide) {
            float const other = __shfl_xor_sync(whole_warp, a, 1);
            a = other > a || other != other ? other : a;
        }
        std::uint32_t byte;
        std::uint32_t out[4];
        if (__any_sync(whole_warp, !(plain_global && is_plain_maximum(a)))) {
            byte = search_carefully<Half, Format, Method>(x, work, global, out);
        } else {
            std::uint32_t const octave = a == 0.0F ? 127u : bits_of<std::uint32_t>(a) >> 23;
            float const unit = bits_of<float>((254u - octave) << 23);
            float const back = bits_of<float>(octave << 23);
            float v[16];
            FPQ_UNROLL
            for (int i = 0; i < 8; ++i) {
                v[2 * i] = mul_rn(absolute(op::low(x.word[i])), unit);
                v[2 * i + 1] = mul_rn(absolute(op::high(x.word[i])), unit);
            }
            byte = byte_of(a);
            float const size = mul_rn(a, unit);
            if constexpr (Method == scale_method::four_over_six) {
                auto const error_at = [&](std::uint32_t at) {
                    half_reciprocal const half = steps(at);
                    return exact_group_error<wide>(
                        v, {mul_rn(table.entry[at + step_table::before].x, unit),
                            {mul_rn(half.hi, back), mul_rn(half.lo, back)}});
                };
                std::uint32_t const four =
                    max(std::uint32_t{e4m3_byte(mul_rn(mul_rn(a, 0.25F), global))}, 1u);
                float const with_six = error_at(byte);
                byte = a != 0.0F && error_at(four) < with_six ? four : byte;
            } else if constexpr (wide) {
                int const best = sweep_mxfp4(v, size, static_cast<int>(floor_of(a)), inverse, unit);
                byte = a == 0.0F ? byte : static_cast<std::uint32_t>(best);
            } else {
                int const best = sweep_nvfp4(v, size, static_cast<int>(byte), table, unit, back);
                byte = a == 0.0F ? byte : static_cast<std::uint32_t>(best);
            }
            encode_segment<Half, Format>(x, steps(byte), out);
        }
        if (inside) {
            std::size_t const at = place.row * static_cast<std::size_t>(work.map.segs) + place.seg;
            reinterpret_cast<uint2*>(work.codes)[at] = {out[0], out[1]};
        }
        bool const owner = !wide || threadIdx.x % 2 == 0;
        if (owner && place_unit < units && (work.map.swizzled || inside)) {
            work.scales[place.scale] = static_cast<std::uint8_t>(inside ? byte : 0u);
        }
    }
}

}  // namespace fpq::cuda
