// SPDX-License-Identifier: Apache-2.0
// Floor 7. All methods, and a chain of them.
#pragma once

#include <variant>
#include <vector>

#include "fpq/method/gptq.hpp"
#include "fpq/method/joint.hpp"
#include "fpq/method/method.hpp"
#include "fpq/method/polish.hpp"
#include "fpq/method/rtn.hpp"
#include "fpq/method/two_sided.hpp"

namespace fpq {

using method = std::variant<rtn_method, gptq_method, polish_method, two_sided_method, joint_method>;

inline char const* name_of(method const& m) {
    return std::visit([](auto const& one) { return one.name; }, m);
}

/// Whether a method improves the codes of another and makes none of its own.
inline bool improves(method const& m) {
    return std::holds_alternative<polish_method>(m) || std::holds_alternative<joint_method>(m);
}

inline method_needs needs_of(std::vector<method> const& chain) {
    method_needs all;
    for (method const& m : chain) {
        all = all | std::visit([](auto const& one) { return one.needs(); }, m);
    }
    // What follows a two-sided method improves its objective, on its moments.
    all.second_moment = all.second_moment && !all.output_moment;
    return all;
}

template <class B>
void apply(B const& b, std::vector<method> const& chain, linear_group<B>& group) {
    for (method const& m : chain) {
        std::visit([&](auto const& one) { one.apply(b, group); }, m);
    }
}

}  // namespace fpq
