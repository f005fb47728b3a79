// SPDX-License-Identifier: Apache-2.0
// Floor 6. The keys of config.json that our forward pass has no use for or reads with a default,
// and that clients trip over.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/verify_tensors.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq::detail {

/// "config.json: KEY: expected EXPECTED, found VALUE".
inline std::string config_line(std::string const& key, std::string const& expected,
                               nlohmann::json const& found) {
    return "config.json: " + key + ": expected " + expected + ", found " +
           printable(found.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

/// Whether Transformers has such a class for models of that type.
inline bool is_class_of(std::string_view name, std::string_view model_type) {
    constexpr std::array<std::string_view, 7> heads{"ForCausalLM",
                                                    "Model",
                                                    "ForSequenceClassification",
                                                    "ForTokenClassification",
                                                    "ForQuestionAnswering",
                                                    "ForRewardModel",
                                                    "ForProcessRewardModel"};
    auto const same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
    return name.size() > model_type.size() &&
           std::equal(model_type.begin(), model_type.end(), name.begin(), same) &&
           std::find(heads.begin(), heads.end(), name.substr(model_type.size())) != heads.end();
}

/// What picks the class of a model: clients of some kinds fall back on model_type.
inline void check_architectures(nlohmann::json const& config, say_line const& say) {
    nlohmann::json const& names = member_or_null(config, "architectures");
    std::string const type = member_or_null(config, "model_type").get<std::string>();
    bool const fine = names.is_array() && !names.empty() && names.front().is_string() &&
                      is_class_of(names.front().get_ref<std::string const&>(), type);
    if (!fine) {
        say("warning: " +
            config_line("architectures", "a list with a class of " + printable(type), names));
    }
}

/// Both spellings of the rotary embedding and of the type of values: names that no client knows.
inline void check_words(nlohmann::json const& config, say_line const& say) {
    constexpr std::array<std::string_view, 9> ropes{"default", "linear", "dynamic",
                                                    "yarn",    "llama3", "longrope",
                                                    "su",      "mrope",  "proportional"};
    constexpr std::array<std::string_view, 8> types{"bfloat16", "float16", "float32", "float64",
                                                    "half",     "float",   "double",  "auto"};
    auto const check = [&](auto const& known, nlohmann::json const& object, char const* key,
                           std::string const& place) {
        nlohmann::json const& value = member_or_null(object, key);
        std::string const text = value.is_string() ? value.get<std::string>() : std::string();
        std::string_view word = text;
        word.remove_prefix(word.starts_with("torch.") ? 6 : 0);
        if (!value.is_null() && std::find(known.begin(), known.end(), word) == known.end()) {
            std::string list;
            for (std::string_view const each : known) {
                list += (list.empty() ? "" : ", ") + std::string(each);
            }
            say(config_line(place + key, "one of " + list, value));
        }
    };
    for (char const* const part : {"rope_scaling", "rope_parameters"}) {
        for (char const* const key : {"rope_type", "type"}) {
            check(ropes, member_or_null(config, part), key, std::string(part) + ".");
        }
    }
    check(types, config, "dtype", {});
    check(types, config, "torch_dtype", {});
    if (config.contains("hidden_act") && config.at("hidden_act").is_null()) {
        say(config_line("hidden_act", "silu", nullptr));
    }
}

/// Ids of special tokens are rows of the embedding, one or a list.
inline void check_token_ids(nlohmann::json const& config, std::uint64_t vocabulary,
                            say_line const& say) {
    auto const is_id = [&](nlohmann::json const& id) {
        return id.is_number_unsigned() && id.get<std::uint64_t>() < vocabulary;
    };
    for (char const* const key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
        nlohmann::json const& value = member_or_null(config, key);
        bool const fine = value.is_array() ? std::all_of(value.begin(), value.end(), is_id)
                                           : value.is_null() || is_id(value);
        if (!fine) {
            say("warning: " +
                config_line(key, "integers below " + std::to_string(vocabulary), value));
        }
    }
}

/// What of a config.json clients refuse, or take for something else. Without a graph only
/// model_type is checked: of other families nothing is known.
inline void check_model_config(checkpoint const& source, model_graph const* graph,
                               say_line const& say) {
    nlohmann::json const& config = source.config();
    if (nlohmann::json const& type = member_or_null(config, "model_type"); !type.is_string()) {
        say(config_line("model_type", "the name of a family", type));
        return;
    }
    if (graph != nullptr) {
        check_architectures(config, say);
        check_words(config, say);
        check_token_ids(config, graph->config().vocab_size, say);
    }
}

}  // namespace fpq::detail
