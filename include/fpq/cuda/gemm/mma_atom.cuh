// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The one instruction of the W4A4 mainloop as an exchangeable type. An atom has
//   kind: the scale format;
//   a_operand, b_operand: what it multiplies, made by take_a<BA, TA>(codes, scales) and
//   take_b<BB, TB>(codes, scales) from registers laid out as lane_map.hpp says;
//   mma<BA, TA, BB, TB>(d, a, b): d += a * b for one m16n8k64 of a warp.
// BA, TA, BB, TB are the instruction's four selectors, as constants.
// hw_atom is the instruction itself (sm_120 family); emulated_atom computes the same on tensor
// cores of sm_80 and later; reference_atom is scalar and goes through the lane maps.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/cuda/gemm/lane_map.hpp"
#include "fpq/cuda/gemm/w4a16_decode.hpp"
#include "fpq/cuda/ptx/half_mma.cuh"
#include "fpq/cuda/ptx/mma.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

/// NVFP4: four E4M3 scales along k64 in one register.
struct nvfp4_scales {
    static constexpr int group = 16;
    static constexpr int per_k64 = 4;
    static constexpr scale_vector vector = scale_vector::x4;
    FPQ_HD static constexpr float decode(std::uint8_t byte) noexcept {
        return e4m3::decode(static_cast<std::uint8_t>(byte & 0x7Fu));  // UE4M3: no sign
    }
};

/// MXFP4: two E8M0 scales along k64; a register holds those of k128.
struct mxfp4_scales {
    static constexpr int group = 32;
    static constexpr int per_k64 = 2;
    static constexpr scale_vector vector = scale_vector::x2;
    FPQ_HD static constexpr float decode(std::uint8_t byte) noexcept { return e8m0::decode(byte); }
};

/// An operand as it came: Regs registers of codes and one of scales.
template <int Regs>
struct raw_operand {
    std::uint32_t codes[Regs];
    std::uint32_t scales;
};

/// take_a and take_b of atoms that take the operands as they come.
struct raw_operands {
    using a_operand = raw_operand<m16n8k64::a_regs>;
    using b_operand = raw_operand<m16n8k64::b_regs>;
    template <int, int>
    static __device__ __forceinline__ a_operand take_a(std::uint32_t const (&r)[4],
                                                       std::uint32_t scales) {
        return {{r[0], r[1], r[2], r[3]}, scales};
    }
    template <int, int>
    static __device__ __forceinline__ b_operand take_b(std::uint32_t const (&r)[2],
                                                       std::uint32_t scales) {
        return {{r[0], r[1]}, scales};
    }
};

/// The hardware instruction; elsewhere than on the sm_120 family it traps.
template <class Scales>
struct hw_atom : raw_operands {
    using kind = Scales;
    template <int BA, int TA, int BB, int TB>
    static __device__ __forceinline__ void mma([[maybe_unused]] float (&d)[4],
                                               [[maybe_unused]] a_operand const& a,
                                               [[maybe_unused]] b_operand const& b) {
        static_assert(legal_byte_id(Scales::vector, BA) && legal_byte_id(Scales::vector, BB));
#if defined(FPQ_PTX_HAS_BLOCK_SCALED_MMA)
        if constexpr (Scales::vector == scale_vector::x4) {
            ptx::mma_nvfp4<TA, TB>(d, a.codes, b.codes, a.scales, b.scales);
        } else {
            ptx::mma_mxfp4<BA, TA, BB, TB>(d, a.codes, b.codes, a.scales, b.scales);
        }
#else
        __trap();
#endif
    }
};

/// Four bf16 mma.m16n8k16 with decoded and scaled operands. k is summed, so it may be permuted in A
/// and B alike: mma j takes half of the eight codes that a lane holds of k 32 * (j / 2) .. + 31,
/// and nothing moves between lanes but the scales, read from the very lanes and bytes that the
/// instruction reads. element * scale is exact in bf16 but for E8M0 scales within 2^6 of either
/// end.
template <class Scales>
struct emulated_atom {
    using kind = Scales;
    struct a_operand {
        four_pairs upper[2];  // row lane / 4, of each half of k64
        four_pairs lower[2];  // row lane / 4 + 8
    };
    struct b_operand {
        four_pairs column[2];
    };

    template <int BA, int TA>
    static __device__ __forceinline__ a_operand take_a(std::uint32_t const (&r)[4],
                                                       std::uint32_t scales) {
        static_assert(legal_byte_id(Scales::vector, BA));
        int const row = lane() / 4;
        std::uint32_t const upper = __shfl_sync(~0u, scales, m16n8k64::scale_a(row, 0, 0, TA).lane);
        std::uint32_t const lower =
            __shfl_sync(~0u, scales, m16n8k64::scale_a(row + 8, 0, 0, TA).lane);
        return {{scaled(r[0], upper, BA, 0), scaled(r[2], upper, BA, 1)},
                {scaled(r[1], lower, BA, 0), scaled(r[3], lower, BA, 1)}};
    }
    template <int BB, int TB>
    static __device__ __forceinline__ b_operand take_b(std::uint32_t const (&r)[2],
                                                       std::uint32_t scales) {
        static_assert(legal_byte_id(Scales::vector, BB));
        int const col = lane() / 4;
        std::uint32_t const own = __shfl_sync(~0u, scales, m16n8k64::scale_b(0, col, 0, TB).lane);
        return {{scaled(r[0], own, BB, 0), scaled(r[1], own, BB, 1)}};
    }
    template <int, int, int, int>
    static __device__ __forceinline__ void mma(float (&d)[4], a_operand const& a,
                                               b_operand const& b) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                half_mma<bf16>::add(d, a.upper[half].pair[2 * j], a.lower[half].pair[2 * j],
                                    a.upper[half].pair[2 * j + 1], a.lower[half].pair[2 * j + 1],
                                    b.column[half].pair[2 * j], b.column[half].pair[2 * j + 1]);
            }
        }
    }

private:
    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
    /// This lane's eight codes of one half of k64, times the scale of their group.
    static __device__ __forceinline__ four_pairs scaled(std::uint32_t word, std::uint32_t scales,
                                                        int byte_id, int half) {
        int const g = m16n8k64::b_k(lane(), half, 0) / Scales::group;
        float const scale =
            Scales::decode(static_cast<std::uint8_t>(scales >> (8 * (byte_id + g))));
        std::uint32_t const twice = (bits_of<std::uint32_t>(scale) >> 16) * 0x10001u;
        four_pairs p = e2m1_to_bf16_pairs(word);
#pragma unroll
        for (std::uint32_t& pair : p.pair) {
            pair = ptx::mul_bf16x2(ptx::mul_bf16x2(pair, 0x7E807E80u), twice);  // 2^126
        }
        return p;
    }
};

/// One product after another in float32, every operand fetched through the lane maps.
template <class Scales>
struct reference_atom : raw_operands {
    using kind = Scales;

    template <int BA, int TA, int BB, int TB>
    static __device__ __forceinline__ void mma(float (&d)[4], a_operand const& a,
                                               b_operand const& b) {
        int const lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            int const row = m16n8k64::c_row(lane, c);
            int const col = m16n8k64::c_col(lane, c);
#pragma unroll 1
            for (int k = 0; k < 64; ++k) {
                int const g = k / Scales::group;
                lane_slot const at_a = m16n8k64::a(row, k);
                lane_slot const at_b = m16n8k64::b(k, col);
                lane_slot const at_sa = m16n8k64::scale_a(row, g, BA, TA);
                lane_slot const at_sb = m16n8k64::scale_b(g, col, BB, TB);
                // row / 8 = c / 2 for every lane: all fetch from the same register.
                std::uint32_t const codes_a = k < 32 ? a.codes[c / 2] : a.codes[c / 2 + 2];
                std::uint32_t const codes_b = k < 32 ? b.codes[0] : b.codes[1];
                std::uint32_t const wa = __shfl_sync(~0u, codes_a, at_a.lane);
                std::uint32_t const wb = __shfl_sync(~0u, codes_b, at_b.lane);
                std::uint32_t const sa = __shfl_sync(~0u, a.scales, at_sa.lane);
                std::uint32_t const sb = __shfl_sync(~0u, b.scales, at_sb.lane);
                d[c] = fmaf(value(wa, at_a, sa, at_sa), value(wb, at_b, sb, at_sb), d[c]);
            }
        }
    }

private:
    static __device__ float value(std::uint32_t codes, lane_slot code, std::uint32_t scales,
                                  lane_slot scale) {
        return e2m1::decode(static_cast<std::uint8_t>(codes >> (4 * code.index) & 15u)) *
               Scales::decode(static_cast<std::uint8_t>(scales >> (8 * scale.index)));
    }
};

}  // namespace fpq::cuda
