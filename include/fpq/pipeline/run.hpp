// SPDX-License-Identifier: Apache-2.0
// Floor 8. The straight line of fpq-quantize: open, plan, calibrate, then layer by layer load,
// transform, tap, solve, write, advance; finish, verify, report. Memory is one layer, never one
// model.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"
#include "fpq/io/text/text.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/load.hpp"
#include "fpq/pipeline/calibration.hpp"
#include "fpq/pipeline/direct_rtn.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/layer_solver.hpp"
#include "fpq/pipeline/opened_model.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/sink.hpp"

namespace fpq {

/// Steps 1 to 4 alone, for `--dry_run`: nothing is written. `r` is settled.
inline run_plan plan_run(recipe const& r) {
    checkpoint const source(r.model);
    model_config const config =
        read_model_config(source.config(), (source.directory() / "config.json").string());
    return make_plan(r, source, config);
}

namespace detail {

/// The recipe's transform. FP-Quant files hold its matrix in bf16, so that an export to them solves
/// for the rounded matrix: what was calibrated is what a client runs.
inline block_transform run_transform(recipe const& r) {
    block_transform exact = block_transform::make(r.transform, r.transform_block, r.seed);
    bool const stored = r.exported != export_kind::none && r.layout == dialect::fp_quant;
    if (!stored || r.transform == transform_kind::identity) {
        return exact;
    }
    std::vector<float> rounded = exact.matrix();
    for (float& value : rounded) {
        value = round_to_bf16(value);
    }
    return block_transform::from_matrix(exact.block(), rounded, transform_kind::orthogonal);
}

/// The layers one after the other; what differs between recipes is decided in layer_solver.
class layer_line {
public:
    layer_line(recipe const& r, opened_model& model, run_plan const& plan,
               progress_sink const& progress)
        : recipe_(r),
          model_(model),
          progress_(progress),
          transform_(run_transform(r)),
          solver_(r, transform_),
          sink_(r, model.source(), plan, transform_) {}

    void calibrate(std::vector<std::vector<std::int32_t>> const& windows) {
        hidden_.emplace(model_.network(), windows);
    }

    void evaluate(std::vector<std::vector<std::int32_t>> windows) {
        evaluation_.emplace(model_.network(), std::move(windows), recipe_.threads);
    }

    void run(run_report& report) {
        std::size_t const layers = model_.config().layers;
        if (!hidden_ && !evaluation_ && direct_rtn::applies(recipe_, solver_)) {
            direct_.emplace(recipe_, model_.source(), model_.config(), solver_, sink_);
        }
        for (std::size_t layer = 0; layer < layers; ++layer) {
            one_layer(layer, report);
            progress_({"quantize", layer + 1, layers, last_detail(report)});
        }
        if (direct_) {
            direct_->finish();
        }
        sink_.finish(report);
        if (evaluation_) {
            report.evaluation = evaluation_->finish(progress_);
        }
    }

private:
    void one_layer(std::size_t index, run_report& report) {
        if (direct_) {
            direct_->one_layer(index, report);
            return;
        }
        decoder_layer layer = load_layer(model_.source(), model_.config(), index);
        if (evaluation_) {
            evaluation_->advance_reference(layer);
        }
        std::vector<quantized_linear> solved;
        input_scales scales;
        scales.fill(1.0F);
        if (recipe_.quantizes_weights() || recipe_.quantizes_inputs()) {
            solver_.transform_weights(layer);
            if (solver_.needs_inputs()) {
                layer_hooks const tapping = solver_.observing_hooks();
                hidden_->observe(layer, tapping, recipe_.threads);
            }
            scales = solver_.find_input_scales();
        }
        if (recipe_.quantizes_weights()) {
            for (linear_role role : linear_roles) {
                if (shared_input(role) == role) {
                    solver_.solve_group(index, role, layer, scales, solved, report.linears);
                }
            }
        }
        solver_.forget();
        for (quantized_linear const& linear : solved) {
            report.quantized_values += std::uint64_t{linear.weight.rows} * linear.weight.cols;
            report.quantized_bytes += packed_size(linear.weight);
            sink_.write(linear);
        }
        layer_hooks const final_hooks = solver_.quantized_hooks(scales);
        if (hidden_ && solver_.needs_inputs() && index + 1 < model_.config().layers) {
            hidden_->advance(layer, final_hooks, recipe_.threads);
        }
        if (evaluation_) {
            evaluation_->advance(layer, final_hooks);
        }
    }

    static std::string last_detail(run_report const& report) {
        if (report.linears.empty()) {
            return {};
        }
        linear_report const& last = report.linears.back();
        std::string const error = last.relative_error
                                      ? fmt::format("relative error {:.5f}", *last.relative_error)
                                      : fmt::format("SQNR {:.2f} dB", last.sqnr_db);
        return last.module + " " + error;
    }

    recipe const& recipe_;
    opened_model& model_;
    progress_sink const& progress_;
    block_transform transform_;
    layer_solver solver_;
    quantized_sink sink_;
    std::optional<hidden_states> hidden_;
    std::optional<evaluation> evaluation_;
    std::optional<direct_rtn> direct_;
};

}  // namespace detail

/// Runs a settled recipe. `progress` may be called from the calling thread only.
/// Throws fpq::error; nothing half-written is left behind.
inline run_report run(recipe const& r, progress_sink const& progress) {
    auto const begin = std::chrono::steady_clock::now();
    run_report report;
    report.choices = r;
    opened_model model(r.model);
    if (model.is_quantized()) {
        fail_input("checkpoint is already quantized", r.model.string(),
                   "bf16, fp16 or fp32 weights", "a quantization_config");
    }
    run_plan const plan = make_plan(r, model.source(), model.config());
    report.notes = plan.notes;
    report.output_bytes = plan.output_bytes;

    detail::layer_line line(r, model, plan, progress);
    bool const calibrates = !r.dataset.empty() && (r.quantizes_weights() || r.quantizes_inputs());
    if (calibrates) {
        model.config().require_sequence(r.sequence_length);
        calibration_cut const cut = load_calibration_windows(r, model, progress);
        report.calibration_tokens = cut.windows.size() * r.sequence_length;
        for (std::string const& note : cut.notes()) {
            report.notes.push_back(note);
        }
        line.calibrate(cut.windows);
    }
    if (r.eval_perplexity) {
        line.evaluate(load_evaluation_windows(model.directory(), evaluation_text_of(r, report)));
    }
    line.run(report);
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

}  // namespace fpq
