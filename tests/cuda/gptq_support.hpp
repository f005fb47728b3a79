// SPDX-License-Identifier: Apache-2.0
// Layers, inputs and their second moments on the host and on the device, for the tests of the part
// "gptq".
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/linalg/quadratic_form.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/rtn.hpp"
#include "support/gaussian.hpp"

namespace fpq_test {

namespace cuda = fpq::cuda;

inline void require_ok(cuda::status const& s) {
    INFO(s.text);
    REQUIRE(s.ok());
}

template <class T>
cuda::device_buffer<T> on_device(std::vector<T> const& from) {
    cuda::device_buffer<T> out;
    require_ok(out.resize(from.size()));
    require_ok(out.upload(from.data()));
    return out;
}

template <class T>
std::vector<T> on_host(cuda::device_buffer<T> const& from, std::size_t count) {
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    std::vector<T> out(count);
    REQUIRE(cudaMemcpy(out.data(), from.data(), count * sizeof(T), cudaMemcpyDeviceToHost) ==
            cudaSuccess);
    return out;
}

/// One set of handles for all cases.
inline cuda::linear_algebra& libraries() {
    static cuda::linear_algebra handles;
    return handles;
}

inline std::vector<float> normal(std::size_t count, std::uint64_t stream, float sigma = 1.0F) {
    return gaussian(count, 47, stream, sigma);
}

/// Correlated inputs with channels of several sizes, rounded to bf16.
inline std::vector<float> inputs(std::size_t tokens, std::size_t n, std::uint64_t stream) {
    auto out = normal(tokens * n, stream);
    for (std::size_t t = 0; t < tokens; ++t) {
        float carried = 0;
        for (std::size_t j = 0; j < n; ++j) {
            float& x = out[t * n + j];
            carried = 0.8F * carried + x;
            x = fpq::round_to_bf16(carried * (1.0F + static_cast<float>(j % 7)) *
                                   (j % 41 == 5 ? 6.0F : 1.0F));
        }
    }
    return out;
}

/// Inputs in the type asked for, rows `stride` apart, the rest of each row NaN.
inline std::vector<std::uint8_t> as_type(std::vector<float> const& x, std::size_t n,
                                         std::size_t stride, cuda::float_type type) {
    std::size_t const tokens = x.size() / n;
    std::size_t const each = cuda::float_bytes(type);
    std::vector<std::uint8_t> out(tokens * stride * each);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < stride; ++j) {
            float const v = j < n ? x[t * n + j] : std::numeric_limits<float>::quiet_NaN();
            std::uint32_t const bits = type == cuda::float_type::bf16 ? fpq::to_bf16(v).bits
                                       : type == cuda::float_type::fp16
                                           ? fpq::to_fp16(v).bits
                                           : fpq::bits_of<std::uint32_t>(v);
            for (std::size_t b = 0; b < each; ++b) {
                out[(t * stride + j) * each + b] = static_cast<std::uint8_t>(bits >> (8 * b));
            }
        }
    }
    return out;
}

inline fpq::hessian cpu_hessian(std::vector<float> const& x, std::size_t n) {
    fpq::hessian const h = fpq::hessian_of(fpq::as_view(x.data(), x.size() / n, n), 1);
    return h;
}

/// h's lower half on the device; above the diagonal NaN.
inline cuda::device_buffer<float> lower_half(fpq::matrix_view<float const> h) {
    std::vector<float> out(h.rows * h.cols, std::numeric_limits<float>::quiet_NaN());
    for (std::size_t i = 0; i < h.rows; ++i) {
        std::copy_n(h.row(i), i + 1, out.data() + i * h.cols);
    }
    return on_device(out);
}

inline fpq::solve_options options_for(fpq::quant_format const& format, std::vector<float> const& w,
                                      fpq::quant_order order) {
    float amax = 0;
    for (float const v : w) {
        amax = std::max(amax, std::abs(v));
    }
    fpq::solve_options o;
    o.observer.global_scale = format.has_global ? fpq::nvfp_global_scale(amax, true) : 1.0F;
    o.order = order;
    o.threads = 4;
    return o;
}

inline fpq::matrix_view<float const> view_of(std::vector<float> const& w, std::size_t rows) {
    return fpq::as_view(w.data(), rows, w.size() / rows);
}

inline double loss_of(std::vector<float> const& w, std::size_t rows, fpq::packed_matrix const& q,
                      fpq::hessian const& h) {
    auto const e = fpq::detail::weight_error(view_of(w, rows), q, 1);
    return fpq::quadratic_form(view_of(e, rows), h.view(), 4);
}

inline std::size_t differing(std::vector<std::uint8_t> const& a,
                             std::vector<std::uint8_t> const& b) {
    REQUIRE(a.size() == b.size());
    std::size_t count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        count += a[i] != b[i] ? 1 : 0;
    }
    return count;
}

inline std::vector<fpq::quant_format> many_formats() {
    return {fpq::nvfp4,
            fpq::mxfp4,
            fpq::mxfp6_e2m3,
            fpq::mxfp6_e3m2,
            fpq::mxfp8_e4m3,
            fpq::mxfp8_e5m2,
            fpq::fp4(32),
            fpq::fp4(128),
            fpq::fp4(0, fpq::granularity::channel),
            fpq::int_format(4, 32),
            fpq::int_format(3, 16, false),
            fpq::int_format(4, 0, true, fpq::granularity::tensor),
            fpq::int_format(4, 0, false, fpq::granularity::tensor),
            fpq::int_format(8, 0, false, fpq::granularity::channel)};
}

}  // namespace fpq_test
