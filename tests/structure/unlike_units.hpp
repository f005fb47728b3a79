// SPDX-License-Identifier: Apache-2.0
// What one translation unit sees of fpq: the size of every type of floors 0 to 4 that it shares
// with other units, and what quantizing, multiplying and GPTQ give it. unlike_units_main.cpp
// compares two units that are compiled with unlike macros and unlike instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/linalg/openblas.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"
#include "fpq/transform/hadamard_quantize.hpp"
#include "fpq/transform/transform.hpp"

namespace unlike {

struct facts {
    std::vector<std::pair<std::string, std::size_t>> sizes;    // of types, in bytes
    std::vector<std::pair<std::string, std::string>> results;  // bytes of what was computed
};

template <class T>
std::string bytes_of(std::vector<T> const& values) {
    return {reinterpret_cast<char const*>(values.data()), values.size() * sizeof(T)};
}

// Static: each unit has a body of its own, whatever the linker shares below it.
#define FPQ_SIZE_OF(type) \
    { #type, sizeof(type) }
static facts facts_of_this_unit() {
    facts found;
    found.sizes = {FPQ_SIZE_OF(fpq::error),
                   FPQ_SIZE_OF(fpq::detail::thread_pool),
                   FPQ_SIZE_OF(fpq::philox),
                   FPQ_SIZE_OF(fpq::matrix_view<float>),
                   FPQ_SIZE_OF(fpq::quant_format),
                   FPQ_SIZE_OF(fpq::observer_options),
                   FPQ_SIZE_OF(fpq::scale_search),
                   FPQ_SIZE_OF(fpq::group_scale),
                   FPQ_SIZE_OF(fpq::grid_rule),
                   FPQ_SIZE_OF(fpq::packed_matrix),
                   FPQ_SIZE_OF(fpq::kernels::sweep_table),
                   FPQ_SIZE_OF(fpq::kernels::encode_rule),
                   FPQ_SIZE_OF(fpq::product_table),
                   FPQ_SIZE_OF(fpq::loaded_openblas),
                   FPQ_SIZE_OF(fpq::second_moment),
                   FPQ_SIZE_OF(fpq::sharded_second_moment),
                   FPQ_SIZE_OF(fpq::hessian),
                   FPQ_SIZE_OF(fpq::block_transform),
                   FPQ_SIZE_OF(fpq::solve_options),
                   FPQ_SIZE_OF(fpq::gptq_factor),
                   FPQ_SIZE_OF(fpq::solve_report),
                   FPQ_SIZE_OF(fpq::solve_result)};
    constexpr std::size_t rows = 40;
    constexpr std::size_t cols = 96;
    constexpr std::size_t tokens = 130;
    std::vector<float> w(rows * cols);
    std::vector<float> x(tokens * cols);
    fpq::philox const random{3, 1};
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = random.normal_at(i);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = random.normal_at(w.size() + i);
    }
    auto const ws = fpq::as_view<float const>(w.data(), rows, cols);
    auto const xs = fpq::as_view<float const>(x.data(), tokens, cols);
    for (fpq::scale_rule const rule :
         {fpq::scale_rule::minmax, fpq::scale_rule::mse, fpq::scale_rule::sweep}) {
        fpq::solve_options options;
        options.observer.rule = rule;
        options.threads = 2;
        for (fpq::quant_format const& format : {fpq::nvfp4, fpq::mxfp4}) {
            std::string const name = (format == fpq::nvfp4 ? "nvfp4, rule " : "mxfp4, rule ") +
                                     std::to_string(static_cast<int>(rule));
            fpq::packed_matrix const q = fpq::quantize(ws, format, options.observer, 2);
            found.results.emplace_back("codes, " + name, bytes_of(q.codes));
            found.results.emplace_back("scales, " + name, bytes_of(q.scales));
            found.results.emplace_back("values, " + name, bytes_of(fpq::dequantize(q.view(), 1)));
            fpq::hessian const h = fpq::hessian_of(xs, 2);
            fpq::solve_result const solved = fpq::gptq(ws, h, format, options, "layer");
            found.results.emplace_back("GPTQ, " + name, bytes_of(solved.weight.codes));
        }
    }
    std::vector<float> y(tokens * rows);
    fpq::matmul_nt(xs, ws, fpq::as_view(y.data(), tokens, rows), 2);
    found.results.emplace_back("x w^T", bytes_of(y));
    found.results.emplace_back("name of the products", std::string(fpq::active_products().name));
    return found;
}
#undef FPQ_SIZE_OF

/// Of the unit that is compiled the other way (unlike_units_other.cpp).
facts facts_of_other_unit();

}  // namespace unlike
