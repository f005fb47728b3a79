// SPDX-License-Identifier: Apache-2.0
// Floor 5. The local cache of the Hugging Face hub: what was downloaded there is found by its id.
// Nothing is fetched. Source: huggingface_hub, "Understand caching" (REPO/refs/main names the
// directory in REPO/snapshots).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub (XDG_CACHE_HOME); empty when none
/// of them is set.
inline std::filesystem::path hub_cache_directory() {
    auto const of = [](char const* variable) -> std::filesystem::path {
        char const* const text = std::getenv(variable);
        return text == nullptr ? "" : text;
    };
    if (auto cache = of("HF_HUB_CACHE"); !cache.empty()) {
        return cache;
    }
    if (auto const home = of("HF_HOME"); !home.empty()) {
        return home / "hub";
    }
    if (auto const cache = of("XDG_CACHE_HOME"); !cache.empty()) {
        return cache / "huggingface" / "hub";
    }
    auto const home = of("HOME");
    return home.empty() ? home : home / ".cache" / "huggingface" / "hub";
}

/// "owner/name" (or an old "name") of letters, digits, '-', '_' and '.'.
inline bool is_hub_id(std::string_view text) {
    auto const good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    std::size_t const slash = text.find('/');
    std::string_view const owner = text.substr(0, slash);
    std::string_view const name = slash == std::string_view::npos ? owner : text.substr(slash + 1);
    return !owner.empty() && !name.empty() && owner[0] != '.' && name[0] != '.' &&
           std::all_of(owner.begin(), owner.end(), good) &&
           std::all_of(name.begin(), name.end(), good);
}

/// The files of a repository in the cache; `kind` is "models" or "datasets". Without refs/main, the
/// one snapshot that is there.
inline std::optional<std::filesystem::path> hub_snapshot(std::string const& kind,
                                                         std::string const& id) {
    namespace fs = std::filesystem;
    fs::path const cache = hub_cache_directory();
    if (cache.empty() || !is_hub_id(id)) {
        return std::nullopt;
    }
    std::string name = kind + "--" + id;
    if (std::size_t const slash = name.find('/'); slash != std::string::npos) {
        name.replace(slash, 1, "--");
    }
    std::error_code none;
    fs::path const snapshots = cache / name / "snapshots";
    std::ifstream reference(cache / name / "refs" / "main");
    if (std::string revision; reference >> revision && is_hub_id(revision)) {
        return fs::is_directory(snapshots / revision, none)
                   ? std::optional<fs::path>(snapshots / revision)
                   : std::nullopt;
    }
    std::optional<fs::path> found;
    for (fs::directory_iterator at(snapshots, none), end; !none && at != end; at.increment(none)) {
        if (found) {
            return std::nullopt;
        }
        found = at->path();
    }
    return found;
}

/// The directory of a checkpoint that is given as a directory or by its id on the hub. Errors:
/// fpq::error (input) with the command that downloads it for an id that is not in the cache.
inline std::filesystem::path model_directory(std::filesystem::path const& given) {
    std::string const id = given.string();
    std::error_code none;
    if (std::filesystem::exists(given, none) || !is_hub_id(id) ||
        id.find('/') == std::string::npos) {
        return given;
    }
    if (auto const found = hub_snapshot("models", id)) {
        return *found;
    }
    fail_input(
        "no checkpoint", id,
        "a local directory, or a model in the hub's cache (hf download " + id + " puts it there)",
        "none");
}

}  // namespace fpq
