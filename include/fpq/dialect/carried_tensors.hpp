// SPDX-License-Identifier: Apache-2.0
// Floor 6. What the recipe in an export of ours says that it carried along.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_file.hpp"

namespace fpq {

/// Tensors that an export has although no part of the model reads them: they were in its source.
/// Empty when no recipe of ours lies in `directory`, as one does in every export.
inline std::optional<std::set<std::string>> carried_tensors(
    std::filesystem::path const& directory) {
    std::set<std::string> out;
    try {
        nlohmann::json const recipe = read_json_file(directory / "recipe.json");
        if (!recipe.contains("methods") || !recipe.contains("rules")) {
            return std::nullopt;
        }
        if (recipe.contains("carried")) {
            for (nlohmann::json const& name : recipe.at("carried")) {
                out.insert(name.get<std::string>());
            }
        }
    } catch (error const&) {
        return std::nullopt;
    } catch (nlohmann::json::exception const&) {
        return std::nullopt;
    }
    return out;
}

}  // namespace fpq
