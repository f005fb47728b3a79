// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What the launchers that work on a layer's codes check before they queue anything.
// Host code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gemm/checks.hpp"

namespace fpq::cuda {

/// Sizes within 31 bits, rows that do not overlap, a group, and pointers where there are rows.
inline status check_layer(char const* who, gptq_layer const& layer) noexcept {
    constexpr std::size_t most = 0x7FFFFFFF;
    auto const number = [](std::size_t x) { return static_cast<long long>(x); };
    if (layer.rows > most || layer.cols > most) {
        return refuse_in(who, "rows and cols", "at most 2147483647",
                         number(std::max(layer.rows, layer.cols)));
    }
    if (layer.cols == 0) {
        return refuse_in(who, "cols", "1 or more", 0LL);
    }
    if (layer.w_stride < layer.cols) {
        return refuse_in(who, "w_stride", "cols or more", number(layer.w_stride));
    }
    if (layer.format.group_of(layer.cols) == 0) {
        return refuse_in(who, "group", "1 or more", 0LL);
    }
    if (!layer.format.symmetric && !is_integer(layer.format.element)) {
        return refuse(who, "zero points with integers only", "a float element");
    }
    if (layer.rows != 0 &&
        (layer.w == nullptr || layer.scales == nullptr || layer.codes == nullptr ||
         (!layer.format.symmetric && layer.zeros == nullptr))) {
        return refuse(who, "device pointers to w, scales, codes and zeros", "null");
    }
    return {};
}

inline status check_polish(gptq_layer const& layer, polish_args const& args) noexcept {
    constexpr char const* who = "polish_codes";
    if (status s = check_layer(who, layer); !s.ok()) {
        return s;
    }
    if (args.passes < 0) {
        return refuse_in(who, "passes", "0 or more", args.passes);
    }
    if (!(args.damping >= 0.0F) || std::isinf(args.damping)) {
        return refuse("polish_codes: damping", "a finite number, 0 or more",
                      std::isnan(args.damping) ? "NaN"
                      : args.damping < 0.0F    ? "a negative one"
                                               : "infinity");
    }
    if (layer.rows != 0 && args.h == nullptr) {
        return refuse("polish_codes: h", "a Hessian", "null");
    }
    return {};
}

}  // namespace fpq::cuda
