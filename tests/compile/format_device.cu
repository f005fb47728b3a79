// SPDX-License-Identifier: Apache-2.0
// Compiled, not run: floors 0 and 1 called from a kernel without any experimental flag of nvcc.
// Every element and scale format, halves, packing, scale layouts and the decode rule.
//   nvcc -std=c++20 -gencode arch=compute_90a,code=sm_90a -Iinclude -c format_device.cu
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/format/scale_layout.hpp"

template <class Format>
__device__ float round_trip(float x) {
    return Format::decode(Format::encode(x)) + Format::max;
}

template <class Unused>
__global__ void element_kernel(fpq::matrix_view<float> x, fpq::element_kind kind) {
    std::size_t const i = threadIdx.x;
    float const v = x(0, i);
    float sum = round_trip<fpq::e2m1>(v) + round_trip<fpq::e2m3>(v) + round_trip<fpq::e3m2>(v) +
                round_trip<fpq::e4m3>(v) + round_trip<fpq::e5m2>(v);
    sum += round_trip<fpq::signed_integer<2>>(v) + round_trip<fpq::signed_integer<3>>(v) +
           round_trip<fpq::signed_integer<4>>(v) + round_trip<fpq::signed_integer<5>>(v) +
           round_trip<fpq::signed_integer<6>>(v) + round_trip<fpq::signed_integer<7>>(v) +
           round_trip<fpq::signed_integer<8>>(v) + round_trip<fpq::unsigned_integer<4>>(v);
    sum += fpq::e8m0::decode(fpq::e8m0::encode_floor(v)) +
           fpq::e8m0::decode(fpq::e8m0::encode_ceil(v)) +
           fpq::e8m0::decode(fpq::e8m0::encode_nearest(v));
    sum += fpq::round_to_bf16(v) + fpq::round_to_fp16(v);
    sum += fpq::decode_element(kind, fpq::encode_element(kind, v)) + fpq::element_max(kind);
    x(0, i) = sum + fpq::uniform(fpq::philox{42, 1}.at(i)) + fpq::e2m1::min_normal;
}

template <class Unused>
__global__ void block_kernel(fpq::packed_view w, fpq::matrix_view<float> out, std::uint8_t* bytes) {
    std::size_t const row = threadIdx.x;
    for (std::size_t j = 0; j < w.cols; ++j) {
        out(row, j) = w(row, j);
    }
    std::uint8_t codes[32] = {};
    fpq::unpack_row(4, bytes, 32, codes);
    fpq::pack_row(4, codes, 32, bytes);
    fpq::swizzled_scales const at{w.format.groups(w.cols)};
    bytes[at(row, 0)] = static_cast<std::uint8_t>(fpq::fp4(16).row_bytes(w.cols));
    constexpr fpq::quant_format nv = fpq::nvfp4;  // device code copies the constants first
    constexpr fpq::quant_format mx = fpq::mxfp8_e4m3;
    bytes[0] =
        static_cast<std::uint8_t>(nv.group + mx.groups(w.cols) + fpq::nvfp4_block::row_bytes(9));
}

int host_only(int bits) { return bits + 1; }

/// Host code may visit with host-only lambdas without a warning.
int visit_on_host(fpq::element_kind kind) {
    return fpq::visit_element(kind,
                              [](auto element) { return host_only(decltype(element)::bits); });
}

void launch_all(fpq::packed_view w, fpq::matrix_view<float> x, std::uint8_t* bytes) {
    element_kernel<void><<<1, 32>>>(x, fpq::element_kind::e2m1);
    block_kernel<void><<<1, 32>>>(w, x, bytes);
}
