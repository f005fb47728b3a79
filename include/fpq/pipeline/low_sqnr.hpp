// SPDX-License-Identifier: Apache-2.0
// Floor 8. The linears of a run that lost strikingly much, told once, whatever else the run says.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

/// Below this many dB the SQNR of a linear of `bits_per_weight` (scales included) is strikingly
/// low: 2.5 dB for each bit beyond the sign, about half of what normally distributed weights reach
/// (NVFP4 8.75 of 20, INT4 in groups of 128 7.9 of 17, MXFP8 18 of 31). GPTQ gives up some dB of
/// the weights for their outputs and stays far above.
inline double low_sqnr_db(double bits_per_weight) noexcept { return 2.5 * (bits_per_weight - 1.0); }

/// One line that names the worst of the linears below low_sqnr_db; empty when there are none.
/// `bits_of` gives a linear's bits per weight.
inline std::string low_sqnr_note(std::vector<linear_report> const& linears,
                                 std::function<double(linear_report const&)> const& bits_of) {
    std::vector<std::pair<linear_report const*, double>> low;
    for (linear_report const& l : linears) {
        double const least = low_sqnr_db(bits_of(l));
        if (l.sqnr_db && *l.sqnr_db < least) {
            low.emplace_back(&l, least);
        }
    }
    if (low.empty()) {
        return {};
    }
    std::stable_sort(low.begin(), low.end(), [](auto const& a, auto const& b) {
        return *a.first->sqnr_db < *b.first->sqnr_db;
    });
    constexpr std::size_t most = 3;
    std::string names;
    for (std::size_t i = 0; i < std::min(most, low.size()); ++i) {
        auto const& [line, least] = low[i];
        names += fmt::format("{}{} {:.2f} dB (usual: above {:.1f})", i == 0 ? "" : ", ",
                             detail::printable(line->module), *line->sqnr_db, least);
    }
    return fmt::format("SQNR is strikingly low in {} of {} linears: {}{}", low.size(),
                       linears.size(), names, low.size() > most ? ", ..." : "");
}

/// The same with the formats of a plan.
inline std::string low_sqnr_note(std::vector<linear_report> const& linears, run_plan const& plan,
                                 model_graph const& graph) {
    return low_sqnr_note(linears, [&](linear_report const& l) {
        auto const all = graph.linears();
        auto const found = std::find_if(all.begin(), all.end(), [&](linear_node const& node) {
            return node.module == l.module;
        });
        scheme const* const s = plan.scheme_of(graph, found == all.end() ? graph.head() : *found);
        return s == nullptr || !s->weight ? 0.0 : s->weight->format.bits_per_value(l.rows, l.cols);
    });
}

}  // namespace fpq
