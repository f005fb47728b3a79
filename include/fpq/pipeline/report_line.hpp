// SPDX-License-Identifier: Apache-2.0
// Floor 8. The line of a report for a linear of a graph.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fpq/graph/graph.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::detail {

/// What a linear is in every layer: the name of its row of the table behind "{layer}."; the head's
/// module.
inline std::string kind_of(model_graph const& graph, linear_node const& node) {
    if (node.layer == graph.layers()) {
        return node.module;
    }
    std::string_view const name = graph.family().linears[node.row].name;
    constexpr std::string_view mark = "{layer}.";
    std::size_t const at = name.find(mark);
    return std::string(at == std::string_view::npos ? name : name.substr(at + mark.size()));
}

/// A line without figures.
inline linear_report line_of(model_graph const& graph, linear_node const& node) {
    linear_report line;
    line.module = node.module;
    line.kind = kind_of(graph, node);
    line.layer = node.layer;
    line.rows = node.out;
    line.cols = node.in;
    return line;
}

}  // namespace fpq::detail
