// SPDX-License-Identifier: Apache-2.0
// Floor 8. The straight line of fpq-quantize: open, look at all that can end a run, read windows,
// then layer by layer (layer_line.hpp); report.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/layer_line.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/memory.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/preflight.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "fpq/pipeline/streams.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

namespace detail {

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

/// Text that the model writes itself: rank 0's.
template <class B>
token_windows sample_on_ranks(B const& b, rank_group& ranks, run_plan const& plan,
                              opened_model<B> const& model, progress_sink const& progress) {
    token_windows windows;
    if (ranks.rank() == 0) {
        windows = sample_windows(b, plan.calibration, model, progress);
    }
    std::uint64_t count = windows.size();
    broadcast_value(ranks, 0, count);
    windows.resize(count);
    for (auto& window : windows) {
        broadcast_vector(ranks, 0, window);
    }
    return windows;
}

inline void require_windows_for(rank_group const& ranks, std::size_t windows) {
    if (windows < ranks.size()) {
        fail_usage("num_sequences", {},
                   "at least a window for each of " + std::to_string(ranks.size()) + " ranks",
                   std::to_string(windows));
    }
}

}  // namespace detail

/// Does what a plan says on a backend, as one of `ranks`: rank 0 reads and writes the output, and
/// its report is the whole one. All ranks see the same model and texts (and, to go on with an
/// interrupted run, the same output directory); each takes its own windows and solves its share of
/// every layer. The bytes do not depend on the number of ranks. `progress` may be called from the
/// calling thread only.
/// Throws fpq::error. Where the output goes lies then what was there before; beside it, the staging
/// directory with the layers that are done, for the next run of the same plan to go on with.
template <class B>
run_report run(B const& b, run_plan const& whole, architecture_list known,
               progress_sink const& progress, rank_group& ranks) {
    auto const begin = std::chrono::steady_clock::now();
    run_plan plan = whole;
    if (ranks.rank() != 0) {
        plan.output.reset();
    }
    run_report report;
    report.recipe = plan.recipe;
    report.threads = plan.threads;
    report.ranks = ranks.size();
    report.processor = detail::processor_name();
    report.notes = plan.notes;
    report.evaluates = plan.evaluates;
    report.quantized_inputs = plan.quantized_inputs();
    for (plan_entry const& e : plan.entries) {
        report.input_bytes += e.bytes_in;
    }
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
    detail::layer_line<B> line(b, ranks, plan, model, report, progress, known, std::move(identity));
    bool had_finished = !line.earlier_result().is_null();
    broadcast_value(ranks, 0, had_finished);
    if (had_finished) {
        if (ranks.rank() == 0) {
            take_results(line.earlier_result(), report);
        }
        report.notes.emplace_back(
            "an interrupted run of the same recipe had finished: its result is in its place now");
        return report;
    }
    streams<B> flow;
    if (!plan.calibration.dataset.empty()) {
        if (windows.calibration.empty()) {
            windows.calibration = detail::sample_on_ranks(b, ranks, plan, model, progress);
        }
        detail::require_windows_for(ranks, windows.calibration.size());
        report.calibration_tokens = windows.calibration.size() * plan.calibration.sequence_length;
        if (plan.solves_by_gradients()) {
            flow.gradients = std::move(windows.calibration);
        } else {
            flow.calibration.emplace(b, ranks, model.network(), windows.calibration,
                                     plan.device_memory);
            report.hidden_states = flow.calibration->place();
        }
    }
    if (plan.evaluation.perplexity) {
        flow.evaluation.emplace(b, ranks, model.network(), std::move(windows.evaluation),
                                plan.device_memory);
    }
    line.run(flow);
    report.host_memory = detail::peak_resident();
    report.device_memory = peak_device_memory(b);
    report.planned_device_memory = plan.device_memory;
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

/// On one rank.
template <class B>
run_report run(B const& b, run_plan const& plan, architecture_list known,
               progress_sink const& progress) {
    lone_rank alone;
    return run(b, plan, known, progress, alone);
}

}  // namespace fpq
