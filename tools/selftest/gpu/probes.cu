// SPDX-License-Identifier: Apache-2.0
// The kernels behind probes.hpp.
#include "selftest/gpu/probes.hpp"

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/gemm/mma_atom.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::selftest {

namespace {

using cuda::status;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define FPQ_SELFTEST_E4M3 1
#endif

struct counts {
    unsigned there;
    unsigned long long inputs, differ, example;
};

/// The instruction's result and the software's for one input; equal where both are the same bits.
template <conversion Which>
__device__ bool differs([[maybe_unused]] std::uint32_t input) {
    if constexpr (Which == conversion::e2m1_from_float) {
#if defined(FPQ_PTX_HAS_BLOCK_SCALED_MMA)
        float const x = bits_of<float>(input);
        std::uint32_t pair = 0;
        asm("{ .reg .b8 t; cvt.rn.satfinite.e2m1x2.f32 t, %1, %2; cvt.u32.u8 %0, t; }"
            : "=r"(pair)
            : "f"(-x), "f"(x));
        return (pair & 15u) != e2m1::encode(x) || pair >> 4 != e2m1::encode(-x);
#endif
    } else if constexpr (Which == conversion::e2m1_to_half) {
#if defined(FPQ_PTX_HAS_BLOCK_SCALED_MMA)
        std::uint32_t halves = 0;
        asm("{ .reg .b8 t; cvt.u8.u32 t, %1; cvt.rn.f16x2.e2m1x2 %0, t; }"
            : "=r"(halves)
            : "r"(input & 255u));
        return (halves & 0xFFFFu) != to_fp16(e2m1::decode(input & 15u)).bits ||
               halves >> 16 != to_fp16(e2m1::decode(input >> 4 & 15u)).bits;
#endif
    } else if constexpr (Which == conversion::e4m3_from_float) {
#if defined(FPQ_SELFTEST_E4M3)
        float const x = bits_of<float>(input);
        std::uint16_t pair = 0;
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(-x), "f"(x));
        return (pair & 255u) != e4m3::encode(x) || pair >> 8 != e4m3::encode(-x);
#endif
    } else {
#if defined(FPQ_SELFTEST_E4M3)
        std::uint32_t halves = 0;
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<std::uint16_t>(input)));
        bool wrong = false;
        for (int i = 0; i < 2; ++i) {
            auto const code = static_cast<std::uint8_t>(input >> (8 * i));
            std::uint32_t const found = halves >> (16 * i) & 0xFFFFu;
            // Any NaN answers the NaN code.
            wrong = wrong || (e4m3::is_finite_code(code) ? found != to_fp16(e4m3::decode(code)).bits
                                                         : (found & 0x7FFFu) <= 0x7C00u);
        }
        return wrong;
#endif
    }
    return false;
}

template <conversion Which>
__device__ constexpr bool is_there() {
#if defined(FPQ_PTX_HAS_BLOCK_SCALED_MMA)
    return true;
#elif defined(FPQ_SELFTEST_E4M3)
    return Which == conversion::e4m3_from_float || Which == conversion::e4m3_to_half;
#else
    return false;
#endif
}

template <conversion Which>
__global__ void conversion_kernel(unsigned long long inputs, counts* out) {
    if (!is_there<Which>()) {
        return;
    }
    unsigned long long const step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
    unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i == 0) {
        out->there = 1;
    }
    unsigned long long differ = 0;
    unsigned long long compared = 0;
    for (; i < inputs; i += step) {
        auto const input = static_cast<std::uint32_t>(i);
        bool const from_float =
            Which == conversion::e2m1_from_float || Which == conversion::e4m3_from_float;
        if (from_float && is_nan(bits_of<float>(input))) {
            continue;
        }
        ++compared;
        if (differs<Which>(input)) {
            ++differ;
            atomicMin(&out->example, i);
        }
    }
    atomicAdd(&out->inputs, compared);
    atomicAdd(&out->differ, differ);
}

template <conversion Which>
void launch_conversion(unsigned long long inputs, counts* out) {
    conversion_kernel<Which><<<1024, 256>>>(inputs, out);
}

template <class Atom, int Byte, int TA, int TB>
__global__ void probe_kernel(float* sums) {
    using scales = typename Atom::kind;
    constexpr bool nv = scales::vector == cuda::scale_vector::x4;
    int const lane = static_cast<int>(threadIdx.x);
    int const hot = static_cast<int>(blockIdx.x);  // operand, lane, byte
    // A(row, k) = 0.5, 1, 2, 4 in the four groups of 16; B = 1.
    constexpr std::uint32_t value_of_group[4] = {0x11111111u, 0x22222222u, 0x44444444u,
                                                 0x66666666u};
    std::uint32_t a[4];
    std::uint32_t b[2] = {0x22222222u, 0x22222222u};
    for (int r = 0; r < 4; ++r) {
        int const g = cuda::m16n8k64::a_k(lane, r, 0) / 16;
        a[r] = g == 0   ? value_of_group[0]
               : g == 1 ? value_of_group[1]
               : g == 2 ? value_of_group[2]
                        : value_of_group[3];
    }
    std::uint32_t const one = nv ? 0x38383838u : 0x7F7F7F7Fu;
    std::uint32_t const two = (nv ? 0x40u ^ 0x38u : 0x80u ^ 0x7Fu) << (8 * (hot % 4));
    bool const mine = hot / 4 % 32 == lane;
    std::uint32_t const scale_a = mine && hot < 128 ? one ^ two : one;
    std::uint32_t const scale_b = mine && hot >= 128 ? one ^ two : one;
    float d[4] = {};
    auto const rows = Atom::template take_a<Byte, TA>(a, scale_a);
    auto const cols = Atom::template take_b<Byte, TB>(b, scale_b);
    Atom::template mma<Byte, TA, Byte, TB>(d, rows, cols);
    for (int c = 0; c < 4; ++c) {
        sums[hot * 128 + cuda::m16n8k64::c_row(lane, c) * 8 + cuda::m16n8k64::c_col(lane, c)] =
            d[c];
    }
}

template <class Atom, int I>
void launch_probe(unsigned selectors, float* sums) {
    if constexpr (I < 16) {
        constexpr bool nv = Atom::kind::vector == cuda::scale_vector::x4;
        constexpr int byte_id = nv ? 0 : 2 * (I % 2);
        constexpr int thread_a = I / 2 % 2;
        constexpr int thread_b = I / 4;
        if (selectors == I) {
            probe_kernel<Atom, byte_id, thread_a, thread_b><<<256, 32>>>(sums);
        } else {
            launch_probe<Atom, I + 1>(selectors, sums);
        }
    }
}

}  // namespace

status compare_conversion(conversion which, comparison* result) {
    cuda::device_buffer<counts> out;
    status s = out.resize(1);
    counts host{0, 0, 0, ~0ull};
    if (s.ok()) {
        s = out.upload(&host);
    }
    if (!s.ok()) {
        return s;
    }
    switch (which) {
        case conversion::e2m1_from_float:
            launch_conversion<conversion::e2m1_from_float>(1ull << 32, out.data());
            break;
        case conversion::e2m1_to_half:
            launch_conversion<conversion::e2m1_to_half>(256, out.data());
            break;
        case conversion::e4m3_from_float:
            launch_conversion<conversion::e4m3_from_float>(1ull << 32, out.data());
            break;
        case conversion::e4m3_to_half:
            launch_conversion<conversion::e4m3_to_half>(65536, out.data());
            break;
    }
    s = cuda::after_launch(name_of(which));
    if (s.ok()) {
        s = out.download(&host);
    }
    *result = {host.there != 0, host.inputs, host.differ, host.example};
    return s;
}

status probe_scales(bool hardware, bool nvfp4, unsigned selectors, float* sums) {
    cuda::device_buffer<float> out;
    status s = out.resize(256 * 128);
    if (!s.ok()) {
        return s;
    }
    using nv = cuda::nvfp4_scales;
    using mx = cuda::mxfp4_scales;
    if (hardware && nvfp4) {
        launch_probe<cuda::hw_atom<nv>, 0>(selectors, out.data());
    } else if (hardware) {
        launch_probe<cuda::hw_atom<mx>, 0>(selectors, out.data());
    } else if (nvfp4) {
        launch_probe<cuda::emulated_atom<nv>, 0>(selectors, out.data());
    } else {
        launch_probe<cuda::emulated_atom<mx>, 0>(selectors, out.data());
    }
    s = cuda::after_launch("probe_scales");
    return s.ok() ? out.download(sums) : s;
}

}  // namespace fpq::selftest
