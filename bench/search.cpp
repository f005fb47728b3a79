// SPDX-License-Identifier: Apache-2.0
// The searches for a scale (sweep, mse), and block Hadamard alone and in front of quantization.
// The check is the plain loops' result on the first rows, byte for byte.
#include <cstring>
#include <memory>

#include "common.hpp"
#include "fpq/core/random.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/hadamard_quantize.hpp"

namespace {

using fpq::observer_options;
using fpq::packed_matrix;
using fpq::quant_format;
using fpq::scale_rule;

constexpr std::size_t cols = 4096;
constexpr std::size_t mebi = std::size_t{1} << 20;

std::shared_ptr<std::vector<float>> weights(std::size_t count) {
    auto w = std::make_shared<std::vector<float>>(count);
    fpq::philox const source{1, 0};
    for (std::size_t i = 0; i < count; ++i) {
        (*w)[i] = i < mebi ? source.normal_at(i) : (*w)[i - mebi + 17];
    }
    return w;
}

fpq::matrix_view<float const> view_of(std::vector<float> const& w) {
    return fpq::as_view(w.data(), w.size() / cols, cols);
}

void add_search(std::string const& name, std::shared_ptr<std::vector<float>> const& w,
                quant_format const& format, observer_options const& options, int threads) {
    auto const grid = std::make_shared<fpq::scale_grid>();
    fpq::bench::bench_case c;
    c.work = name;
    c.size = fpq::bench::size_name(w->size() * 4);
    c.values = static_cast<double>(w->size());
    c.threads = threads;
    c.run = [=] { *grid = fpq::find_scales(view_of(*w), format, options, threads); };
    c.check = [=] {
        fpq::scale_grid const expected =
            fpq::reference::find_scales(view_of(*w).rows_at(0, 4), format, options);
        return std::memcmp(expected.bytes.data(), grid->bytes.data(), expected.bytes.size()) == 0;
    };
    fpq::bench::add(c);
}

void add_rotations(std::shared_ptr<std::vector<float>> const& w) {
    std::size_t const count = w->size();
    std::string const size = fpq::bench::size_name(count * 4);
    double const floats = 4.0 * static_cast<double>(count);
    auto const out = std::make_shared<std::vector<float>>(count);
    for (std::size_t block : {16, 128, 1024}) {
        fpq::bench::add({"hadamard " + std::to_string(block), size, 2.0 * floats,
                         static_cast<double>(count), 1,
                         [=] {
                             fpq::kernels::hadamard_blocks(fpq::active_simd_level(), w->data(),
                                                           out->data(), count, block);
                         },
                         [=] {
                             std::vector<float> expected(w->begin(), w->begin() + 4 * cols);
                             for (std::size_t i = 0; i < expected.size(); i += block) {
                                 fpq::reference::hadamard_in_place(expected.data() + i, block);
                             }
                             return std::equal(expected.begin(), expected.end(), out->begin());
                         }});
    }
    observer_options const options{.global_scale = 512.0F};
    for (std::size_t block : {0, 128}) {
        auto const q = std::make_shared<packed_matrix>();
        fpq::bench::add(
            {block == 0 ? "quantize nvfp4" : "hadamard 128 + quantize nvfp4", size,
             floats * (1.0 + 4.5 / 32.0), static_cast<double>(count), 1,
             [=] {
                 if (block == 0) {
                     fpq::quantize_into(view_of(*w), fpq::nvfp4, options, *q, 1);
                 } else {
                     fpq::quantize_hadamard_into(view_of(*w), block, fpq::nvfp4, options, *q, 1);
                 }
             },
             [=] {
                 std::vector<float> x(w->begin(), w->begin() + 4 * cols);
                 for (std::size_t i = 0; block != 0 && i < x.size(); i += block) {
                     fpq::reference::hadamard_in_place(x.data() + i, block);
                 }
                 packed_matrix const e = fpq::reference::quantize(view_of(x), fpq::nvfp4, options);
                 return std::memcmp(e.codes.data(), q->codes.data(), e.codes.size()) == 0;
             }});
    }
}

}  // namespace

int main(int argc, char** argv) {
    auto const small = weights(mebi);
    observer_options const nvfp{.rule = scale_rule::sweep, .global_scale = 512.0F};
    observer_options const mxfp{.rule = scale_rule::sweep, .global_scale = fpq::mx_fp_quant_global};
    for (int threads : {1, 2}) {
        add_search("sweep nvfp4", small, fpq::nvfp4, nvfp, threads);
        add_search("sweep mxfp4", small, fpq::mxfp4, mxfp, threads);
    }
    auto const tiny = weights(mebi / 16);
    observer_options mse = nvfp;
    mse.rule = scale_rule::mse;
    add_search("mse nvfp4", tiny, fpq::nvfp4, mse, 1);
    add_search("sweep int4 group 128", tiny, fpq::int_format(4, 128), {.rule = scale_rule::sweep},
               1);
    fpq::bench::add_memcpy(mebi);
    fpq::bench::add_memcpy(64 * mebi);
    add_rotations(weights(mebi / 4));
    add_rotations(weights(16 * mebi));
    return fpq::bench::run_cases(argc, argv);
}
