// SPDX-License-Identifier: Apache-2.0
// Floor 8. Weights as a stream of rows: for layers of which nothing needs float32 weights or
// inputs, the linears go from the mapped file through the rounding kernels to the sink, one written
// while the next is rounded. The same bytes as layer_work makes of a loaded layer.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <future>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/backend/scale_args.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/method/rounded_rows.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_line.hpp"
#include "fpq/pipeline/sink.hpp"

namespace fpq {

template <class B>
class row_stream {
public:
    /// All references outlive the object.
    row_stream(run_plan const& plan, opened_model<B> const& model, quantized_sink<B>& sink)
        : plan_(plan), source_(model.source()), graph_(model.graph()), sink_(sink) {}

    /// Whether a linear can be streamed when nothing watches its layer: rounding to nearest without
    /// statistics, no rotation, scales that belong to rows.
    [[nodiscard]] static bool holds(run_plan const& plan, scheme const& s);

    /// Rounds and writes the linears of one group.
    void round(std::vector<linear_node const*> const& nodes, float input_scale, run_report& report);

    /// Waits for the last write. Throws what it threw.
    void finish();

private:
    [[nodiscard]] tensor_ref const& weight(linear_node const& node) const {
        return detail::tensor_of_shape(source_, node.weight(), {node.out, node.in});
    }

    /// `own_most`: the largest size of a weight of this linear; `most`: of its group.
    void one_linear(linear_node const& node, quant_args const& args, float own_most, float most,
                    float input_scale, run_report& report);

    run_plan const& plan_;
    checkpoint const& source_;
    model_graph const& graph_;
    quantized_sink<B>& sink_;
    std::array<quantized_linear, 2> slots_;
    std::size_t next_ = 0;
    std::future<void> writing_;  // last: its destructor waits while the slots still live
};

template <class B>
bool row_stream<B>::holds(run_plan const& plan, scheme const& s) {
    return plan.methods.size() == 1 && std::holds_alternative<rtn_method>(plan.methods.front()) &&
           !needs_of(plan.methods).second_moment && s.transform.is_identity() && s.weight &&
           s.weight->format.grain != granularity::tensor;
}

template <class B>
void row_stream<B>::round(std::vector<linear_node const*> const& nodes, float input_scale,
                          run_report& report) {
    quant_args const& args = *plan_.scheme_of(graph_, *nodes.front())->weight;
    std::vector<float> sizes;
    for (linear_node const* const node : nodes) {
        sizes.push_back(detail::finite_amax(weight(*node), plan_.threads));
    }
    float const most = *std::max_element(sizes.begin(), sizes.end());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        one_linear(*nodes[i], args, sizes[i], most, input_scale, report);
    }
}

template <class B>
void row_stream<B>::finish() {
    if (writing_.valid()) {
        writing_.get();
    }
}

template <class B>
void row_stream<B>::one_linear(linear_node const& node, quant_args const& args, float own_most,
                               float most, float input_scale, run_report& report) {
    if (node.bias) {
        (void)detail::load_vector(source_, node.bias_name(), node.out);
    }
    quantized_linear& out = slots_[next_++ % slots_.size()];
    out.module = node.module;
    out.input_global_scale = input_scale;
    detail::rounding_loss const loss = detail::round_tensor(
        weight(node), node.out, node.in, args.format,
        observer_of(args, global_scale_of(args, most)), most, plan_.threads, out.weight);
    source_.release(node.weight());
    linear_report line = detail::line_of(graph_, node);
    line.set_loss(loss.error, loss.local);
    line.set_weight_peak(static_cast<double>(own_most) * static_cast<double>(loss.unit),
                         loss.error.signal);
    line.global_scale = out.weight.global_scale;
    line.input_global_scale = input_scale;
    report.add(std::move(line), out.weight.format.bytes(out.weight.rows, out.weight.cols));
    finish();  // the other slot is free again
    if (plan_.threads > 1) {
        try {
            writing_ = std::async(std::launch::async, [this, &out] { sink_.write(out); });
            return;
        } catch (std::system_error const&) {
            // No thread to be had: this one does it.
        }
    }
    sink_.write(out);
}

}  // namespace fpq
