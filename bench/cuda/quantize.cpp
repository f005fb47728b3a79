// SPDX-License-Identifier: Apache-2.0
// Times of the quantize part on the device at hand, each beside a device-to-device copy of the same
// run: bytes read plus bytes written over time.
// usage: fpq_bench_cuda_quantize [ROWS COLS [FILE.json [WORD]]]; with WORD only the quantizers
// whose names have it, for a card that the rows before have not warmed.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "timing.hpp"

using namespace fpq::cuda;

namespace {

void require(status const& s) {
    if (!s.ok()) {
        std::printf("FAILED: %s\n", s.text);
        std::exit(5);
    }
}

constexpr int sets = 2;  // input and output buffers that repetitions rotate through

struct bench {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::FILE* json = nullptr;
    char const* only = "";
    double copy_rate = 0.0;
    device_buffer<std::uint16_t> x[sets];
    device_buffer<std::uint8_t> codes[sets];
    device_buffer<std::uint8_t> scales[sets];
    device_buffer<std::uint16_t> out[sets];

    /// No word was given: rows other than quantizers are wanted too.
    [[nodiscard]] bool everything() const { return *only == '\0'; }
    void fill(float_type type) {
        std::vector<std::uint16_t> block(std::size_t{1} << 22);
        for (std::size_t k = 0; k < block.size(); ++k) {
            float const v = fpq::philox{1, 1}.normal_at(k);
            block[k] = type == float_type::bf16 ? fpq::to_bf16(v).bits : fpq::to_fp16(v).bits;
        }
        for (auto& buffer : x) {
            for (std::size_t at = 0; at < buffer.size(); at += block.size()) {
                std::size_t const n = std::min(block.size(), buffer.size() - at);
                require(from_cuda(
                    cudaMemcpy(buffer.data() + at, block.data(), n * 2, cudaMemcpyHostToDevice),
                    "fill"));
            }
        }
    }
    void copy() {
        double const bytes = 2.0 * static_cast<double>(x[0].bytes());
        auto const t = fpq_bench::time_on_device([&](int i) {
            static_cast<void>(cudaMemcpyAsync(out[i % sets].data(), x[i % sets].data(),
                                              x[0].bytes(), cudaMemcpyDeviceToDevice, nullptr));
        });
        copy_rate = bytes / (t.median * 1e-3);
        fpq_bench::print_row(json, "copy", t, bytes, copy_rate);
    }
    [[nodiscard]] double quantized_bytes(fpq::quant_format format) const {
        return static_cast<double>(rows * format.row_bytes(cols) + rows * format.groups(cols));
    }
    void quantize_case(std::string const& name, float_type type, fpq::quant_format format,
                       scale_order order, quantize_options const& options, int repetitions = 20) {
        if (name.find(only) == std::string::npos) {
            return;
        }
        auto const t = fpq_bench::time_on_device(
            [&](int i) {
                int const k = i % sets;
                require(quantize({x[k].data(), type, rows, cols, cols},
                                 {codes[k].data(), scales[k].data(), format, order}, options,
                                 nullptr));
            },
            repetitions);
        fpq_bench::print_row(
            json, name, t, static_cast<double>(x[0].bytes()) + quantized_bytes(format), copy_rate);
    }
    void dequantize_case(std::string const& name, fpq::quant_format format, scale_order order) {
        if (!everything()) {
            return;
        }
        auto const t = fpq_bench::time_on_device([&](int i) {
            int const k = i % sets;
            require(dequantize({codes[k].data(), scales[k].data(), format, order}, rows, cols, 3.0F,
                               nullptr, float_type::bf16, out[k].data(), cols, nullptr));
        });
        fpq_bench::print_row(
            json, name, t, static_cast<double>(x[0].bytes()) + quantized_bytes(format), copy_rate);
    }
};

}  // namespace

int main(int argc, char** argv) {
    std::size_t const rows = argc > 2 ? std::strtoull(argv[1], nullptr, 10) : 16384;
    std::size_t const cols = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 14336;
    bench b;
    b.rows = rows;
    b.cols = cols;
    b.json = argc > 3 ? std::fopen(argv[3], "w") : nullptr;
    b.only = argc > 4 ? argv[4] : "";
    for (int k = 0; k < sets; ++k) {
        require(b.x[k].resize(rows * cols));
        require(b.out[k].resize(rows * cols));
        require(b.codes[k].resize(rows * cols));
        require(b.scales[k].resize(
            fpq::scales_size(scale_order::swizzled, rows, fpq::nvfp4.groups(cols))));
    }
    b.fill(float_type::bf16);
    std::printf("bf16 %zu x %zu\n", rows, cols);
    b.copy();
    using fpq::mxfp4, fpq::mxfp8_e4m3, fpq::nvfp4;
    using enum scale_order;
    constexpr float_type bf = float_type::bf16;
    quantize_options nv;
    nv.global_scale = 512.0F;
    quantize_options mx;
    mx.global_scale = 3.0F;
    b.quantize_case("quantize nvfp4 row-major", bf, nvfp4, row_major, nv);
    b.quantize_case("quantize mxfp4 row-major", bf, mxfp4, row_major, mx);
    b.quantize_case("quantize nvfp4 swizzled", bf, nvfp4, swizzled, nv);
    b.quantize_case("quantize mxfp4 swizzled", bf, mxfp4, swizzled, mx);
    for (int size : {16, 32, 64, 128}) {
        nv.hadamard = mx.hadamard = size;
        std::string const with = " + hadamard " + std::to_string(size);
        b.quantize_case("quantize nvfp4 row-major" + with, bf, nvfp4, row_major, nv);
        b.quantize_case("quantize mxfp4 row-major" + with, bf, mxfp4, row_major, mx);
        b.quantize_case("quantize nvfp4 swizzled" + with, bf, nvfp4, swizzled, nv);
        b.quantize_case("quantize mxfp4 swizzled" + with, bf, mxfp4, swizzled, mx);
    }
    nv.hadamard = mx.hadamard = 0;
    b.quantize_case("quantize nvfp4 row-major", bf, nvfp4, row_major, nv);
    b.dequantize_case("dequantize nvfp4 row-major", nvfp4, row_major);
    b.quantize_case("quantize mxfp4 row-major", bf, mxfp4, row_major, mx);
    b.dequantize_case("dequantize mxfp4 row-major", mxfp4, row_major);
    b.quantize_case("quantize nvfp4 swizzled", bf, nvfp4, swizzled, nv);
    b.dequantize_case("dequantize nvfp4 swizzled", nvfp4, swizzled);
    b.quantize_case("quantize mxfp4 swizzled", bf, mxfp4, swizzled, mx);
    b.dequantize_case("dequantize mxfp4 swizzled", mxfp4, swizzled);
    nv.rule = mx.rule = scale_rule::sweep;
    b.quantize_case("quantize nvfp4 row-major sweep", bf, nvfp4, row_major, nv, 3);
    b.quantize_case("quantize mxfp4 row-major sweep", bf, mxfp4, row_major, mx, 3);
    nv.global_scale = 2688.0F / 5.3F;
    b.quantize_case("quantize nvfp4 row-major sweep, odd scale", bf, nvfp4, row_major, nv, 3);
    nv.global_scale = 512.0F;
    nv.rule = scale_rule::four_over_six;
    b.quantize_case("quantize nvfp4 row-major four_over_six", bf, nvfp4, row_major, nv, 5);
    nv.rule = mx.rule = scale_rule::quest;
    nv.hadamard = mx.hadamard = 32;
    b.quantize_case("quantize nvfp4 row-major quest + hadamard 32", bf, nvfp4, row_major, nv);
    b.quantize_case("quantize mxfp4 row-major quest + hadamard 32", bf, mxfp4, row_major, mx);
    mx = {};
    b.quantize_case("quantize mxfp8 row-major", bf, mxfp8_e4m3, row_major, mx);
    if (b.everything()) {
        auto const t = fpq_bench::time_on_device([&](int i) {
            int const k = i % sets;
            require(hadamard({b.x[k].data(), bf, rows, cols, cols}, 128, b.out[k].data(), cols,
                             nullptr));
        });
        fpq_bench::print_row(b.json, "hadamard 128 alone", t,
                             2.0 * static_cast<double>(b.x[0].bytes()), b.copy_rate);
    }
    if (b.everything()) {
        device_buffer<float> amax;
        require(amax.resize(2));
        auto const t = fpq_bench::time_on_device([&](int i) {
            require(
                global_amax({b.x[i % sets].data(), bf, rows, cols, cols}, amax.data(), nullptr));
        });
        fpq_bench::print_row(b.json, "global_amax", t, static_cast<double>(b.x[0].bytes()),
                             b.copy_rate);
    }
    b.fill(float_type::fp16);
    nv = {};
    nv.global_scale = 512.0F;
    b.quantize_case("quantize nvfp4 row-major from fp16", float_type::fp16, nvfp4, row_major, nv);
    b.copy();
    if (b.json != nullptr) {
        std::fclose(b.json);
    }
    return 0;
}
