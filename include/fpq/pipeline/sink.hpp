// SPDX-License-Identifier: Apache-2.0
// Floor 8. Where quantized linears go: into a checkpoint of the plan's layout, or nowhere. What
// was written is opened again and compared before the run counts as done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/carried_files.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/check_written.hpp"
#include "fpq/pipeline/journal.hpp"
#include "fpq/pipeline/model_card.hpp"
#include "fpq/pipeline/output_files.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// One linear as fpq represents it; every dialect is written from this.
struct quantized_linear {
    std::string module;
    packed_matrix weight;             // (out, in), in the transformed basis
    float input_global_scale = 1.0F;  // divisor style; read only when inputs are quantized
    block_transform const* transform = nullptr;  // null: none
};

template <class B>
class quantized_sink {
public:
    /// Reserves the output when the plan has one, and puts in it all that is not quantized; or goes
    /// on with what an earlier run of the same identity left. All references outlive the sink.
    quantized_sink(run_plan const& plan, opened_model<B> const& model, nlohmann::json identity);

    /// Layers that an earlier run finished: solved, written, and still what was written.
    [[nodiscard]] std::vector<layer_record> const& finished() const noexcept { return finished_; }
    /// Where the files lie until they are published. There must be an output.
    [[nodiscard]] std::filesystem::path const& staging() { return writer_->staging().path(); }
    /// The report of an earlier run of this identity whose files had all been verified and were
    /// moving when it was cut short: they are in their place now, and nothing is left to do. Null:
    /// there was none.
    [[nodiscard]] nlohmann::json const& earlier_result() const noexcept { return earlier_; }

    /// A layer is done: from now on it is not done again.
    void finish_layer(std::size_t layer, std::vector<linear_report> linears, std::uint64_t bytes);

    void write(quantized_linear const& linear);
    /// A norm or bias that the plan folds scales into.
    void write(tensor_data const& of_model);

    /// Opens what was written and compares it; then publishes it. `report` is what a later run is
    /// told should this one be cut short in between.
    void finish(run_report& report);

private:
    bool goes_on(staging_directory& left);

    void find_earlier_result();

    /// What is not quantized, the files beside the weights and those that the layout makes: first,
    /// so that what is written can be opened as soon as a layer of it is done.
    void write_rest();
    /// A tensor that is not quantized.
    void write_copy(tensor_ref const& tensor);

    run_plan const& plan_;
    opened_model<B> const& model_;
    std::optional<checkpoint_writer> writer_;
    std::map<std::string, export_linear const*> planned_;  // by module
    nlohmann::json identity_;
    nlohmann::json earlier_;
    std::vector<layer_record> finished_;
    std::string lost_;            // of the work of an earlier run, in words
    tensor_prints fingerprints_;  // of all quantized tensors
    tensor_prints of_layer_;      // of those since the last finished layer
};

template <class B>
quantized_sink<B>::quantized_sink(run_plan const& plan, opened_model<B> const& model,
                                  nlohmann::json identity)
    : plan_(plan), model_(model), identity_(std::move(identity)) {
    if (!plan.output) {
        return;
    }
    planned_output const& out = *plan.output;
    require_distinct(model_.source().directory(), out.directory);
    writer_.emplace(out.directory, out.tensors, out.shards,
                    [this](staging_directory& left) { return goes_on(left); });
    find_earlier_result();
    if (!earlier_.is_null()) {
        writer_.reset();
        return;
    }
    for (export_linear const& linear : out.linears.linears) {
        planned_.emplace(linear.module, &linear);
    }
    if (!writer_->resumed()) {
        finished_.clear();  // its files are gone
        writer_->staging().journal().add({{"begin", identity_}});
    }
    for (layer_record const& layer : finished_) {
        for (auto const& [name, print] : layer.tensors) {
            writer_->mark_written(name);
            fingerprints_[name] = print;
        }
    }
    write_rest();
}

template <class B>
void quantized_sink<B>::finish_layer(std::size_t layer, std::vector<linear_report> linears,
                                     std::uint64_t bytes) {
    if (!writer_) {
        return;
    }
    writer_->staging().journal().add(
        to_json(layer_record{layer, std::exchange(of_layer_, {}), std::move(linears), bytes}));
    writer_->staging().keep();
}

template <class B>
void quantized_sink<B>::write(quantized_linear const& linear) {
    if (!writer_) {
        return;
    }
    linear_record record;
    record.module = linear.module;
    record.weight = linear.weight.view();
    record.act_global_scale = linear.input_global_scale;
    if (linear.transform != nullptr) {
        // The client multiplies gradients by the second matrix; its writer stores the first.
        record.forward_matrix = linear.transform->matrix().data();
        record.backward_matrix = linear.transform->matrix().data();
        record.transform_block = linear.transform->block();
    }
    planned_output const& out = *plan_.output;
    for (tensor_data const& tensor :
         out.layout->write(out.linears, *planned_.at(linear.module), record)) {
        std::uint64_t const print = fingerprint(tensor.bytes);
        fingerprints_[tensor.name] = print;
        of_layer_[tensor.name] = print;
        writer_->write(tensor);
    }
}

template <class B>
void quantized_sink<B>::write(tensor_data const& of_model) {
    if (!writer_) {
        return;
    }
    single_file const* const file = plan_.output->layout->file;
    tensor_data const folded =
        file == nullptr ? of_model
                        : file->copy(plan_.output->linears, {of_model.name, of_model.type,
                                                             of_model.shape, of_model.bytes});
    std::uint64_t const print = fingerprint(folded.bytes);
    fingerprints_[folded.name] = print;
    of_layer_[folded.name] = print;
    writer_->write(folded);
}

template <class B>
void quantized_sink<B>::finish(run_report& report) {
    if (!writer_) {
        return;
    }
    writer_->require_complete();
    if (!lost_.empty()) {
        report.notes.push_back(lost_);
    }
    std::string const card = model_card(plan_, report);
    writer_->add_file("README.md", std::as_bytes(std::span(card)));
    check_written(plan_, model_, writer_->staging().path(), fingerprints_, report);
    writer_->staging().journal().add({{"verified", to_json(report)}});
    writer_->finish();
}

template <class B>
bool quantized_sink<B>::goes_on(staging_directory& left) {
    if (!goes_on_with(left.journal(), identity_, left.path(),
                      output_files(*plan_.output, model_.source()), plan_.restart)) {
        return false;
    }
    if (plan_.output->layout->file != nullptr) {
        lost_ = "layers that an interrupted run had finished are done again: fpq does not read " +
                std::string(plan_.output->layout->name) + " back";
        return false;
    }
    earlier_work work = finished_layers(left.journal(), left.path());
    finished_ = std::move(work.layers);
    lost_ = std::move(work.lost);
    return true;
}

template <class B>
void quantized_sink<B>::find_earlier_result() {
    bool same = false;
    for (nlohmann::json const& line : writer_->staging().finished_move()) {
        same = same || (line.contains("begin") && line.at("begin") == identity_);
        if (same && line.contains("verified")) {
            earlier_ = line.at("verified");
        }
    }
}

template <class B>
void quantized_sink<B>::write_copy(tensor_ref const& tensor) {
    checkpoint const& source = model_.source();
    single_file const* const file = plan_.output->layout->file;
    if (file == nullptr) {
        writer_->write(tensor.name, tensor.bytes,
                       [&](auto piece) { source.release(tensor.name, piece); });
        return;
    }
    tensor_data const copy = file->copy(plan_.output->linears, tensor);
    bool const borrowed = copy.bytes.data() == tensor.bytes.data();
    writer_->write(copy.name, copy.bytes, [&](auto piece) {
        if (borrowed) {
            source.release(tensor.name, piece);
        }
    });
    source.release(tensor.name);
}

template <class B>
void quantized_sink<B>::write_rest() {
    for (plan_entry const& entry : plan_.entries) {
        if (entry.action == tensor_action::copy) {
            write_copy(model_.source().at(entry.tensor));
        }
    }
    planned_output const& out = *plan_.output;
    if (out.layout->file != nullptr) {
        for (tensor_data const& made : out.layout->file->made(out.linears)) {
            writer_->write(made);
        }
    }
    writer_->add_json("recipe.json", shared_recipe(plan_));
    for (named_json const& file : out.layout->files(out.linears, model_.source().config())) {
        writer_->add_json(file.name, file.content);
    }
    for (std::string const& name : carried_files(model_.source().directory())) {
        writer_->copy_file(model_.source().directory() / name, name);
    }
}

}  // namespace fpq
