// SPDX-License-Identifier: Apache-2.0
// Floor 8. The linears of a layer shared out over ranks: each group of fused linears is solved on
// one rank, and all ranks get what came out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "fpq/pipeline/sink.hpp"
#include "fpq/quant/error_stats.hpp"

namespace fpq {

/// Linears that are solved together.
using linear_nodes = std::vector<linear_node const*>;

/// The rank that solves each group: the costliest groups first, each to the rank with the least to
/// do. A solve costs out * in^2 for each linear, the factor of its inputs in^3.
inline std::vector<std::size_t> owners_of(std::vector<linear_nodes> const& groups,
                                          std::size_t ranks) {
    std::vector<std::pair<double, std::size_t>> costs;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        double const in = static_cast<double>(groups[g].front()->in);
        double out = in;
        for (linear_node const* const node : groups[g]) {
            out += static_cast<double>(node->out);
        }
        costs.emplace_back(-out * in * in, g);
    }
    std::sort(costs.begin(), costs.end());
    std::vector<double> loads(ranks, 0.0);
    std::vector<std::size_t> owners(groups.size());
    for (auto const& [cost, g] : costs) {
        auto const least = std::min_element(loads.begin(), loads.end());
        owners[g] = static_cast<std::size_t>(least - loads.begin());
        *least -= cost;
    }
    return owners;
}

namespace detail {

/// What one rank solved: its report on all ranks, its codes on rank 0, which writes them, and its
/// decoded weights on all. Where ranks see each other's device memory the weights go from there;
/// else the codes go to all, who decode them. `scheme` gives what the plan knows.
template <class B>
void share_linear(B const& b, rank_group& ranks, std::size_t owner, linear_node const& node,
                  quant_format const& format, block_transform const* transform,
                  typename B::view weight, quantized_linear& linear, linear_report& line) {
    bool const mine = ranks.rank() == owner;
    std::string text = to_json(line).dump();
    broadcast_text(ranks, owner, text);
    packed_matrix& q = linear.weight;
    broadcast_value(ranks, owner, q.global_scale);
    broadcast_value(ranks, owner, linear.input_global_scale);
    if (!mine) {
        line = linear_report_from(nlohmann::json::parse(text));
        linear.module = node.module;
        linear.transform = transform;
        q.format = format;
        q.rows = node.out;
        q.cols = node.in;
    }
    bool const by_device = ranks.takes_device_memory();
    auto const share = [&](std::vector<std::uint8_t>& bytes, std::size_t size) {
        if (!mine && (ranks.rank() == 0 || !by_device)) {
            bytes = host_bytes(b, size);
        }
        auto const all = std::as_writable_bytes(std::span(bytes));
        if (!by_device) {
            ranks.broadcast(owner, all);
        } else if (owner != 0) {
            ranks.send(owner, 0, all, host_threads(b));
        }
    };
    std::size_t const scales = format.scale_count(q.rows, q.cols);
    share(q.codes, q.rows * format.row_bytes(q.cols));
    share(q.scales, scales * format.scale_bytes_each());
    share(q.zeros, format.symmetric ? 0 : scales);
    if (by_device) {
        share_matrix(b, ranks, owner, weight);
    } else if (!mine) {
        local_loss unused;
        (void)decode_weights(b, q.view(), weight, unused);
    }
}

}  // namespace detail

/// Solves `groups` and replaces their weights, weight_of(node), by the decoded ones on every rank.
/// `before(group)` is called before each that this rank solves. Lines of the report come in the
/// order of the groups.
template <class B, class WeightOf, class Before>
std::vector<quantized_linear> solve_on_ranks(B const& b, rank_group& ranks, layer_work<B>& work,
                                             run_plan const& plan, model_graph const& graph,
                                             std::vector<linear_nodes> const& groups,
                                             input_scales const& scales, run_report& report,
                                             WeightOf const& weight_of, Before const& before) {
    std::vector<std::size_t> const owners = owners_of(groups, ranks.size());
    std::vector<std::vector<quantized_linear>> solved(groups.size());
    std::vector<std::vector<linear_report>> lines(groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g) {
        if (owners[g] == ranks.rank()) {
            before(groups[g]);
            std::vector<typename B::view> weights;
            for (linear_node const* const node : groups[g]) {
                weights.push_back(weight_of(*node));
            }
            run_report own;
            solved[g] = work.solve(groups[g], weights, scales, own);
            lines[g] = std::move(own.linears);
        }
    }
    std::vector<quantized_linear> all;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        solved[g].resize(groups[g].size());
        lines[g].resize(groups[g].size());
        for (std::size_t i = 0; i < groups[g].size(); ++i) {
            linear_node const& node = *groups[g][i];
            quantized_linear& linear = solved[g][i];
            if (ranks.size() > 1) {
                scheme const* const s = plan.scheme_of(graph, node);
                detail::share_linear(b, ranks, owners[g], node, s->weight->format,
                                     work.transform(s), weight_of(node), linear, lines[g][i]);
            }
            report.add(std::move(lines[g][i]),
                       linear.weight.format.bytes(linear.weight.rows, linear.weight.cols));
            all.push_back(std::move(linear));
        }
    }
    return all;
}

}  // namespace fpq
