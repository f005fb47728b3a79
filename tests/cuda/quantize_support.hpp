// SPDX-License-Identifier: Apache-2.0
// Matrices on the host and on the device, and the oracle by group rules, for the tests of the
// quantize part.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/quantize/group.cuh"
#include "fpq/quant/quantize.hpp"

namespace fpq_test {

/// A (rows, cols) matrix of any type in host memory; what is between rows is NaN.
struct host_matrix {
    fpq::cuda::float_type type;
    std::size_t rows, cols, stride;
    std::vector<std::uint8_t> bytes;

    [[nodiscard]] float get(std::size_t i, std::size_t j) const {
        std::size_t const at = i * stride + j;
        if (type == fpq::cuda::float_type::fp32) {
            float x;
            std::memcpy(&x, bytes.data() + 4 * at, 4);
            return x;
        }
        std::uint16_t bits;
        std::memcpy(&bits, bytes.data() + 2 * at, 2);
        return type == fpq::cuda::float_type::bf16 ? fpq::to_float(fpq::bf16{bits})
                                                   : fpq::to_float(fpq::fp16{bits});
    }
    void set(std::size_t i, std::size_t j, float x) {
        std::size_t const at = i * stride + j;
        if (type == fpq::cuda::float_type::fp32) {
            std::memcpy(bytes.data() + 4 * at, &x, 4);
            return;
        }
        std::uint16_t const bits =
            type == fpq::cuda::float_type::bf16 ? fpq::to_bf16(x).bits : fpq::to_fp16(x).bits;
        std::memcpy(bytes.data() + 2 * at, &bits, 2);
    }
    /// Dense (rows, cols).
    [[nodiscard]] std::vector<float> values() const {
        std::vector<float> v(rows * cols);
        for (std::size_t k = 0; k < v.size(); ++k) {
            v[k] = get(k / cols, k % cols);
        }
        return v;
    }
};

inline host_matrix empty(std::size_t rows, std::size_t cols, std::size_t stride,
                         fpq::cuda::float_type type) {
    host_matrix x{type, rows, cols, stride, {}};
    x.bytes.assign(rows * stride * fpq::cuda::float_bytes(type), 0xFF);
    return x;
}

inline host_matrix constant(std::size_t rows, std::size_t cols, float value,
                            fpq::cuda::float_type type) {
    host_matrix x = empty(rows, cols, cols, type);
    for (std::size_t k = 0; k < rows * cols; ++k) {
        x.set(k / cols, k % cols, value);
    }
    return x;
}

inline host_matrix normals(std::size_t rows, std::size_t cols, std::size_t stride,
                           fpq::cuda::float_type type, std::uint64_t stream) {
    host_matrix x = empty(rows, cols, stride, type);
    for (std::size_t k = 0; k < rows * cols; ++k) {
        x.set(k / cols, k % cols, fpq::philox{21, stream}.normal_at(k));
    }
    return x;
}

/// Normal values; every few groups lattice values (ties), zeros, or other octaves.
inline host_matrix numbers(std::size_t rows, std::size_t cols, std::size_t stride,
                           fpq::cuda::float_type type, std::uint64_t stream) {
    host_matrix x = normals(rows, cols, stride, type, stream);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) {
            std::size_t const kind = (i * 7 + j / 32) % 6;
            float const v = x.get(i, j);
            if (kind == 1) {
                x.set(i, j, std::round(4.0F * v) * 0.25F);
            } else if (kind == 2) {
                x.set(i, j, 0.0F * v);
            } else if (kind == 3) {
                x.set(i, j, v * std::exp2(static_cast<float>(static_cast<int>(i % 21) - 10)));
            }
        }
    }
    return x;
}

/// Groups with NaN, infinities, subnormals and the largest values.
inline host_matrix extremes(std::size_t rows, std::size_t cols, fpq::cuda::float_type type) {
    host_matrix x = numbers(rows, cols, cols, type, 8);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) {
            float const v = x.get(i, j);
            switch (i % 7) {
                case 0:
                    x.set(i, j, v * 1e-40F);
                    break;
                case 1:
                    x.set(i, j, v * 5e37F);
                    break;
                case 2:
                    x.set(i, j, j % 37 == 5 ? NAN : v);
                    break;
                case 3:
                    x.set(i, j, j % 41 == 7 ? -INFINITY : v);
                    break;
                case 4:
                    x.set(i, j, j % 3 == 0 ? -NAN : v * 1e30F);
                    break;
                default:
                    break;
            }
        }
    }
    return x;
}

struct host_quantized {
    std::vector<std::uint8_t> codes;
    std::vector<std::uint8_t> scales;
};

inline std::vector<std::uint8_t> in_order(std::vector<std::uint8_t> const& row_major,
                                          std::size_t rows, std::size_t groups,
                                          fpq::cuda::scale_order order) {
    if (order == fpq::cuda::scale_order::row_major) {
        return row_major;
    }
    std::vector<std::uint8_t> out(fpq::swizzled_scales{groups}.size(rows));
    fpq::swizzle_scales(row_major.data(), rows, groups, out.data());
    return out;
}

inline host_quantized in_order(host_quantized q, std::size_t rows, std::size_t groups,
                               fpq::cuda::scale_order order) {
    q.scales = in_order(q.scales, rows, groups, order);
    return q;
}

template <class T>
fpq::cuda::device_buffer<T> upload(std::vector<T> const& from) {
    fpq::cuda::device_buffer<T> to;
    REQUIRE(to.resize(from.size()).ok());
    REQUIRE(to.upload(from.data()).ok());
    return to;
}

template <class T>
std::vector<T> download(fpq::cuda::device_buffer<T> const& from) {
    std::vector<T> to(from.size());
    fpq::cuda::status const s = from.download(to.data());
    CAPTURE(s.text);
    REQUIRE(s.ok());
    return to;
}

/// The launcher's bytes; outputs are poisoned before.
inline host_quantized gpu_quantize(host_matrix const& x, fpq::quant_format format,
                                   fpq::cuda::scale_order order,
                                   fpq::cuda::quantize_options const& options) {
    using namespace fpq::cuda;
    device_buffer<std::uint8_t> const data = upload(x.bytes);
    device_buffer<std::uint8_t> codes;
    device_buffer<std::uint8_t> scales;
    REQUIRE(codes.resize(x.rows * format.row_bytes(x.cols)).ok());
    REQUIRE(scales.resize(fpq::scales_size(order, x.rows, format.groups(x.cols))).ok());
    REQUIRE(codes.fill(0xA5).ok());
    REQUIRE(scales.fill(0xA5).ok());
    status const s = quantize({data.data(), x.type, x.rows, x.cols, x.stride},
                              {codes.data(), scales.data(), format, order}, options, nullptr);
    CAPTURE(s.text);
    REQUIRE(s.ok());
    return {download(codes), download(scales)};
}

/// Row-major bytes by quantize_group.cuh on the host.
inline host_quantized by_group_rules(host_matrix const& x, fpq::quant_format format,
                                     fpq::cuda::quantize_options const& options) {
    using namespace fpq::cuda;
    std::size_t const group = format.group;
    std::size_t const groups = format.groups(x.cols);
    std::vector<float> const v = x.values();
    group_rule const rule{format,
                          options.rule,
                          options.global_scale,
                          options.stochastic,
                          {options.seed, options.stream_id}};
    host_quantized q;
    q.codes.resize(x.rows * format.row_bytes(x.cols));
    std::vector<std::uint8_t> codes(x.cols);
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t g = 0; g < groups; ++g) {
            std::size_t const n = std::min(group, x.cols - g * group);
            float const* const w = v.data() + i * x.cols + g * group;
            q.scales.push_back(group_byte(rule, w, static_cast<int>(n)));
            float const s = step_of(format.scale, q.scales.back(), rule.global);
            for (std::size_t k = 0; k < n; ++k) {
                codes[g * group + k] = code_of(rule, w[k], s, i * x.cols + g * group + k);
            }
        }
        fpq::pack_row(fpq::element_bits(format.element), codes.data(), x.cols,
                      q.codes.data() + i * format.row_bytes(x.cols));
    }
    return q;
}

/// Empty when equal; else how many bytes differ, where first, and both bytes there.
inline std::string places_that_differ(std::vector<std::uint8_t> const& found,
                                      std::vector<std::uint8_t> const& expected) {
    if (found.size() != expected.size()) {
        return "sizes " + std::to_string(found.size()) + " and " + std::to_string(expected.size());
    }
    std::size_t count = 0;
    std::size_t first = 0;
    for (std::size_t k = 0; k < found.size(); ++k) {
        if (found[k] != expected[k]) {
            first = count == 0 ? k : first;
            ++count;
        }
    }
    return count == 0
               ? std::string()
               : std::to_string(count) + " of " + std::to_string(found.size()) +
                     " bytes, first at " + std::to_string(first) + ": found " +
                     std::to_string(found[first]) + ", expected " + std::to_string(expected[first]);
}

}  // namespace fpq_test
