// SPDX-License-Identifier: Apache-2.0
// Floor 6. Everything about a written checkpoint that an engine would load without a word and then
// compute wrongly (or that it would refuse for lack of a tensor), as lines of text. It decodes no
// weights; comparing with a reference is the pipeline's.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/carried_files.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/dialect/verify_config.hpp"
#include "fpq/dialect/verify_tensors.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

namespace detail {

/// Collects the lines; one method a family of faults.
class checkpoint_verifier {
public:
    checkpoint_verifier(checkpoint const& source, model_graph const* graph)
        : source_(source), graph_(graph) {}

    std::vector<std::string> run() {
        check_files();
        try {
            quantized_source const quantized(source_);
            say_line const tell = [this](std::string line) { say(std::move(line)); };
            check_model_config(source_, graph_, tell);
            check_linears(quantized, tell);
            check_coverage(quantized);
            check_finite_tensors(source_, graph_, quantized, tell);
            if (graph_ != nullptr) {
                lines_.insert(lines_.end(), graph_->config().contradictions.begin(),
                              graph_->config().contradictions.end());
                check_graph(quantized);
                check_read(quantized);
                check_plain_tensors(source_, *graph_, quantized, tell);
                check_plain_types(source_, *graph_, quantized, tell);
                check_strays(source_, *graph_, quantized, tell);
            }
            check_config(quantized);
        } catch (error const& why) {
            say(why.what());
        }
        return std::move(lines_);
    }

private:
    void say(std::string line) { lines_.push_back(std::move(line)); }

    void check_files() {
        std::vector<std::string> used;
        for (safetensors_file const& shard : source_.shards()) {
            used.push_back(shard.path().filename().string());
        }
        for (std::filesystem::path const& path : paths_in(source_.directory())) {
            std::string const name = path.filename().string();
            if (name.starts_with("model") && name.ends_with(".safetensors") &&
                std::find(used.begin(), used.end(), name) == used.end()) {
                say("stale shard " + name + ": loaders that take every file mix generations");
            }
            check_side_file(path);
        }
        if (source_.index().is_object()) {
            check_index();
        }
    }

    /// Tokenizers, templates, settings: there as files, and JSON where they say so.
    void check_side_file(std::filesystem::path const& path) {
        std::string const name = path.filename().string();
        if (name.starts_with(".") || is_weight_file(name) ||
            !std::filesystem::is_regular_file(look_at(path))) {
            return;
        }
        try {
            mapped_file const file(path);
            refuse_lfs_pointer(file.bytes(), path);
            if (name.ends_with(".json")) {
                check_json_file(path);
            }
        } catch (error const& why) {
            say(why.what());
        }
    }

    void check_index() {
        nlohmann::json const& index = source_.index();
        nlohmann::json const& total =
            member_or_null(member_or_null(index, "metadata"), "total_size");
        if (total.is_number_unsigned() && total != source_.total_bytes()) {
            say("index: total_size: expected " + std::to_string(source_.total_bytes()) +
                ", found " + total.dump());
        }
        nlohmann::json const& map = index.at("weight_map");
        for (std::string const& name : source_.names()) {
            if (!map.contains(name)) {
                say("tensor '" + printable(name) + "' lies in a shard but not in the index");
            }
        }
    }

    void check_linears(quantized_source const& quantized, say_line const& tell) {
        bool const rotates = quantized.kind() == &fp_quant;
        std::vector<float> const named =
            rotates ? named_transform(source_, quantized.schemes().front().transform_block)
                    : std::vector<float>();
        for (std::string const& module : quantized.modules()) {
            try {
                stored_linear const linear = quantized.linear(module);
                globals_[module] = {linear.weight.global_scale, linear.act_global_scale};
                shapes_[module] = {linear.weight.rows, linear.weight.cols};
                matrices_[module] = matrix_number(linear.forward_matrix);
                check_globals(quantized, module, linear);
                check_range(module, linear.weight, tell);
                if (rotates) {
                    check_matrices(source_, module, linear.transform_block, named, tell);
                }
            } catch (error const& why) {
                say(why.what());
            }
            quantized.release(module);
            stored_scheme const& how = *quantized.scheme_of(module);
            bool const plain_name = how.code_suffix == ".weight";
            tensor_ref const& codes = source_.at(module + std::string(how.code_suffix));
            if (how.pseudo && codes.type != how.code_type) {
                say("tensor '" + codes.name + "': expected " +
                    std::string(dtype_name(how.code_type)) + ", found " +
                    std::string(dtype_name(codes.type)));
            }
            if (!plain_name && source_.contains(module + ".weight")) {
                say("module '" + module + "': quantized and also a plain .weight");
            }
            if (quantized.is_ignored(module)) {
                say("module '" + module + "': quantized but listed as not converted");
            }
        }
    }

    std::size_t matrix_number(std::vector<float> const& matrix) {
        auto const at = std::find(distinct_.begin(), distinct_.end(), matrix);
        std::size_t const number = static_cast<std::size_t>(at - distinct_.begin());
        if (at == distinct_.end()) {
            distinct_.push_back(matrix);
        }
        return number;
    }

    void check_globals(quantized_source const& quantized, std::string const& module,
                       stored_linear const& linear) {
        if (quantized.kind() != &fp_quant) {
            return;
        }
        for (float const g : {linear.weight.global_scale, linear.act_global_scale}) {
            if (round_to_bf16(g) != g) {
                say("warning: module '" + module + "': global scale " + std::to_string(g) +
                    " is no bf16 value; transformers rounds it");
            }
        }
        bool const quest = linear.input && linear.input->rule == scale_rule::quest;
        float const want = quest ? fp_quant_mx_step_global : fp_quant_mx_abs_max_global;
        if (!linear.weight.format.has_global && linear.act_global_scale != want) {
            say("module '" + module + "': act_global_scale: expected " + std::to_string(want) +
                ", found " + std::to_string(linear.act_global_scale));
        }
    }

    void compare(quantized_source const& quantized, std::string const& first,
                 std::string const& other) {
        if (quantized.is_quantized(first) != quantized.is_quantized(other)) {
            say("fused modules '" + first + "' and '" + other + "': only one is quantized");
            return;
        }
        auto const a = globals_.find(first);
        auto const b = globals_.find(other);
        if (a == globals_.end() || b == globals_.end()) {
            return;  // unquantized, or already reported
        }
        if (a->second.first != b->second.first) {
            say("fused modules '" + first + "' and '" + other + "': unequal weight global scales");
        }
        if (a->second.second != b->second.second) {
            say("fused modules '" + first + "' and '" + other +
                "': unequal activation global scales");
        }
        if (matrices_[first] != matrices_[other]) {
            say("fused modules '" + first + "' and '" + other + "': unequal transform matrices");
        }
    }

    /// Every linear is either quantized or listed as not converted; leftovers are named.
    void check_coverage(quantized_source const& quantized) {
        if (quantized.kind() == nullptr) {
            return;
        }
        for (std::string const& module : linear_modules(quantized)) {
            if (!quantized.is_quantized(module) && !quantized.is_ignored(module)) {
                say("module '" + module + "': neither quantized nor listed as not converted");
            }
        }
        for (std::string const& name : source_.names()) {
            if (is_quantized_part(name) && !quantized.is_quantized(module_and_part(name).first)) {
                say("tensor '" + printable(name) + "' belongs to no quantized module");
            }
        }
        std::string const head = graph_ != nullptr ? graph_->head().module : "lm_head";
        if (quantized.is_quantized(head)) {
            say("warning: module '" + head + "': quantized; most clients cannot load that");
        } else if (!quantized.is_ignored(head)) {
            say("module '" + head + "': not listed as not converted");
        }
        if (source_.contains(head + ".weight") &&
            member_or_null(source_.config(), "tie_word_embeddings") == true) {
            say("warning: " + head + ".weight is written although tie_word_embeddings is true");
        }
    }

    /// The linears that the family promises are there with their shapes; clients fuse some of them
    /// and keep one member's scalars without comparing.
    void check_graph(quantized_source const& quantized) {
        for (std::size_t layer = 0; layer < graph_->layers(); ++layer) {
            for (auto const& group : graph_->groups(layer)) {
                for (linear_node const* const node : group) {
                    check_shape(quantized, node->module, {node->out, node->in});
                    if (node != group.front()) {
                        compare(quantized, group.front()->module, node->module);
                    }
                }
            }
        }
    }

    /// Quantized linears that a model of this config.json has no place for: layers too few.
    void check_read(quantized_source const& quantized) {
        std::set<std::string> read{graph_->head().module};
        for (linear_node const& node : graph_->linears()) {
            read.insert(node.module);
        }
        std::size_t unread = 0;
        std::string first;
        for (std::string const& module : quantized.modules()) {
            if (!read.contains(module) && unread++ == 0) {
                first = module;
            }
        }
        if (unread != 0) {
            say("module '" + printable(first) + "'" +
                (unread > 1 ? " (and " + std::to_string(unread - 1) + " more)" : std::string()) +
                ": quantized, but the model of config.json (" + std::to_string(graph_->layers()) +
                " layers) does not read it");
        }
    }

    void check_shape(quantized_source const& quantized, std::string const& module,
                     std::pair<std::uint64_t, std::uint64_t> want) {
        std::vector<std::uint64_t> const expected{want.first, want.second};
        std::vector<std::uint64_t> found;
        if (quantized.is_quantized(module)) {
            auto const at = shapes_.find(module);
            if (at == shapes_.end()) {
                return;  // unreadable, already reported
            }
            found = {at->second.first, at->second.second};
        } else if (source_.contains(module + ".weight")) {
            found = source_.at(module + ".weight").shape;
        } else {
            say("module '" + module + "': expected its tensors, found none");
            return;
        }
        if (found != expected) {
            say("module '" + module + "': expected " + fpq::shape_text(expected) + ", found " +
                fpq::shape_text(found));
        }
    }

    /// Entries of a list of what is not converted that clients find in the name of a quantized
    /// linear: those of modelopt anywhere, those of fp_quant at its beginning, too.
    void check_entries(quantized_source const& quantized) {
        bool const anywhere = quantized.kind() == &modelopt;
        if (!anywhere && quantized.kind() != &fp_quant) {
            return;
        }
        char const* const key = anywhere ? "ignore" : "modules_to_not_convert";
        nlohmann::json const& q = member_or_null(source_.config(), "quantization_config");
        for (std::string const& entry : json_strings(source_, member_or_null(q, key), key)) {
            for (std::string const& module : quantized.modules()) {
                bool const part =
                    anywhere ? module.find(entry) != std::string::npos : module.starts_with(entry);
                if (part && !quantized.is_ignored(module)) {
                    say("quantization_config: " + std::string(key) + ": '" + printable(entry) +
                        "' is a part of the name of the quantized module '" + printable(module) +
                        "'");
                    break;
                }
            }
        }
    }

    /// Keys that a client reads without a default, and files that would overrule config.json.
    void check_config(quantized_source const& quantized) {
        check_entries(quantized);
        if (quantized.kind() != nullptr) {
            quantized.kind()->verify(source_, lines_);
        }
        if (quantized.kind() != &modelopt &&
            is_there(source_.directory() / "hf_quant_config.json")) {
            say("hf_quant_config.json stands beside another dialect; clients may prefer it");
        }
    }

    /// Modules with a two-dimensional plain weight (embeddings left out) or quantized.
    std::vector<std::string> linear_modules(quantized_source const& quantized) const {
        std::vector<std::string> out = quantized.modules();
        for (std::string const& name : source_.names()) {
            if (name.ends_with(".weight") && source_.at(name).shape.size() == 2 &&
                name != embedding_tensor()) {
                std::string module = name.substr(0, name.size() - 7);
                if (!quantized.is_quantized(module)) {
                    out.push_back(std::move(module));
                }
            }
        }
        return out;
    }

    std::string embedding_tensor() const {
        return (graph_ != nullptr ? graph_->embedding() : "model.embed_tokens") + ".weight";
    }

    checkpoint const& source_;
    model_graph const* graph_;
    std::vector<std::string> lines_;
    std::map<std::string, std::pair<float, float>> globals_;
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> shapes_;
    std::map<std::string, std::size_t> matrices_;  // into distinct_
    std::vector<std::vector<float>> distinct_;     // as a rule all modules have the same
};

}  // namespace detail

/// One line a fault, empty when there is none; lines that begin with "warning: " change nothing
/// that loads exactly. `graph` is the model that config.json describes; null when its family is not
/// known, then no shapes are promised. An unquantized checkpoint is checked for stale and missing
/// tensors.
inline std::vector<std::string> verify_checkpoint(checkpoint const& source,
                                                  model_graph const* graph) {
    return detail::checkpoint_verifier(source, graph).run();
}

}  // namespace fpq
