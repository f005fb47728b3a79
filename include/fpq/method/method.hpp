// SPDX-License-Identifier: Apache-2.0
// Floor 7. A method is an object: what it must know of a linear's inputs, and what it does to a
// group of linears on a backend. The layer loop unites the needs, observes once, and applies the
// methods in order: the first makes codes, later ones improve them. One file a method; methods.hpp
// lists them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

/// What a method must have seen before it can work.
struct method_needs {
    bool second_moment = false;    ///< the sum of x^T x over the calibration tokens
    bool weighted_moment = false;  ///< the same, each token weighted by the mean square of g
    bool output_moment = false;    ///< the sum of g^T g, g the loss's gradient at the output

    [[nodiscard]] method_needs operator|(method_needs const& o) const noexcept {
        return {second_moment || o.second_moment, weighted_moment || o.weighted_moment,
                output_moment || o.output_moment};
    }
};

/// One linear while methods work on it: w (out, in) in the transformed basis, and what it became.
template <class B>
struct group_member {
    std::string module;
    typename B::const_view weight;
    solve_result result;
    typename B::hessian const* weighted_moment = nullptr;  ///< null when no method needs it
    typename B::hessian const* output_moment = nullptr;    ///< likewise
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

/// H_I of what a member was solved for: the group's, or its own with token weights.
template <class B>
typename B::hessian const& input_moment(linear_group<B> const& group, group_member<B> const& m) {
    return m.result.report.objective == solve_objective::output ? *group.second_moment
                                                                : *m.weighted_moment;
}

/// H_O of what a member was solved for; null unless it was the two-sided objective.
template <class B>
typename B::hessian const* output_moment(group_member<B> const& m) {
    return m.result.report.objective == solve_objective::two_sided ? m.output_moment : nullptr;
}

namespace detail {

/// Refuses, on a device, what has no kernels yet.
template <class B>
void require_on_host(char const* what) {
    if constexpr (B::is_queued) {
        fail_usage(what, "it has no GPU kernels yet", "--device cpu", "a GPU");
    }
}

}  // namespace detail

}  // namespace fpq
