// SPDX-License-Identifier: Apache-2.0
// Dequantize, rotate alone, and the two orders of scales, against the CPU path.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "cuda/gpu.hpp"
#include "cuda/quantize_support.hpp"
#include "fpq/transform/hadamard.hpp"

using namespace fpq::cuda;
using fpq_test::host_matrix;
using fpq_test::host_quantized;

namespace {

/// Random codes and scale bytes, all that a reader may meet; decoded on the device and on the CPU.
void check_dequantize(std::size_t rows, std::size_t cols, std::size_t stride,
                      fpq::quant_format format, scale_order order, float_type type, float global) {
    CAPTURE(rows, cols, stride, name_of(format), name_of(order), name_of(type), global);
    fpq::philox const random{11, 4};
    std::size_t const groups = format.groups(cols);
    std::vector<std::uint8_t> codes(rows * format.row_bytes(cols));
    std::vector<std::uint8_t> scales(rows * groups);
    for (std::size_t k = 0; k < codes.size(); ++k) {
        codes[k] = static_cast<std::uint8_t>(random.at(k));
    }
    for (std::size_t k = 0; k < scales.size(); ++k) {
        auto const byte = static_cast<std::uint8_t>(random.at(1000000 + k));
        scales[k] = format == fpq::nvfp4 ? static_cast<std::uint8_t>(byte % 127)
                                         : static_cast<std::uint8_t>(byte == 255 ? 0 : byte);
    }
    fpq::quant_format const f = format == fpq::nvfp4   ? fpq::nvfp4
                                : format == fpq::mxfp4 ? fpq::mxfp4
                                                       : fpq::mxfp8_e4m3;
    fpq::packed_view const view{f, rows, cols, codes.data(), scales.data(), nullptr, global};
    device_buffer<std::uint8_t> const on_codes = fpq_test::upload(codes);
    device_buffer<std::uint8_t> const on_scales =
        fpq_test::upload(fpq_test::in_order(scales, rows, groups, order));
    host_matrix out = fpq_test::empty(rows, cols, stride, type);
    device_buffer<std::uint8_t> const on_out = fpq_test::upload(out.bytes);
    status const s = dequantize({on_codes.data(), on_scales.data(), format, order}, rows, cols,
                                global, nullptr, type, on_out.data(), stride, nullptr);
    CAPTURE(s.text);
    REQUIRE(s.ok());
    out.bytes = fpq_test::download(on_out);
    std::size_t wrong = 0;
    host_matrix expected = fpq_test::empty(1, 1, 1, type);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) {
            expected.set(0, 0, view(i, j));
            float const a = expected.get(0, 0);
            float const b = out.get(i, j);
            wrong += fpq::bits_of<std::uint32_t>(a) == fpq::bits_of<std::uint32_t>(b) ||
                             (std::isnan(a) && std::isnan(b))
                         ? 0
                         : 1;
        }
    }
    REQUIRE(wrong == 0);
}

}  // namespace

TEST_CASE("dequantized values are the CPU path's", "[gpu]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp8_e4m3}) {
        for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
            for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
                for (float g : {1.0F, 3.0F, 2688.0F / 3.7F, 0x1p-30F}) {
                    check_dequantize(135, 352, 352, format, order, type, g);
                    check_dequantize(2, 64, 72, format, order, type, g);
                    check_dequantize(3, 45, 47, format, order, type, g);
                }
            }
        }
    }
}

TEST_CASE("the rotation alone is the Hadamard matrix", "[gpu]") {
    for (float_type type : {float_type::bf16, float_type::fp16, float_type::fp32}) {
        for (int size : {16, 32, 64, 128}) {
            for (std::size_t stride : {384, 387, 408}) {
                // The last: an odd number of pieces of 16 columns.
                std::size_t const cols = stride == 408 && size == 16 ? 400 : 384;
                CAPTURE(name_of(type), size, cols, stride);
                host_matrix const x = fpq_test::normals(67, cols, stride, type, 12);
                host_matrix out = fpq_test::empty(67, cols, stride, type);
                device_buffer<std::uint8_t> const on_x = fpq_test::upload(x.bytes);
                device_buffer<std::uint8_t> const on_out = fpq_test::upload(out.bytes);
                status const s = hadamard({on_x.data(), type, 67, cols, stride}, size,
                                          on_out.data(), stride, nullptr);
                CAPTURE(s.text);
                REQUIRE(s.ok());
                out.bytes = fpq_test::download(on_out);
                for (std::size_t i = 0; i < 67 && stride == 408; ++i) {
                    REQUIRE(std::isnan(out.get(i, cols)));  // between rows nothing is written
                }
                std::vector<float> v = x.values();
                double difference = 0.0;
                double norm = 0.0;
                for (std::size_t k = 0; k < v.size(); k += static_cast<std::size_t>(size)) {
                    fpq::hadamard_in_place(v.data() + k, static_cast<std::size_t>(size));
                }
                for (std::size_t k = 0; k < v.size(); ++k) {
                    double const d = double{v[k]} - out.get(k / cols, k % cols);
                    difference += d * d;
                    norm += double{v[k]} * v[k];
                }
                double const limit = type == float_type::bf16   ? 3e-3
                                     : type == float_type::fp16 ? 4e-4
                                                                : 1e-7;
                REQUIRE(std::sqrt(difference / norm) < limit);
            }
        }
    }
}

TEST_CASE("scales move to the swizzle and back", "[gpu]") {
    for (std::size_t rows : {1, 127, 128, 300}) {
        for (std::size_t groups : {1, 4, 7, 22}) {
            CAPTURE(rows, groups);
            std::vector<std::uint8_t> bytes(rows * groups);
            for (std::size_t k = 0; k < bytes.size(); ++k) {
                bytes[k] = static_cast<std::uint8_t>(fpq::philox{1, 2}.at(k));
            }
            device_buffer<std::uint8_t> const row_major = fpq_test::upload(bytes);
            device_buffer<std::uint8_t> swizzled;
            REQUIRE(swizzled.resize(fpq::swizzled_scales{groups}.size(rows)).ok());
            REQUIRE(swizzled.fill(0xA5).ok());
            REQUIRE(swizzle_scales(row_major.data(), rows, groups, swizzled.data(), nullptr).ok());
            REQUIRE(fpq_test::download(swizzled) ==
                    fpq_test::in_order(bytes, rows, groups, scale_order::swizzled));
            device_buffer<std::uint8_t> back;
            REQUIRE(back.resize(bytes.size()).ok());
            REQUIRE(unswizzle_scales(swizzled.data(), rows, groups, back.data(), nullptr).ok());
            REQUIRE(fpq_test::download(back) == bytes);
        }
    }
}
