// SPDX-License-Identifier: Apache-2.0
// Floor 8. The straight line of fpq-quantize: open, look at all that can end a run, read windows,
// then layer by layer (layer_line.hpp); report.
#pragma once

#include <chrono>
#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "fpq/graph/graph.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/layer_line.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/preflight.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"
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

}  // namespace detail

/// Does what a plan says on a backend. `progress` may be called from the calling thread only.
/// Throws fpq::error. Where the output goes lies then what was there before; beside it, the staging
/// directory with the layers that are done, for the next run of the same plan to go on with.
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
        flow.calibration.emplace(b, model.network(), windows.calibration, plan.device_memory);
        report.hidden_states = flow.calibration->place();
    }
    if (plan.evaluation.perplexity) {
        flow.evaluation.emplace(b, model.network(), std::move(windows.evaluation),
                                plan.device_memory);
    }
    line.run(flow);
    report.device_memory = peak_device_memory(b);
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

}  // namespace fpq
