// SPDX-License-Identifier: Apache-2.0
// Floor 7. A method is an object: what it must know of a linear's inputs, and what it does to a
// group of linears on a backend. The layer loop unites the needs, observes once, and applies the
// methods in order: the first makes codes, later ones improve them. One file a method; methods.hpp
// lists them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fpq/format/quant_args.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

/// What a method must have seen before it can work.
struct method_needs {
    bool second_moment = false;  ///< the sum of x^T x over the calibration tokens

    [[nodiscard]] method_needs operator|(method_needs const& o) const noexcept {
        return {second_moment || o.second_moment};
    }
};

/// One linear while methods work on it: w (out, in) in the transformed basis, and what it became.
template <class B>
struct group_member {
    std::string module;
    typename B::const_view weight;
    solve_result result;
};

/// The linears that share an input, a scheme and a global scale.
template <class B>
struct linear_group {
    std::vector<group_member<B>> members;
    quant_args args;
    float global_scale = 1.0F;
    typename B::hessian const* second_moment = nullptr;  ///< null when no method needs it
    bool dead_columns_zeroed = false;                    ///< what a later method must keep
};

}  // namespace fpq
