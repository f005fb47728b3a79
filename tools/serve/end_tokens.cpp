// SPDX-License-Identifier: Apache-2.0
#include "serve/end_tokens.hpp"

#include <algorithm>
#include <optional>

#include "fpq/io/file/look.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"

namespace fpq::tools {

namespace {

/// Nothing when the file or the member is not there.
std::optional<std::vector<std::int32_t>> ends_in(std::filesystem::path const& file) {
    if (!is_there(file)) {
        return std::nullopt;
    }
    nlohmann::json const json = read_json_file(file);
    auto const ends = json_value(json, file.string()).find("eos_token_id");
    if (!ends) {
        return std::nullopt;
    }
    return ends->json().is_array() ? ends->as<std::vector<std::int32_t>>()
                                   : std::vector<std::int32_t>{ends->as<std::int32_t>()};
}

}  // namespace

std::vector<std::int32_t> end_tokens(std::filesystem::path const& checkpoint,
                                     tokenizer const& words) {
    auto found = ends_in(checkpoint / "generation_config.json");
    if (!found) {
        found = ends_in(checkpoint / "config.json");
    }
    std::vector<std::int32_t> out = found.value_or(std::vector<std::int32_t>{});
    if (words.eos() && std::find(out.begin(), out.end(), *words.eos()) == out.end()) {
        out.push_back(*words.eos());
    }
    return out;
}

}  // namespace fpq::tools
