// SPDX-License-Identifier: Apache-2.0
// Floor 8. The layers of a run, one after the other, then the head: load, transform, observe,
// solve, write, advance. Memory is one layer, never one model.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/layer_reader.hpp"
#include "fpq/pipeline/layer_smoothing.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/layer_writer.hpp"
#include "fpq/pipeline/low_sqnr.hpp"
#include "fpq/pipeline/memory.hpp"
#include "fpq/pipeline/phase_clock.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/row_stream.hpp"
#include "fpq/pipeline/sink.hpp"
#include "fpq/pipeline/solve_by_gradients.hpp"
#include "fpq/pipeline/solve_on_ranks.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq::detail {

/// The layers one after the other, then the head.
template <class B>
class layer_line {
public:
    layer_line(B const& b, rank_group& ranks, run_plan const& plan, opened_model<B> const& model,
               run_report& report, progress_sink const& progress, architecture_list known,
               nlohmann::json identity);

    /// Null, or the report of an earlier run that left nothing to do.
    [[nodiscard]] nlohmann::json const& earlier_result() const noexcept {
        return sink_.earlier_result();
    }

    void run(streams<B>& flow);

private:
    /// What an interrupted run left, which rank 0 alone has seen.
    void share_finished();

    /// The groups of a layer whose weights are quantized.
    [[nodiscard]] std::vector<linear_nodes> solved_groups(std::size_t layer) const;

    /// Nothing looks at the layer as a whole: every linear is left alone or streamed.
    [[nodiscard]] bool streams_rows(std::size_t layer, streams<B> const& flow) const;

    /// A layer that an earlier run finished: its report, and the windows through what it wrote,
    /// which gives the hidden states of that run to the bit.
    void repeat_layer(layer_record const& done, streams<B>& flow);

    void stream_layer(std::size_t layer);

    void one_layer(std::size_t index, streams<B>& flow);

    /// The same for a layer that was solved before its turn.
    void one_solved_layer(std::size_t index, streams<B>& flow);

    /// Tells the report what the layer took.
    void end_layer(std::size_t layer) {
        auto const now = std::chrono::steady_clock::now();
        std::chrono::duration<double> const spent = now - std::exchange(layer_begin_, now);
        report_.layers.push_back({layer, spent.count(), peak_resident()});
    }

    /// Tells how far a layer is: `share` of it, from `begin` on, is what is `done` of `of` equal
    /// parts of the work at hand.
    void within(std::size_t index, std::string const& detail, double begin, double share,
                std::size_t done, std::size_t of);

    /// Whether something of a layer must see inputs before it is solved.
    [[nodiscard]] bool needs_inputs(std::size_t layer) const {
        return work_.needs_inputs(layer) || smoothing_.acts(layer);
    }

    /// Folds scales of the layer's inputs, where the plan has any.
    void smooth_layer(std::size_t index, decoder_layer<B>& layer, streams<B>& flow);

    /// Whether anything behind layer `index` needs inputs.
    [[nodiscard]] bool is_watched_after(std::size_t index) const;

    /// The output head; `network` gets what it became.
    void one_head(streams<B>& flow, decoder<B>& network, layer_hooks<B>& hooks);

    [[nodiscard]] std::string last_detail() const;

    B backend_;
    rank_group& ranks_;
    run_plan const& plan_;
    opened_model<B> const& model_;
    architecture_list known_;
    model_graph const& graph_;
    run_report& report_;
    progress_sink const& progress_;
    phase_clock clock_;
    std::chrono::steady_clock::time_point layer_begin_;
    scheme_transforms transforms_;
    layer_work<B> work_;
    layer_smoothing<B> smoothing_;
    quantized_sink<B> sink_;
    row_stream<B> rows_;
    std::vector<layer_record> finished_;      // by an interrupted run
    std::vector<solved_layer> ahead_;         // solved before their turn
    std::filesystem::path staging_;           // where they lie
    std::optional<opened_model<B>> earlier_;  // what an interrupted run wrote
    // Last: their destructors wait while the others still live.
    layer_writer<B> writer_;
    layer_reader<B, decoder_layer<B>> reader_;
};

template <class B>
layer_line<B>::layer_line(B const& b, rank_group& ranks, run_plan const& plan,
                          opened_model<B> const& model, run_report& report,
                          progress_sink const& progress, architecture_list known,
                          nlohmann::json identity)
    : backend_(b),
      ranks_(ranks),
      plan_(plan),
      model_(model),
      known_(known),
      graph_(model.graph()),
      report_(report),
      progress_(progress),
      clock_(report),
      transforms_(transforms_of(plan)),
      work_(b, ranks, plan, graph_, transforms_),
      smoothing_(b, ranks, plan, graph_, transforms_),
      sink_(plan, model, std::move(identity)),
      rows_(plan, model, sink_),
      writer_(b, sink_),
      reader_(b, model.graph().layers(), [&model](B const& from, std::size_t index) {
          return load_layer(from, model.source(), model.graph(), index);
      }) {}

template <class B>
void layer_line<B>::run(streams<B>& flow) {
    std::size_t const layers = graph_.layers();
    share_finished();
    if (!finished_.empty()) {
        report_.notes.push_back(
            fmt::format("goes on with an interrupted run: {} of {} layers were done",
                        finished_.size(), layers));
    }
    if (flow.gradients && finished_.size() < layers) {
        clock_.enter("gradients");
        double loss = 0.0;
        ahead_ = solve_by_gradients<B>(
            backend_, ranks_, plan_, model_, work_, *flow.gradients, finished_.size(),
            [this](std::size_t layer) { return solved_groups(layer); }, progress_, loss);
        report_.notes.push_back(
            fmt::format("solved for what the loss feels of {} tokens' outputs, labels drawn "
                        "from the model: {:.4f} nats a token",
                        flow.gradients->size() * flow.gradients->front().size(), loss));
    }
    layer_begin_ = std::chrono::steady_clock::now();
    for (std::size_t layer = 0; layer < layers; ++layer) {
        if (layer < finished_.size()) {
            repeat_layer(finished_[layer], flow);
            end_layer(layer);
            progress_({"repeat", layer + 1, finished_.size(), "", 0.0, &report_});
            continue;
        }
        ahead_.empty() ? one_layer(layer, flow) : one_solved_layer(layer, flow);
        end_layer(layer);
        progress_({"quantize", layer + 1, layers, last_detail(), 0.0, &report_});
    }
    earlier_.reset();
    decoder<B> network = model_.network();
    layer_hooks<B> head_hooks;
    if (plan_.scheme_of(graph_, graph_.head()) != nullptr) {
        one_head(flow, network, head_hooks);
    }
    if (flow.evaluation) {
        clock_.enter("evaluate");
        report_.evaluation = flow.evaluation->finish(backend_, network, head_hooks, progress_);
    }
    if (std::string low = low_sqnr_note(report_.linears, plan_, graph_); !low.empty()) {
        report_.notes.push_back(std::move(low));
    }
    if (std::string found = smoothing_note(report_.linears); !found.empty()) {
        report_.notes.push_back(std::move(found));
    }
    clock_.enter("write");
    writer_.finish();
    rows_.finish();
    sink_.finish(report_);
    clock_.leave();
}

template <class B>
void layer_line<B>::share_finished() {
    finished_ = sink_.finished();
    if (ranks_.size() == 1) {
        staging_ = finished_.empty() ? std::filesystem::path() : sink_.staging();
        return;
    }
    nlohmann::json lines = nlohmann::json::array();
    for (layer_record const& done : finished_) {
        lines.push_back(to_json(done));
    }
    std::string text = lines.dump();
    std::string staging = finished_.empty() ? std::string() : sink_.staging().string();
    broadcast_text(ranks_, 0, text);
    broadcast_text(ranks_, 0, staging);
    staging_ = staging;
    finished_.clear();
    for (nlohmann::json const& line : nlohmann::json::parse(text)) {
        finished_.push_back(layer_record_from(line));
    }
}

template <class B>
std::vector<linear_nodes> layer_line<B>::solved_groups(std::size_t layer) const {
    std::vector<linear_nodes> out;
    for (linear_nodes const& group : work_.groups(layer)) {
        scheme const* const s = plan_.scheme_of(graph_, *group.front());
        if (s != nullptr && s->weight) {
            out.push_back(group);
        }
    }
    return out;
}

template <class B>
bool layer_line<B>::streams_rows(std::size_t layer, streams<B> const& flow) const {
    if (B::is_queued || !flow.empty() || needs_inputs(layer)) {
        return false;  // rows are streamed by the host's kernels
    }
    for (auto const& group : work_.groups(layer)) {
        scheme const* const s = plan_.scheme_of(graph_, *group.front());
        if (s != nullptr && s->weight && !row_stream<B>::holds(plan_, *s)) {
            return false;
        }
    }
    return true;
}

template <class B>
void layer_line<B>::repeat_layer(layer_record const& done, streams<B>& flow) {
    for (linear_report const& line : done.linears) {
        report_.add(line, 0);
    }
    report_.quantized_bytes += done.bytes;
    bool const calibrates = flow.calibration && is_watched_after(done.layer);
    if (!calibrates && !flow.evaluation) {
        return;
    }
    clock_.enter("load");
    if (!earlier_) {
        earlier_.emplace(backend_, staging_, known_);
    }
    layer_hooks<B> unused;
    decoder_layer<B> const layer = earlier_->load(backend_, done.layer, unused);
    input_scales scales;
    scales.fill(1.0F);
    for (linear_node const& node : graph_.layer(done.layer)) {
        for (linear_report const& line : done.linears) {
            if (line.module == node.module) {
                scales[static_cast<std::size_t>(node.input)] = line.input_global_scale;
            }
        }
    }
    clock_.enter("advance");
    layer_hooks<B> const hooks = work_.quantized_hooks(done.layer, scales);
    if (calibrates) {
        flow.calibration->advance(backend_, layer, hooks);
    }
    if (flow.evaluation) {
        clock_.enter("evaluate");
        flow.evaluation->advance_original(
            backend_, load_layer(backend_, model_.source(), graph_, done.layer));
        flow.evaluation->advance(backend_, layer, hooks);
    }
}

template <class B>
void layer_line<B>::stream_layer(std::size_t layer) {
    clock_.enter("solve");
    if (layer < graph_.layers()) {
        (void)load_layer_norms(backend_, model_.source(), graph_, layer);  // must be sound
    }
    input_scales const scales = work_.find_input_scales(layer);
    for (auto const& group : work_.groups(layer)) {
        scheme const* const s = plan_.scheme_of(graph_, *group.front());
        if (s != nullptr && s->weight) {
            rows_.round(group, scales[static_cast<std::size_t>(group.front()->input)], report_);
        }
    }
}

template <class B>
void layer_line<B>::one_layer(std::size_t index, streams<B>& flow) {
    if (streams_rows(index, flow)) {
        stream_layer(index);
        return;
    }
    clock_.enter("load");
    decoder_layer<B> layer = reader_.take(index);
    if (flow.evaluation) {
        clock_.enter("evaluate");
        flow.evaluation->advance_original(backend_, layer);
    }
    smooth_layer(index, layer, flow);
    clock_.enter("transform");
    work_.transform_layer(index, layer);
    if (work_.needs_inputs(index)) {
        clock_.enter("observe");
        std::size_t const windows = flow.calibration->windows();
        double const begin = smoothing_.acts(index) ? 0.2 : 0.0;
        flow.calibration->observe(backend_, layer, [&](window_range at) {
            within(index, fmt::format("window {}/{}", at.first + 1, windows), begin, 0.4 - begin,
                   at.first, windows);
            return work_.observing_hooks(index, at, windows);
        });
        work_.finish_observing();
    }
    input_scales const scales = work_.find_input_scales(index);
    std::size_t const reported = report_.linears.size();
    std::uint64_t const bytes = report_.quantized_bytes;
    clock_.enter("solve");
    std::size_t begun = 0;
    std::vector<quantized_linear> solved = solve_on_ranks(
        backend_, ranks_, work_, plan_, graph_, solved_groups(index), scales, report_,
        [&](linear_node const& node) { return layer.linears[node.row].weight.view(); },
        [&](linear_nodes const& group) {
            if (begun != 0) {  // by now the memory of the layer before is free
                reader_.begin(index + 1);
            }
            within(index, group.front()->module, 0.4, 0.3, begun, graph_.layer(index).size());
            begun += group.size();
        });
    reader_.begin(index + 1);
    work_.forget();
    if (smoothing_.acts(index)) {
        smoothing_.tell(std::span(report_.linears).subspan(reported));
    }
    layer_hooks<B> const hooks = work_.quantized_hooks(index, scales);
    auto const advance = [&] {
        if (flow.calibration && is_watched_after(index)) {
            clock_.enter("advance");
            flow.calibration->advance(backend_, layer, hooks);
        }
    };
    if constexpr (B::is_queued) {
        advance();
    }
    clock_.enter("write");
    writer_.write(
        index, std::move(solved),
        {report_.linears.begin() + static_cast<std::ptrdiff_t>(reported), report_.linears.end()},
        report_.quantized_bytes - bytes, smoothing_.take_folded());
    if constexpr (!B::is_queued) {
        advance();
    }
    if (flow.evaluation) {
        clock_.enter("evaluate");
        flow.evaluation->advance(backend_, layer, hooks);
    }
}

template <class B>
void layer_line<B>::smooth_layer(std::size_t index, decoder_layer<B>& layer, streams<B>& flow) {
    if (!smoothing_.acts(index)) {
        return;
    }
    clock_.enter("smooth");
    std::size_t const windows = flow.calibration->windows();
    flow.calibration->observe(backend_, layer, [&](window_range at) {
        within(index, fmt::format("window {}/{}", at.first + 1, windows), 0.0, 0.2, at.first,
               windows);
        return smoothing_.sampling_hooks(index, at, windows);
    });
    smoothing_.smooth(index, layer, [this](std::string const& tensor) {
        return model_.source().at(tensor).type;
    });
}

template <class B>
void layer_line<B>::one_solved_layer(std::size_t index, streams<B>& flow) {
    solved_layer solved = std::move(ahead_[index]);
    for (linear_report const& line : solved.lines) {
        report_.add(line, 0);
    }
    report_.quantized_bytes += solved.bytes;
    if (flow.evaluation) {
        clock_.enter("load");
        decoder_layer<B> layer = reader_.take(index);
        reader_.begin(index + 1);
        clock_.enter("evaluate");
        flow.evaluation->advance_original(backend_, layer);
        work_.transform_layer(index, layer);
        for (linear_node const& node : graph_.layer(index)) {
            for (quantized_linear const& linear : solved.linears) {
                if (linear.module == node.module) {
                    local_loss unused;
                    (void)decode_weights(backend_, linear.weight.view(),
                                         layer.linears[node.row].weight.view(), unused);
                }
            }
        }
        flow.evaluation->advance(backend_, layer, work_.quantized_hooks(index, solved.scales));
    }
    clock_.enter("write");
    writer_.write(index, std::move(solved.linears), std::move(solved.lines), solved.bytes);
}

template <class B>
void layer_line<B>::within(std::size_t index, std::string const& detail, double begin, double share,
                           std::size_t done, std::size_t of) {
    double const part = begin + share * (static_cast<double>(done) + 0.5) / static_cast<double>(of);
    progress_({"quantize", index, graph_.layers(), detail, part});
}

template <class B>
bool layer_line<B>::is_watched_after(std::size_t index) const {
    for (std::size_t later = index + 1; later <= graph_.layers(); ++later) {
        if (later >= finished_.size() && needs_inputs(later)) {
            return true;
        }
    }
    return false;
}

template <class B>
void layer_line<B>::one_head(streams<B>& flow, decoder<B>& network, layer_hooks<B>& hooks) {
    std::size_t const index = graph_.layers();
    linear_node const& node = graph_.head();
    if (streams_rows(index, flow)) {
        stream_layer(index);
        return;
    }
    clock_.enter("load");
    tensor<B> weight = load_linear(backend_, model_.source(), node).weight;
    scheme const& s = *plan_.scheme_of(graph_, node);
    if (block_transform const* const t = work_.transform(&s)) {
        transform_weights(backend_, *t, weight);
    }
    if (work_.needs_inputs(index)) {
        clock_.enter("observe");
        flow.calibration->observe_head(backend_, [&](window_range at) {
            return work_.observing_hooks(index, at, flow.calibration->windows());
        });
        work_.finish_observing();
    }
    input_scales const scales = work_.find_input_scales(index);
    clock_.enter("solve");
    writer_.finish();
    if (s.weight) {
        for (quantized_linear const& linear : solve_on_ranks(
                 backend_, ranks_, work_, plan_, graph_, {{&node}}, scales, report_,
                 [&](linear_node const&) { return weight.view(); }, [](linear_nodes const&) {})) {
            sink_.write(linear);
        }
    }
    work_.forget();
    network.replace_head(table_of(backend_, weight.view()));
    hooks = work_.quantized_hooks(index, scales);
}

template <class B>
std::string layer_line<B>::last_detail() const {
    if (report_.linears.empty()) {
        return {};
    }
    linear_report const& last = report_.linears.back();
    std::string const error = last.relative_error
                                  ? fmt::format("relative error {:.5f}", *last.relative_error)
                              : last.sqnr_db ? fmt::format("SQNR {:.2f} dB", *last.sqnr_db)
                                             : std::string("all 0");
    return last.module + " " + error;
}

}  // namespace fpq::detail
