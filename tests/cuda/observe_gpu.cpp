// SPDX-License-Identifier: Apache-2.0
// The part "observe" against the CPU's observers, byte for byte: every element, kind of scale,
// group size and rule, weighted and not, for all input types, with short tails and odd values.
#include "catch.hpp"
#include "cuda/gpu.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/observe.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/quantize.hpp"

namespace {

using fpq::element_kind;
using fpq::float_type;
using fpq::granularity;
using fpq::quant_format;
using fpq::scale_kind;
using fpq::scale_rule;
using fpq::cuda::device_buffer;

template <class T>
device_buffer<T> on_device(std::vector<T> const& from) {
    device_buffer<T> to;
    REQUIRE(to.resize(from.size()).ok());
    REQUIRE(to.upload(from.data()).ok());
    return to;
}

template <class T>
std::vector<T> on_host(device_buffer<T> const& from) {
    std::vector<T> to(from.size());
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    REQUIRE(from.download(to.data()).ok());
    return to;
}

/// (rows, cols) values: normal ones, a row of zeros, a row of tiny values, a row with an outlier,
/// values of one sign, exact multiples of a power of two.
std::vector<float> some_values(std::size_t rows, std::size_t cols, float_type type) {
    fpq::philox const source{7, rows * 1000 + cols};
    std::vector<float> out(rows * cols);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) {
            std::size_t const at = i * cols + j;
            float const u = fpq::uniform(source.at(2 * at)) + 1e-6F;
            float const v = fpq::uniform(source.at(2 * at + 1));
            float x = std::sqrt(-2.0F * std::log(u)) * std::cos(6.2831853F * v);
            x = i % 7 == 1 ? 0.0F : i % 7 == 2 ? x * 1e-30F : i % 7 == 4 ? std::fabs(x) : x;
            x = i % 7 == 5 ? std::nearbyint(x * 4) / 4 : x;
            x = i % 7 == 3 && j % 11 == 5 ? x * 3e4F : x;
            out[at] = type == float_type::bf16   ? fpq::round_to_bf16(x)
                      : type == float_type::fp16 ? fpq::round_to_fp16(x)
                                                 : x;
        }
    }
    return out;
}

std::vector<std::uint8_t> bytes_of(std::vector<float> const& values, float_type type) {
    std::vector<std::uint8_t> out(values.size() * fpq::float_bytes(type));
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (type == float_type::fp32) {
            std::memcpy(out.data() + 4 * i, &values[i], 4);
        } else {
            std::uint16_t const bits = type == float_type::bf16 ? fpq::to_bf16(values[i]).bits
                                                                : fpq::to_fp16(values[i]).bits;
            std::memcpy(out.data() + 2 * i, &bits, 2);
        }
    }
    return out;
}

std::vector<std::uint8_t> without_sign_of_zeros(std::vector<std::uint8_t> bytes, float_type type) {
    std::size_t const width = fpq::float_bytes(type);
    for (std::size_t i = 0; i + width <= bytes.size(); i += width) {
        bool zero = (bytes[i + width - 1] & 0x7Fu) == 0;
        for (std::size_t k = 0; k + 1 < width; ++k) {
            zero = zero && bytes[i + k] == 0;
        }
        bytes[i + width - 1] = zero ? std::uint8_t{0} : bytes[i + width - 1];
    }
    return bytes;
}

/// Formats that cover every element, scale, granularity and a few group sizes.
std::vector<quant_format> all_formats() {
    std::vector<quant_format> out{fpq::nvfp4,      fpq::mxfp4,      fpq::mxfp6_e2m3,
                                  fpq::mxfp6_e3m2, fpq::mxfp8_e4m3, fpq::mxfp8_e5m2};
    for (std::size_t const group : {8, 32, 100, 128}) {
        out.push_back(fpq::fp4(group));
        out.push_back(fpq::int_format(4, group));
        out.push_back(fpq::int_format(3, group, false));
    }
    for (int bits = 2; bits <= 8; ++bits) {
        out.push_back(fpq::int_format(bits, 64));
        out.push_back(fpq::int_format(bits, 64, false));
    }
    out.push_back(fpq::fp4(0, granularity::channel));
    out.push_back(fpq::int_format(8, 0, true, granularity::channel));
    out.push_back(fpq::int_format(4, 0, false, granularity::channel));
    return out;
}

std::vector<scale_rule> rules_of(quant_format const& format) {
    std::vector<scale_rule> out;
    for (scale_rule const rule :
         {scale_rule::minmax, scale_rule::floor, scale_rule::ceil, scale_rule::even,
          scale_rule::abs_max, scale_rule::quest, scale_rule::four_over_six, scale_rule::sweep,
          scale_rule::mse, scale_rule::fp_quant, scale_rule::divisor_7_25}) {
        if (fpq::has_rule(format, rule)) {
            out.push_back(rule);
        }
    }
    return out;
}

std::string describe(quant_format const& f, scale_rule rule, float_type type, std::size_t cols) {
    return std::string("element ") + std::to_string(static_cast<int>(f.element)) + " scale " +
           std::to_string(static_cast<int>(f.scale)) + " group " +
           std::to_string(f.group_of(cols)) + (f.symmetric ? " " : " asymmetric ") + name_of(rule) +
           " " + name_of(type) + " cols " + std::to_string(cols);
}

}  // namespace

TEST_CASE("scales, codes and rounded inputs are the CPU's for every format and rule", "[cuda]") {
    for (float_type const type : {float_type::bf16, float_type::fp32, float_type::fp16}) {
        for (std::size_t const cols : {1280, 1136}) {
            constexpr std::size_t rows = 21;
            std::vector<float> const values = some_values(rows, cols, type);
            auto const w = fpq::as_view(values.data(), rows, cols);
            std::vector<float> weight(cols);
            for (std::size_t j = 0; j < cols; ++j) {
                weight[j] = j % 13 == 0 ? 0.0F : 0.1F + static_cast<float>(j % 29);
            }
            auto const on_weight = on_device(weight);
            auto const on_x = on_device(bytes_of(values, type));
            for (quant_format const& format : all_formats()) {
                for (scale_rule const rule : rules_of(format)) {
                    for (bool const weighted : {false, true}) {
                        if (weighted && rule != scale_rule::sweep) {
                            continue;
                        }
                        INFO(describe(format, rule, type, cols) << (weighted ? " weighted" : ""));
                        fpq::observer_options options;
                        options.rule = rule;
                        options.global_scale = fpq::default_global_scale(
                            format, 3e4F, true,
                            fpq::is_e8m0_rule(rule) ? rule : scale_rule::fp_quant);
                        if (weighted) {
                            options.column_weight = weight;
                        }
                        fpq::cuda::observe_options asked;
                        asked.rule = rule;
                        asked.global_scale = options.global_scale;
                        asked.column_weight = weighted ? on_weight.data() : nullptr;
                        fpq::scale_grid const grid = fpq::find_scales(w, format, options, 2);
                        fpq::packed_matrix const packed =
                            fpq::encode_with(w, format, grid, options.global_scale, 2);
                        device_buffer<std::uint8_t> scales;
                        device_buffer<std::uint8_t> zeros;
                        device_buffer<std::uint8_t> codes;
                        REQUIRE(scales.resize(grid.bytes.size()).ok());
                        REQUIRE(zeros.resize(grid.zeros.size()).ok());
                        REQUIRE(codes.resize(packed.codes.size()).ok());
                        fpq::cuda::float_matrix const x{on_x.data(), type, rows, cols, cols};
                        REQUIRE(fpq::cuda::launch_find_scales(
                                    x, format, asked, {scales.data(), zeros.data()}, nullptr)
                                    .ok());
                        REQUIRE(on_host(scales) == grid.bytes);
                        REQUIRE(on_host(zeros) == grid.zeros);
                        fpq::cuda::packed_codes const q{codes.data(), scales.data(), zeros.data(),
                                                        format, options.global_scale};
                        REQUIRE(fpq::cuda::launch_encode(x, q, nullptr).ok());
                        REQUIRE(on_host(codes) == packed.codes);
                        if (weighted) {
                            continue;
                        }
                        std::vector<float> rounded = values;
                        fpq::fake_quantize_rows(fpq::as_view(rounded.data(), rows, cols), format,
                                                options, 2);
                        auto const in_place = on_device(bytes_of(values, type));
                        REQUIRE(
                            fpq::cuda::launch_fake_quantize(
                                {in_place.data(), type, rows, cols, cols}, format, asked, nullptr)
                                .ok());
                        // Zeros may have another sign.
                        REQUIRE(without_sign_of_zeros(on_host(in_place), type) ==
                                without_sign_of_zeros(bytes_of(rounded, type), type));
                    }
                }
            }
        }
    }
}

TEST_CASE("decoding gives the CPU's values, rounded to bf16, and what they cost", "[cuda]") {
    constexpr std::size_t rows = 21;
    constexpr std::size_t cols = 1136;
    std::vector<float> const values = some_values(rows, cols, float_type::fp32);
    auto const w = fpq::as_view(values.data(), rows, cols);
    for (quant_format const& format : all_formats()) {
        INFO(describe(format, scale_rule::minmax, float_type::fp32, cols));
        fpq::observer_options options;
        options.global_scale = fpq::default_global_scale(format, 3e4F, true, scale_rule::fp_quant);
        fpq::packed_matrix const packed = fpq::quantize(w, format, options, 2);
        std::vector<float> const expected = fpq::dequantize(packed.view(), 2);
        auto codes = on_device(packed.codes);
        auto const scales = on_device(packed.scales);
        auto const zeros = on_device(packed.zeros);
        auto const x = on_device(values);
        device_buffer<fpq::cuda::row_loss> loss;
        device_buffer<float> plain;
        REQUIRE(loss.resize(rows).ok());
        REQUIRE(plain.resize(values.size()).ok());
        fpq::cuda::packed_codes const q{codes.data(), scales.data(), zeros.data(), format,
                                        options.global_scale};
        fpq::cuda::float_matrix const face{x.data(), float_type::fp32, rows, cols, cols};
        REQUIRE(fpq::cuda::launch_decode(q, face, nullptr, plain.data(), nullptr).ok());
        REQUIRE(on_host(plain) == expected);
        REQUIRE(on_host(x) == values);
        REQUIRE(fpq::cuda::launch_decode(q, face, loss.data(), nullptr, nullptr).ok());
        std::vector<float> bf16_values = expected;
        for (float& v : bf16_values) {
            v = fpq::round_to_bf16(v);
        }
        REQUIRE(on_host(x) == bf16_values);
        auto const found = on_host(loss);
        auto const decoded = fpq::as_view(expected.data(), rows, cols);
        for (std::size_t i = 0; i < rows; ++i) {
            fpq::error_stats const e = fpq::measure_error(
                w.rows_at(i, 1), fpq::matrix_view<float const>{decoded.row(i), 1, cols, cols});
            fpq::local_loss const l = fpq::measure_local_loss(
                w.rows_at(i, 1), fpq::matrix_view<float const>{decoded.row(i), 1, cols, cols},
                format.group_of(cols));
            CHECK(found[i].signal == Approx(e.signal).epsilon(1e-12));
            CHECK(found[i].noise == Approx(e.noise).epsilon(1e-9).margin(1e-80));
            CHECK(static_cast<double>(found[i].largest) == Approx(e.largest).epsilon(1e-6));
            CHECK(found[i].flushed == e.flushed);
            CHECK(found[i].sign_flips == e.sign_flips);
            CHECK(found[i].blocks == l.blocks);
            CHECK(found[i].zeroed == l.zeroed_blocks);
        }
    }
}

TEST_CASE("what the observers cannot do is refused by name", "[cuda]") {
    device_buffer<float> x;
    device_buffer<std::uint8_t> out;
    REQUIRE(x.resize(64).ok());
    REQUIRE(out.resize(64).ok());
    fpq::cuda::float_matrix const face{x.data(), float_type::fp32, 2, 32, 32};
    fpq::cuda::observe_options asked;
    asked.rule = scale_rule::floor;
    CHECK(!fpq::cuda::launch_find_scales(face, fpq::nvfp4, asked, {out.data(), nullptr}, nullptr)
               .ok());
    asked.rule = scale_rule::sweep;
    CHECK(fpq::cuda::launch_find_scales(face, fpq::int_format(8, 0, true, granularity::tensor),
                                        asked, {out.data(), nullptr}, nullptr)
              .code == fpq::cuda::status_code::unsupported);
    CHECK(!fpq::cuda::launch_find_scales(face, fpq::int_format(4, 32, false), asked,
                                         {out.data(), nullptr}, nullptr)
               .ok());
    CHECK(!fpq::cuda::launch_fake_quantize({x.data(), float_type::fp32, 2, 32, 8}, fpq::mxfp4,
                                           asked, nullptr)
               .ok());
}
