// SPDX-License-Identifier: Apache-2.0
// The quantize kernels against the CPU path: byte for byte without rotation, close with it.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "cuda/gpu.hpp"
#include "cuda/quantize_support.hpp"
#include "fpq/transform/hadamard.hpp"

using namespace fpq::cuda;
using fpq_test::gpu_quantize;
using fpq_test::host_matrix;
using fpq_test::host_quantized;
using fpq_test::places_that_differ;

namespace {

/// The CPU path's bytes for the same request.
host_quantized cpu_quantize(host_matrix const& x, fpq::quant_format format, scale_order order,
                            quantize_options const& options) {
    fpq::observer_options o;
    o.global_scale = options.global_scale;
    o.rule = options.rule == scale_rule::sweep ? fpq::scale_rule::sweep : fpq::scale_rule::minmax;
    o.mx = options.rule == scale_rule::floor  ? fpq::scale_rule::floor
           : options.rule == scale_rule::ceil ? fpq::scale_rule::ceil
           : options.rule == scale_rule::even ? fpq::scale_rule::even
                                              : fpq::scale_rule::fp_quant;
    std::vector<float> const v = x.values();
    fpq::quant_format const f = format == fpq::nvfp4   ? fpq::nvfp4
                                : format == fpq::mxfp4 ? fpq::mxfp4
                                                       : fpq::mxfp8_e4m3;
    fpq::packed_matrix const q = fpq::quantize(fpq::as_view(v.data(), x.rows, x.cols), f, o, 1);
    return {q.codes, fpq_test::in_order(q.scales, x.rows, format.groups(x.cols), order)};
}

void require_equal(host_quantized const& found, host_quantized const& expected) {
    CHECK(places_that_differ(found.scales, expected.scales) == "");
    REQUIRE(places_that_differ(found.codes, expected.codes) == "");
}

std::vector<scale_rule> methods_of(fpq::quant_format format) {
    if (format == fpq::nvfp4) {
        return {scale_rule::minmax, scale_rule::sweep};
    }
    if (format == fpq::mxfp4) {
        return {scale_rule::minmax, scale_rule::floor, scale_rule::ceil, scale_rule::even,
                scale_rule::sweep};
    }
    return {scale_rule::minmax, scale_rule::floor, scale_rule::ceil, scale_rule::even};
}

}  // namespace

TEST_CASE("quantized bytes are the CPU path's, every format, method, type and order", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
        host_matrix const x = fpq_test::numbers(137, 352, 352, type, 1);
        for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp8_e4m3}) {
            for (scale_rule method : methods_of(format)) {
                for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
                    for (float g : {3.0F, 1.0F, 2688.0F / 3.7F}) {
                        CAPTURE(name_of(type), name_of(format), name_of(method), name_of(order), g);
                        quantize_options options;
                        options.rule = method;
                        options.global_scale = g;
                        require_equal(gpu_quantize(x, format, order, options),
                                      cpu_quantize(x, format, order, options));
                    }
                }
            }
        }
    }
}

TEST_CASE("searches of many groups give the CPU path's bytes", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16}) {
        host_matrix const x = fpq_test::normals(257, 4096, 4096, type, 7);
        host_matrix const y = fpq_test::numbers(150, 4096, 4096, type, 9);
        for (float g : {512.0F, 2688.0F / 5.3F, 9000.0F, 0.01F}) {
            for (host_matrix const* m : {&x, &y}) {
                quantize_options options;
                options.global_scale = g;
                CAPTURE(name_of(type), g, m->rows);
                for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
                    options.rule = scale_rule::sweep;
                    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
                        CAPTURE(name_of(format), name_of(order));
                        require_equal(gpu_quantize(*m, format, order, options),
                                      cpu_quantize(*m, format, order, options));
                    }
                }
                options.rule = scale_rule::four_over_six;
                require_equal(gpu_quantize(*m, fpq::nvfp4, scale_order::row_major, options),
                              fpq_test::by_group_rules(*m, fpq::nvfp4, options));
            }
        }
    }
}

TEST_CASE("ragged widths, odd strides and few rows give the CPU path's bytes", "[gpu]") {
    struct shape {
        std::size_t rows, cols, stride;
    };
    for (shape s :
         {shape{1, 16, 16}, shape{1, 32, 40}, shape{3, 33, 33}, shape{2, 1, 1}, shape{5, 175, 177},
          shape{129, 96, 104}, shape{130, 160, 163}, shape{16, 4096, 4096}, shape{257, 48, 56}}) {
        for (float_type type : {float_type::bf16, float_type::fp32}) {
            host_matrix const x = fpq_test::numbers(s.rows, s.cols, s.stride, type, 2);
            for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp8_e4m3}) {
                for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
                    CAPTURE(s.rows, s.cols, s.stride, name_of(type), name_of(format),
                            name_of(order));
                    quantize_options options;
                    options.global_scale = 3.0F;
                    require_equal(gpu_quantize(x, format, order, options),
                                  cpu_quantize(x, format, order, options));
                }
            }
        }
    }
}

TEST_CASE("NaN, infinities and the ends of float32 are quantized as on the CPU", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
        host_matrix x = fpq_test::extremes(64, 256, type);
        for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp8_e4m3}) {
            for (float g : {3.0F, 0x1p-24F, 0x1p70F}) {
                if (format == fpq::mxfp8_e4m3 &&
                    (g < 1.0F || (g > 3.0F && type == float_type::fp32))) {
                    continue;  // infinity over infinity, 0 over 0: a NaN whose sign is nobody's
                }
                CAPTURE(name_of(type), name_of(format), g);
                quantize_options options;
                options.global_scale = g;
                require_equal(gpu_quantize(x, format, scale_order::row_major, options),
                              cpu_quantize(x, format, scale_order::row_major, options));
            }
        }
    }
}

TEST_CASE("QuTLASS's methods, four over six and stochastic rounding follow the group rules",
          "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp32}) {
        host_matrix const x = fpq_test::numbers(65, 320, 320, type, 3);
        for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
            for (scale_rule method : {scale_rule::abs_max, scale_rule::quest,
                                      scale_rule::four_over_six, scale_rule::minmax}) {
                for (bool stochastic : {false, true}) {
                    if (!knows_rule(format, method)) {
                        continue;
                    }
                    CAPTURE(name_of(type), name_of(format), name_of(method), stochastic);
                    quantize_options options;
                    options.rule = method;
                    options.global_scale = method == scale_rule::quest ? 1.0F : 3.0F;
                    options.stochastic = stochastic;
                    options.seed = 77;
                    options.stream_id = 5;
                    host_quantized const expected = fpq_test::by_group_rules(x, format, options);
                    require_equal(gpu_quantize(x, format, scale_order::row_major, options),
                                  expected);
                }
            }
        }
    }
}

TEST_CASE("stochastic rounding is unbiased", "[gpu]") {
    host_matrix x = fpq_test::constant(64, 4096, 0.8125F, float_type::bf16);
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < x.cols; j += 16) {
            x.set(i, j, 6.0F);  // scale 1
        }
    }
    quantize_options options;
    options.stochastic = true;
    options.seed = 3;
    host_quantized const q = gpu_quantize(x, fpq::nvfp4, scale_order::row_major, options);
    double sum = 0.0;
    std::size_t count = 0;
    for (std::size_t k = 0; k < x.rows * x.cols; ++k) {
        if (k % 16 != 0) {
            sum += fpq::e2m1::decode(fpq::packed_code(4, q.codes.data(), k));
            ++count;
        }
    }
    // One draw has deviation 0.242; the mean of 245,760 has 0.0005.
    REQUIRE(std::fabs(sum / static_cast<double>(count) - 0.8125) < 0.003);
}

TEST_CASE("rotation and quantization in one kernel are close to rotating first", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
        for (int size : {16, 32, 64, 128}) {
            host_matrix const x = fpq_test::normals(133, 384, 392, type, 4);
            host_matrix rotated{float_type::fp32, 133, 384, 384, {}};
            rotated.bytes.resize(133 * 384 * 4);
            std::vector<float> v = x.values();
            for (std::size_t k = 0; k < v.size(); k += static_cast<std::size_t>(size)) {
                fpq::hadamard_in_place(v.data() + k, static_cast<std::size_t>(size));
            }
            for (std::size_t k = 0; k < v.size(); ++k) {
                rotated.set(k / 384, k % 384, v[k]);
            }
            for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp8_e4m3}) {
                for (scale_rule method : {scale_rule::minmax, scale_rule::quest}) {
                    for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
                        if (!knows_rule(format, method)) {
                            continue;
                        }
                        CAPTURE(name_of(type), size, name_of(format), name_of(method),
                                name_of(order));
                        quantize_options options;
                        options.rule = method;
                        options.global_scale = 3.0F;
                        host_quantized const expected =
                            fpq_test::in_order(fpq_test::by_group_rules(rotated, format, options),
                                               x.rows, format.groups(x.cols), order);
                        options.hadamard = size;
                        host_quantized const found = gpu_quantize(x, format, order, options);
                        // float32 inputs take the CPU's order of sums; tensor cores another.
                        if (type == float_type::fp32) {
                            require_equal(found, expected);
                        }
                        std::size_t scales = 0;
                        for (std::size_t k = 0; k < found.scales.size(); ++k) {
                            scales += found.scales[k] != expected.scales[k] ? 1 : 0;
                        }
                        std::size_t codes = 0;
                        for (std::size_t k = 0; k < found.codes.size(); ++k) {
                            codes += found.codes[k] != expected.codes[k] ? 1 : 0;
                        }
                        CHECK(scales * 500 <= found.scales.size());
                        REQUIRE(codes * 500 <= found.codes.size());
                    }
                }
            }
        }
    }
}

TEST_CASE("any block matrix can take Hadamard's place", "[gpu]") {
    int const size = 32;
    std::vector<float> matrix(32 * 32);
    for (std::size_t k = 0; k < matrix.size(); ++k) {
        matrix[k] = fpq::philox{9, 9}.normal_at(k);
    }
    host_matrix const x = fpq_test::normals(20, 160, 160, float_type::bf16, 5);
    host_matrix rotated{float_type::fp32, 20, 160, 160, {}};
    rotated.bytes.resize(20 * 160 * 4);
    for (std::size_t i = 0; i < 20; ++i) {
        for (std::size_t j = 0; j < 160; ++j) {
            float sum = 0.0F;
            for (std::size_t k = 0; k < 32; ++k) {
                sum = std::fma(x.get(i, j / 32 * 32 + k), matrix[k * 32 + j % 32], sum);
            }
            rotated.set(i, j, sum);
        }
    }
    quantize_options options;
    options.global_scale = 100.0F;
    host_quantized const expected =
        cpu_quantize(rotated, fpq::nvfp4, scale_order::row_major, options);
    device_buffer<float> on_device = fpq_test::upload(matrix);
    options.hadamard = size;
    options.matrix = on_device.data();
    require_equal(gpu_quantize(x, fpq::nvfp4, scale_order::row_major, options), expected);
}

TEST_CASE("a dynamic global scale is found and used without leaving the device", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
        for (std::size_t stride : {320, 321}) {
            host_matrix const x = fpq_test::normals(77, 320, stride, type, 6);
            float amax = 0.0F;
            for (float v : x.values()) {
                amax = std::fmax(amax, std::fabs(v));
            }
            device_buffer<std::uint8_t> data = fpq_test::upload(x.bytes);
            device_buffer<float> scales;
            REQUIRE(scales.resize(2).ok());
            float_matrix const m{data.data(), type, x.rows, x.cols, x.stride};
            REQUIRE(global_amax(m, scales.data(), nullptr).ok());
            REQUIRE(nvfp_global_scale(scales.data(), true, scales.data() + 1, nullptr).ok());
            std::vector<float> found(2);
            REQUIRE(scales.download(found.data()).ok());
            REQUIRE(found[0] == amax);
            REQUIRE(found[1] == fpq::nvfp_global_scale(amax, true));
            quantize_options options;
            options.global_scale = found[1];
            host_quantized const expected =
                cpu_quantize(x, fpq::nvfp4, scale_order::row_major, options);
            options.global_scale = 1.0F;
            options.global_scale_at = scales.data() + 1;
            require_equal(gpu_quantize(x, fpq::nvfp4, scale_order::row_major, options), expected);
        }
    }
}
