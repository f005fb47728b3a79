// SPDX-License-Identifier: Apache-2.0
// Which kernel serves a request and what is refused: no device is touched.
#include "fpq/cuda/quantize/choice.hpp"

#include <cstdint>
#include <string>

#include "catch.hpp"

using namespace fpq::cuda;

namespace {

alignas(16) std::uint8_t bytes[64];

float_matrix matrix(float_type type = float_type::bf16, std::size_t cols = 256,
                    std::size_t stride = 256) {
    return {bytes, type, 64, cols, stride};
}

quantized_matrix output(fpq::quant_format format = fpq::nvfp4) {
    return {bytes, bytes, format, scale_order::row_major};
}

}  // namespace

TEST_CASE("aligned 16-bit matrices take the fast kernels", "[cuda]") {
    quantize_options options;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::packed);
    options.rule = scale_rule::sweep;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::search);
    options.rule = scale_rule::minmax;
    options.hadamard = 64;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::rotated);
    options.rule = scale_rule::quest;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::rotated);
}

TEST_CASE("everything else takes the general kernel", "[cuda]") {
    quantize_options const plain;
    REQUIRE(choose_quantize(matrix(float_type::fp32), output(), plain) == quantize_kernel::general);
    REQUIRE(choose_quantize(matrix(float_type::bf16, 255, 256), output(), plain) ==
            quantize_kernel::general);
    REQUIRE(choose_quantize(matrix(float_type::bf16, 256, 257), output(), plain) ==
            quantize_kernel::general);
    REQUIRE(choose_quantize(matrix(float_type::bf16, 240), output(fpq::mxfp4), plain) ==
            quantize_kernel::general);
    float_matrix moved = matrix();
    moved.data = bytes + 2;
    REQUIRE(choose_quantize(moved, output(), plain) == quantize_kernel::general);
    quantize_options options;
    options.stochastic = true;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::general);
    options = {};
    options.hadamard = 32;
    REQUIRE(choose_quantize(matrix(), output(fpq::mxfp8_e4m3), options) ==
            quantize_kernel::general);
    float const entry = 0.0F;
    options.matrix = &entry;
    REQUIRE(choose_quantize(matrix(), output(), options) == quantize_kernel::general);
}

TEST_CASE("requests that make no sense are refused with both sides named", "[cuda]") {
    auto const text = [](float_matrix const& x, quantized_matrix const& q,
                         quantize_options const& options) {
        status const s = check_quantize(x, q, options);
        REQUIRE(s.code == status_code::invalid_argument);
        return std::string(s.text);
    };
    quantize_options options;
    REQUIRE(check_quantize(matrix(), output(), options).ok());
    REQUIRE(text(matrix(float_type::bf16, 256, 255), output(), options) ==
            "quantize: x.stride: expected at least x.cols, found 255");
    options.rule = scale_rule::floor;
    REQUIRE(text(matrix(), output(), options).find("found floor") != std::string::npos);
    options = {};
    options.hadamard = 48;
    REQUIRE(text(matrix(), output(), options) ==
            "quantize: options.hadamard: expected 0, 16, 32, 64 or 128, found 48");
    options.hadamard = 128;
    REQUIRE(text(matrix(float_type::bf16, 192), output(), options) ==
            "quantize: x.cols: expected a multiple of options.hadamard, found 192");
    options = {};
    options.global_scale = 0.0F;
    REQUIRE(text(matrix(), output(), options).find("global_scale") != std::string::npos);
    options = {};
    options.stochastic = true;
    REQUIRE(text(matrix(), output(fpq::mxfp8_e4m3), options).find("mxfp8") != std::string::npos);
    float_matrix none = matrix();
    none.data = nullptr;
    REQUIRE(text(none, output(), {}).find("null") != std::string::npos);
    none.rows = 0;
    REQUIRE(check_quantize(none, output(), {}).ok());
}
