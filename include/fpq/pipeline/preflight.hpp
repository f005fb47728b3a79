// SPDX-License-Identifier: Apache-2.0
// Floor 8. All that can end a run is looked for before its first layer: every tensor that the model
// needs, every file that goes along, the texts and their windows. What passes here and under
// --dry_run runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/dialect/carried_files.hpp"
#include "fpq/dialect/verify_config.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/estimate.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/memory.hpp"
#include "fpq/pipeline/output_files.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/streams.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

namespace detail {

/// Type and shape of all tensors that the graph needs, by name; nothing is read.
inline std::vector<tensor_ref const*> require_tensors(checkpoint const& source,
                                                      model_graph const& graph) {
    std::vector<tensor_ref const*> out;
    auto const need = [&](std::string const& name, std::initializer_list<std::uint64_t> shape) {
        tensor_ref const& t = source.at(name);
        require_shape(t, std::span<std::uint64_t const>(shape.begin(), shape.size()));
        if (t.type != dtype::bf16 && t.type != dtype::f16 && t.type != dtype::f32) {
            fail_input("wrong type of tensor", tensor_place(t), "BF16, F16 or F32",
                       dtype_name(t.type));
        }
        out.push_back(&t);
    };
    model_config const& c = graph.config();
    need(graph.embedding() + ".weight", {c.vocab_size, c.hidden_size});
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        for (norm_node const& norm : graph.norms(layer)) {
            need(norm.tensor, {norm.width});
        }
        for (linear_node const& node : graph.layer(layer)) {
            need(node.weight(), {node.out, node.in});
            if (node.bias) {
                need(node.bias_name(), {node.out});
            }
        }
    }
    need(graph.final_norm(), {c.hidden_size});
    if (!c.tied_head) {
        need(graph.head().weight(), {c.vocab_size, c.hidden_size});
    }
    return out;
}

/// Refuses NaN and infinity in any of the tensors, the first in their order by name and element.
/// Reads every byte once; pages are let go piece by piece.
inline void require_finite_tensors(checkpoint const& source,
                                   std::vector<tensor_ref const*> const& tensors, int threads) {
    struct part {
        tensor_ref const* tensor;
        std::span<std::byte const> bytes;
    };
    constexpr std::size_t piece = std::size_t{8} << 20;
    std::vector<part> parts;
    for (tensor_ref const* const t : tensors) {
        for (std::size_t at = 0; at < t->bytes.size(); at += piece) {
            parts.push_back({t, t->bytes.subspan(at, std::min(piece, t->bytes.size() - at))});
        }
    }
    std::vector<std::uint8_t> bad(parts.size(), 0);
    parallel_for(parts.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            bad[i] = first_non_finite(parts[i].tensor->type, parts[i].bytes) ? 1 : 0;
            source.release(parts[i].tensor->name, parts[i].bytes);
        }
    });
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (bad[i] != 0) {
            require_finite(*parts[i].tensor, parts[i].bytes);
        }
    }
}

}  // namespace detail

/// Texts of a run as windows, and what a user should know before it starts.
struct run_windows {
    token_windows calibration;  ///< empty: none, or sampled from the model when the run begins
    evaluation_set evaluation;
    std::vector<std::string> notes;
};

/// Refuses what would end the run of a plan later: tensors that are absent, misshapen, of another
/// type or not finite, files that cannot be carried over, weights and files of somebody else where
/// the output goes. Throws fpq::error (input).
template <class B>
void check_inputs(run_plan const& plan, opened_model<B> const& model) {
    checkpoint const& source = model.source();
    if (plan.output) {
        planned_output const& out = *plan.output;
        std::vector<std::string> const files = output_files(out, source);
        output_place const place =
            check_output_directory(out.directory, files, planned_bytes(out.shards));
        require_distinct(source.directory(), place.directory);
        require_own_output(place, files);
    }
    detail::require_finite_tensors(source, detail::require_tensors(source, model.graph()),
                                   plan.threads);
    if (plan.output) {
        for (std::string const& name : carried_files(source.directory())) {
            std::filesystem::path const path = source.directory() / name;
            refuse_lfs_pointer(mapped_file(path).bytes(), path);
            if (name.ends_with(".json")) {
                check_json_file(path);
            }
        }
        detail::check_model_config(source, &model.graph(), [&](std::string const& finding) {
            if (!finding.starts_with("warning: ")) {
                fail_input("config that no client can load", source.directory().string(),
                           "no fault", finding);
            }
        });
    }
}

/// Reads, tokenizes and cuts the texts of a plan. Throws fpq::error (input) for a text or tokenizer
/// that cannot be read and for too little text.
template <class B>
run_windows read_windows(B const& b, run_plan const& plan, opened_model<B> const& model,
                         progress_sink const& progress) {
    run_windows out;
    if (plan.output) {
        for (std::string const& name : other_weights(plan.output->directory)) {
            auto const& files = plan.output->shards;
            bool const replaced = std::any_of(
                files.begin(), files.end(), [&](auto const& shard) { return shard.file == name; });
            if (!replaced) {
                out.notes.push_back(name + " stays beside the new weights in " +
                                    plan.output->directory.string());
            }
        }
        output_place const place = find_output_place(plan.output->directory);
        if (place.staging() != place.beside() &&
            std::filesystem::is_regular_file(look_at(place.beside() / staging_journal_name))) {
            out.notes.push_back("what an interrupted run left in " + place.beside().string() +
                                " is not gone on with: it is on another file system, or " +
                                place.inside().string() + " is newer");
        }
    }
    if (!plan.calibration.dataset.empty()) {
        model.config().require_sequence(plan.calibration.sequence_length);
        if (plan.calibration.dataset == "self") {
            (void)sample_room(b, model.graph(), plan.calibration.sequence_length);
            (void)first_token(model);
        } else {
            calibration_cut cut = load_calibration_windows(b, plan.calibration, model, progress);
            for (std::string const& note : cut.notes()) {
                out.notes.push_back(note);
            }
            out.calibration = std::move(cut.windows);
        }
    }
    if (plan.evaluation.perplexity) {
        out.evaluation =
            evaluation_windows(model, evaluation_text_of(plan.evaluation, plan.calibration));
        for (std::string const& note : out.evaluation.notes) {
            if (std::find(out.notes.begin(), out.notes.end(), note) == out.notes.end()) {
                out.notes.push_back(note);  // the calibration text may be the same
            }
        }
    }
    return out;
}

/// All that can be found out about a plan without running it, as run() does first: what passes
/// runs. Notes of the texts are added to the plan's. Throws fpq::error as run() would.
template <class B>
rehearsal rehearse(B const& b, run_plan& plan, architecture_list known,
                   progress_sink const& progress) {
    opened_model<B> const model(b, plan.model, known);
    check_inputs(plan, model);
    run_windows const windows = read_windows(b, plan, model, progress);
    if (plan.output) {
        refuse_other_run(plan, model.source(), windows.calibration, windows.evaluation.windows);
    }
    plan.notes.insert(plan.notes.end(), windows.notes.begin(), windows.notes.end());
    std::size_t evaluated = 0;
    for (auto const& window : windows.evaluation.windows) {
        evaluated += window.size();
    }
    // The texts were read as the run reads them.
    std::uint64_t const memory =
        std::max(detail::peak_resident(), estimate_memory(plan, model.graph(), evaluated));
    if (std::string note = memory_note(memory, machine_memory()); !note.empty()) {
        std::erase(plan.notes, memory_note(plan.peak_memory, machine_memory()));
        plan.notes.push_back(std::move(note));
    }
    return {estimate_seconds(b, plan, count_work(plan, model.graph(), evaluated)), memory,
            device_states_of(plan, model.graph(), evaluated)};
}

}  // namespace fpq
