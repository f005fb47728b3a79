// SPDX-License-Identifier: Apache-2.0
// Floor 8. One object of a recipe file while it is read: what is not understood is refused by its
// place, numbers by bounds.hpp, words by words.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::detail {

/// One object of a recipe file while it is read; refuses what was not asked for.
class recipe_object {
public:
    recipe_object(nlohmann::json const& object, std::string place)
        : object_(object), place_(std::move(place)) {
        if (!object.is_object()) {
            refuse("", "an object");
        }
    }

    void only(std::initializer_list<std::string_view> keys) const {
        for (auto const& [name, value] : object_.items()) {
            bool known = false;
            std::string list;
            for (std::string_view const key : keys) {
                known = known || key == name;
                list += (list.empty() ? "" : ", ") + std::string(key);
            }
            if (!known) {
                fail_usage("unknown key in a recipe", place_ + "." + name, list, name);
            }
        }
    }

    [[nodiscard]] nlohmann::json const* find(std::string_view key) const {
        auto const at = object_.find(std::string(key));
        return at == object_.end() || at->is_null() ? nullptr : &*at;
    }

    [[noreturn]] void refuse(std::string_view key, std::string_view expected) const {
        nlohmann::json const* const value = key.empty() ? &object_ : find(key);
        fail_usage("bad value in a recipe", key.empty() ? place_ : at(key), expected,
                   value == nullptr
                       ? "nothing"
                       : value->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    }

    [[nodiscard]] std::string at(std::string_view key) const {
        return place_ + "." + std::string(key);
    }

    void read(std::string_view key, std::string& out) const {
        if (nlohmann::json const* const v = find(key)) {
            v->is_string() ? void(out = v->get<std::string>()) : refuse(key, "a string");
        }
    }
    void read(std::string_view key, std::filesystem::path& out) const {
        std::string text = out.string();
        read_bytes(key, text);
        out = text;
    }
    /// What may be no UTF-8: a path, or a name that is one.
    void read_bytes(std::string_view key, std::string& out) const {
        if (find(key) != nullptr) {
            read(key, out);
            out = utf8_unescaped(out);
        }
    }
    void read(std::string_view key, bool& out) const {
        if (nlohmann::json const* const v = find(key)) {
            v->is_boolean() ? void(out = v->get<bool>()) : refuse(key, "true or false");
        }
    }
    /// A count within its bounds.
    template <class Int>
    void read_count(std::string_view key, count_bounds const& within, Int& out) const {
        if (nlohmann::json const* const v = find(key)) {
            bool const natural =
                v->is_number_unsigned() || (v->is_number_integer() && v->get<std::int64_t>() >= 0);
            if (!natural || !within.holds(v->get<std::uint64_t>())) {
                refuse(key, described(within));
            }
            out = static_cast<Int>(v->get<std::uint64_t>());
        }
    }
    void read_real(std::string_view key, real_bounds const& within, double& out) const {
        if (nlohmann::json const* const v = find(key)) {
            if (!v->is_number() || !within.holds(v->get<double>())) {
                refuse(key, described(within));
            }
            out = v->get<double>();
        }
    }
    void read_strings(std::string_view key, std::vector<std::string>& out) const {
        nlohmann::json const* const v = find(key);
        if (v == nullptr) {
            return;
        }
        if (!v->is_array()) {
            refuse(key, "a list of strings");
        }
        out.clear();
        for (nlohmann::json const& item : *v) {
            if (!item.is_string()) {
                refuse(key, "a list of strings");
            }
            out.push_back(item.get<std::string>());
        }
    }
    template <class T, std::size_t N>
    void read_word(std::string_view key, word_list<T, N> const& words,
                   std::span<synonym const> synonyms, T& out) const {
        if (nlohmann::json const* const v = find(key)) {
            if (!v->is_string()) {
                refuse(key, listed(words_of(words)));
            }
            out = detail::read_word(at(key), words, synonyms, v->get_ref<std::string const&>());
        }
    }

    /// A word of a list that has no values.
    void read_name(std::string_view key, std::span<std::string_view const> words,
                   std::span<synonym const> synonyms, std::string& out) const {
        if (nlohmann::json const* const v = find(key)) {
            if (!v->is_string()) {
                refuse(key, listed(words));
            }
            out = words[detail::read_word(at(key), words, synonyms,
                                          v->get_ref<std::string const&>())];
        }
    }

private:
    nlohmann::json const& object_;
    std::string place_;
};

}  // namespace fpq::detail
