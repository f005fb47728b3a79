// SPDX-License-Identifier: Apache-2.0
// Floor 5. Typed access to the JSON of tokenizer files: every wrong type or missing key is one line
// that names the file, the key, what was expected and what was found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq::detail {

/// Parses a whole file. Errors: fpq::error (input) with the parser's byte offset.
inline nlohmann::json read_json_file(std::filesystem::path const& path) {
    std::string const text = read_whole_file(path);
    try {
        return nlohmann::json::parse(text);
    } catch (nlohmann::json::parse_error const& e) {
        fail_input("not JSON", path.string() + " byte " + std::to_string(e.byte), "a JSON object",
                   e.what());
    }
}

/// A JSON value and the name that errors give it.
class json_at {
public:
    json_at(nlohmann::json const& value, std::string name)
        : value_(&value), name_(std::move(name)) {}

    nlohmann::json const& value() const noexcept { return *value_; }
    std::string const& name() const noexcept { return name_; }
    bool is_null() const noexcept { return value_->is_null(); }

    /// The member, or nothing when absent or null. Errors: when this is no object.
    std::optional<json_at> find(std::string const& key) const {
        if (!value_->is_object()) {
            wrong("an object");
        }
        auto const at = value_->find(key);
        if (at == value_->end() || at->is_null()) {
            return std::nullopt;
        }
        return json_at(*at, name_ + " " + key);
    }
    json_at at(std::string const& key) const {
        if (auto const member = find(key)) {
            return *member;
        }
        fail_input("missing key", name_, key, "none");
    }
    json_at element(std::size_t i) const {
        return json_at((*value_)[i], name_ + "[" + std::to_string(i) + "]");
    }
    std::size_t array_size() const {
        if (!value_->is_array()) {
            wrong("an array");
        }
        return value_->size();
    }
    std::string const& string() const {
        if (!value_->is_string()) {
            wrong("a string");
        }
        return value_->get_ref<std::string const&>();
    }
    bool boolean() const {
        if (!value_->is_boolean()) {
            wrong("true or false");
        }
        return value_->get<bool>();
    }
    /// A token id: an integer in [0, max_token_id).
    std::int32_t id() const {
        if (!value_->is_number_integer()) {
            wrong("a token id");
        }
        auto const x = value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX
                           ? std::int64_t{-1}
                           : value_->get<std::int64_t>();
        if (x < 0 || x >= max_token_id) {
            fail_input("token id out of range", name_, "0 to " + std::to_string(max_token_id - 1),
                       value_->dump());
        }
        return static_cast<std::int32_t>(x);
    }
    /// A flag with a default for an absent key.
    bool flag(std::string const& key, bool otherwise) const {
        auto const member = find(key);
        return member ? member->boolean() : otherwise;
    }
    /// The "type" of a tokenizer component.
    std::string const& type() const { return at("type").string(); }

    [[noreturn]] void wrong(std::string_view expected) const {
        std::string found = value_->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
        if (found.size() > 60) {
            found = found.substr(0, 57) + "...";
        }
        fail_input("wrong value", name_, expected, found);
    }

private:
    nlohmann::json const* value_;
    std::string name_;
};

/// Refuses a component that this library does not have, by its name.
[[noreturn]] inline void refuse_component(std::string_view kind, json_at const& at,
                                          std::string_view supported, std::string_view found) {
    fail_input("unsupported " + std::string(kind), at.name(), supported, found);
}

}  // namespace fpq::detail
