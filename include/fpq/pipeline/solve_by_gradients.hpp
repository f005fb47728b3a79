// SPDX-License-Identifier: Apache-2.0
// Floor 8. Layers that are solved before their turn, within the backward pass that finds out what
// their outputs are worth: the top one first, on statistics of the original model, whose inputs are
// told as the rounding sees them, transformed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/gradient_sweep.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/solve_on_ranks.hpp"

namespace fpq {

/// A layer that was solved before its turn: codes and scales, the global scales of its inputs, its
/// lines of the report, its bytes.
struct solved_layer {
    std::vector<quantized_linear> linears;
    input_scales scales{};
    std::vector<linear_report> lines;
    std::uint64_t bytes = 0;
};

/// The layers from `first` on, by index; those before stay empty. `groups_of(layer)`: the linears
/// that are solved together. `loss` gets the mean of -log p(label). Memory: what gradient_sweep
/// says, and the codes and scales of all these layers.
template <class B>
[[nodiscard]] std::vector<solved_layer> solve_by_gradients(
    B const& b, rank_group& ranks, run_plan const& plan, opened_model<B> const& model,
    layer_work<B>& work, token_windows const& windows, std::size_t first,
    std::function<std::vector<linear_nodes>(std::size_t)> const& groups_of,
    progress_sink const& progress, double& loss) {
    model_graph const& graph = model.graph();
    std::vector<solved_layer> out(graph.layers());
    gradient_options options;
    options.labels.seed = plan.calibration.seed;
    options.lowest = first;
    options.inputs_alone = [&plan](linear_node const& node) { return plan.is_guided(node); };
    options.keep_every =
        layers_a_kept_state(graph.layers(), std::uint64_t{windows.size()} * windows.front().size() *
                                                graph.config().hidden_size * sizeof(float));
    decoder<B> const network = model.network();
    gradient_sweep<B> sweep(
        b, ranks, network,
        [&](std::size_t layer) { return load_layer(b, model.source(), graph, layer); }, windows,
        options, plan.device_memory, progress);
    auto const solve = [&](std::size_t layer, decoder_layer<B>& weights,
                           std::vector<gradient_statistics<B>> found) {
        work.take(std::move(found));
        work.finish_observing();
        work.transform_layer(layer, weights);
        run_report report;
        solved_layer& solved = out[layer];
        solved.scales = work.find_input_scales(layer);
        solved.linears = solve_on_ranks(
            b, ranks, work, plan, graph, groups_of(layer), solved.scales, report,
            [&](linear_node const& node) { return weights.linears[node.row].weight.view(); },
            [](linear_nodes const&) {});
        solved.lines = std::move(report.linears);
        solved.bytes = report.quantized_bytes;
        work.forget();
    };
    loss = sweep.run(solve, [&](std::size_t layer, tap input, typename B::view x) {
        work.prepare_inputs(layer, input, x);
    });
    return out;
}

}  // namespace fpq
