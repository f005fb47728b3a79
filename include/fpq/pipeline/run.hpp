// SPDX-License-Identifier: Apache-2.0
// Floor 8. The straight line of fpq-quantize: open, resolve, read windows, then layer by layer
// load, transform, observe, solve, write, advance; finish, verify, report. Memory is one layer,
// never one model.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/calibration.hpp"
#include "fpq/pipeline/estimate.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/low_sqnr.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/preflight.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/resolve.hpp"
#include "fpq/pipeline/row_stream.hpp"
#include "fpq/pipeline/sink.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

namespace detail {

/// Adds up the seconds of phases that come and go.
class phase_clock {
public:
    explicit phase_clock(run_report& report) : report_(report) {}
    void enter(std::string const& phase) {
        leave();
        phase_ = phase;
        begin_ = std::chrono::steady_clock::now();
    }
    void leave() {
        if (phase_.empty()) {
            return;
        }
        std::chrono::duration<double> const spent = std::chrono::steady_clock::now() - begin_;
        for (phase_time& p : report_.phases) {
            if (p.phase == phase_) {
                p.seconds += spent.count();
                phase_.clear();
                return;
            }
        }
        report_.phases.push_back({phase_, spent.count()});
        phase_.clear();
    }

private:
    run_report& report_;
    std::string phase_;
    std::chrono::steady_clock::time_point begin_;
};

/// The processor's name as Linux tells it; empty elsewhere.
inline std::string processor_name() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
        if (line.starts_with("model name")) {
            std::size_t const at = line.find(": ");
            return at == std::string::npos ? line : line.substr(at + 2);
        }
    }
    return {};
}

/// The layers one after the other, then the head.
template <class B>
class layer_line {
public:
    layer_line(B const& b, run_plan const& plan, opened_model<B> const& model, run_report& report,
               progress_sink const& progress, architecture_list known, nlohmann::json identity)
        : backend_(b),
          plan_(plan),
          model_(model),
          known_(known),
          graph_(model.graph()),
          report_(report),
          progress_(progress),
          clock_(report),
          transforms_(transforms_of(plan)),
          work_(b, plan, graph_, transforms_),
          sink_(plan, model, std::move(identity)),
          rows_(plan, model, sink_) {}

    /// Null, or the report of an earlier run that left nothing to do.
    [[nodiscard]] nlohmann::json const& earlier_result() const noexcept {
        return sink_.earlier_result();
    }

    void run(streams<B>& flow) {
        std::size_t const layers = graph_.layers();
        if (!sink_.finished().empty()) {
            report_.notes.push_back(
                fmt::format("goes on with an interrupted run: {} of {} layers were done",
                            sink_.finished().size(), layers));
        }
        for (std::size_t layer = 0; layer < layers; ++layer) {
            if (layer < sink_.finished().size()) {
                repeat_layer(sink_.finished()[layer], flow);
                progress_({"repeat", layer + 1, sink_.finished().size(), ""});
                continue;
            }
            one_layer(layer, flow);
            progress_({"quantize", layer + 1, layers, last_detail()});
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
        clock_.enter("write");
        rows_.finish();
        sink_.finish(report_);
        clock_.leave();
    }

private:
    /// Nothing looks at the layer as a whole: every linear is left alone or streamed.
    [[nodiscard]] bool streams_rows(std::size_t layer, streams<B> const& flow) const {
        if (!flow.empty() || work_.needs_inputs(layer)) {
            return false;
        }
        for (auto const& group : work_.groups(layer)) {
            scheme const* const s = plan_.scheme_of(graph_, *group.front());
            if (s != nullptr && s->weight && !row_stream<B>::holds(plan_, *s)) {
                return false;
            }
        }
        return true;
    }

    /// A layer that an earlier run finished: its report, and the windows through what it wrote,
    /// which gives the hidden states of that run to the bit.
    void repeat_layer(layer_record const& done, streams<B>& flow) {
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
            earlier_.emplace(backend_, sink_.staging(), known_);
        }
        layer_hooks<B> unused;
        decoder_layer<B> const layer = earlier_->load(done.layer, unused);
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

    void stream_layer(std::size_t layer) {
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

    void one_layer(std::size_t index, streams<B>& flow) {
        if (streams_rows(index, flow)) {
            stream_layer(index);
            return;
        }
        clock_.enter("load");
        decoder_layer<B> layer = load_layer(backend_, model_.source(), graph_, index);
        if (flow.evaluation) {
            clock_.enter("evaluate");
            flow.evaluation->advance_original(backend_, layer);
        }
        clock_.enter("transform");
        work_.transform_layer(index, layer);
        if (work_.needs_inputs(index)) {
            clock_.enter("observe");
            std::size_t const windows = flow.calibration->windows();
            flow.calibration->observe(backend_, layer, [&](std::size_t window) {
                within(index, fmt::format("window {}/{}", window + 1, windows), 0.0, 0.4, window,
                       windows);
                return work_.observing_hooks(index, window, flow.calibration->windows());
            });
        }
        input_scales const scales = work_.find_input_scales(index);
        std::size_t const reported = report_.linears.size();
        std::uint64_t const bytes = report_.quantized_bytes;
        clock_.enter("solve");
        std::vector<quantized_linear> solved;
        for (auto const& group : work_.groups(index)) {
            scheme const* const s = plan_.scheme_of(graph_, *group.front());
            if (s == nullptr || !s->weight) {
                continue;
            }
            within(index, group.front()->module, 0.4, 0.3, solved.size(),
                   graph_.layer(index).size());
            std::vector<typename B::view> weights;
            for (linear_node const* const node : group) {
                weights.push_back(layer.linears[node->row].weight.view());
            }
            work_.solve(group, weights, scales, report_,
                        [&](quantized_linear linear) { solved.push_back(std::move(linear)); });
        }
        work_.forget();
        clock_.enter("write");
        for (quantized_linear const& linear : solved) {
            sink_.write(linear);
        }
        sink_.finish_layer(index,
                           {report_.linears.begin() + static_cast<std::ptrdiff_t>(reported),
                            report_.linears.end()},
                           report_.quantized_bytes - bytes);
        clock_.enter("advance");
        layer_hooks<B> const hooks = work_.quantized_hooks(index, scales);
        if (flow.calibration && is_watched_after(index)) {
            flow.calibration->advance(backend_, layer, hooks);
        }
        if (flow.evaluation) {
            clock_.enter("evaluate");
            flow.evaluation->advance(backend_, layer, hooks);
        }
    }

    /// Tells how far a layer is: `share` of it, from `begin` on, is what is `done` of `of` equal
    /// parts of the work at hand.
    void within(std::size_t index, std::string const& detail, double begin, double share,
                std::size_t done, std::size_t of) {
        double const part =
            begin + share * (static_cast<double>(done) + 0.5) / static_cast<double>(of);
        progress_({"quantize", index, graph_.layers(), detail, part});
    }

    /// Whether anything behind layer `index` needs inputs.
    [[nodiscard]] bool is_watched_after(std::size_t index) const {
        for (std::size_t later = index + 1; later <= graph_.layers(); ++later) {
            if (later >= sink_.finished().size() && work_.needs_inputs(later)) {
                return true;
            }
        }
        return false;
    }

    /// The output head; `network` gets what it became.
    void one_head(streams<B>& flow, decoder<B>& network, layer_hooks<B>& hooks) {
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
            transform_weights(backend_, *t, weight.view());
        }
        if (work_.needs_inputs(index)) {
            clock_.enter("observe");
            flow.calibration->observe_head(backend_, [&](std::size_t window) {
                return work_.observing_hooks(index, window, flow.calibration->windows());
            });
        }
        input_scales const scales = work_.find_input_scales(index);
        clock_.enter("solve");
        if (s.weight) {
            work_.solve({&node}, {weight.view()}, scales, report_,
                        [&](quantized_linear const& linear) { sink_.write(linear); });
        }
        work_.forget();
        network.replace_head(table_of(backend_, weight.view()));
        hooks = work_.quantized_hooks(index, scales);
    }

    [[nodiscard]] std::string last_detail() const {
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

    B backend_;
    run_plan const& plan_;
    opened_model<B> const& model_;
    architecture_list known_;
    model_graph const& graph_;
    run_report& report_;
    progress_sink const& progress_;
    phase_clock clock_;
    scheme_transforms transforms_;
    layer_work<B> work_;
    quantized_sink<B> sink_;
    row_stream<B> rows_;
    std::optional<opened_model<B>> earlier_;  // what an interrupted run wrote
};

}  // namespace detail

/// Opens the model of a recipe and resolves it for a backend: what `--dry_run` shows. Nothing is
/// written.
template <class B>
run_plan plan_run(B const& b, recipe const& r, architecture_list known) {
    checkpoint source(model_directory(r.model));
    model_graph const graph(settle_model(source, known));
    if (source.config().contains("quantization_config")) {
        nlohmann::json const& quantizer =
            detail::member_or_null(source.config().at("quantization_config"), "quant_method");
        std::string found =
            "a quantization_config, quant_method " + detail::printable(quantizer.dump());
        if (std::string const first = graph.linears().front().weight(); source.contains(first)) {
            dtype const type = source.at(first).type;
            bool const fp8 = type == dtype::f8_e4m3 || type == dtype::f8_e5m2;
            found.append(fp8 ? ", FP8 weights (" : ", weights of ")
                .append(dtype_name(type))
                .append(fp8 ? ")" : "");
        }
        fail_input("checkpoint is already quantized", r.model.string(),
                   "bf16, fp16 or fp32 weights", found);
    }
    return resolve(b, r, source, graph);
}

/// All that can be found out about a plan without running it, as run() does first: what passes
/// runs. Notes of the texts are added to the plan's. Throws fpq::error as run() would.
template <class B>
rehearsal rehearse(B const& b, run_plan& plan, architecture_list known,
                   progress_sink const& progress) {
    opened_model<B> const model(b, plan.model, known);
    check_inputs(plan, model);
    run_windows const windows = read_windows(b, plan, model, progress);
    plan.notes.insert(plan.notes.end(), windows.notes.begin(), windows.notes.end());
    std::size_t evaluated = 0;
    for (auto const& window : windows.evaluation.windows) {
        evaluated += window.size();
    }
    return {estimate_seconds(b, plan, count_work(plan, model.graph(), evaluated))};
}

/// Does what a plan says on a backend. `progress` may be called from the calling thread only.
/// Throws fpq::error; nothing half-written is left behind.
template <class B>
run_report run(B const& b, run_plan const& plan, architecture_list known,
               progress_sink const& progress) {
    auto const begin = std::chrono::steady_clock::now();
    run_report report;
    report.recipe = plan.recipe;
    report.threads = plan.threads;
    report.processor = detail::processor_name();
    report.notes = plan.notes;
    report.evaluates_calibration_text = plan.evaluates_calibration_text;
    if (plan.output) {
        report.layout = plan.output->layout->name;
        report.directory = plan.output->directory;
        report.output_bytes = plan.output->bytes;
    }
    opened_model<B> const model(b, plan.model, known);
    check_inputs(plan, model);
    run_windows windows = read_windows(b, plan, model, progress);
    report.notes.insert(report.notes.end(), windows.notes.begin(), windows.notes.end());
    nlohmann::json identity = plan.output ? run_identity(plan, model.source(), windows.calibration,
                                                         windows.evaluation.windows)
                                          : nlohmann::json();
    detail::layer_line<B> line(b, plan, model, report, progress, known, std::move(identity));
    if (!line.earlier_result().is_null()) {
        take_results(line.earlier_result(), report);
        report.notes.emplace_back(
            "an interrupted run of the same recipe had finished: its result is in its place now");
        return report;
    }
    streams<B> flow;
    if (!plan.calibration.dataset.empty()) {
        if (windows.calibration.empty()) {
            windows.calibration = sample_windows(b, plan.calibration, model, progress);
        }
        report.calibration_tokens = windows.calibration.size() * plan.calibration.sequence_length;
        flow.calibration.emplace(b, model.network(), windows.calibration);
    }
    if (plan.evaluation.perplexity) {
        flow.evaluation.emplace(b, model.network(), std::move(windows.evaluation));
    }
    line.run(flow);
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

}  // namespace fpq
