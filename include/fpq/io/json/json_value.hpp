// SPDX-License-Identifier: Apache-2.0
// Floor 5. Typed access to JSON that people and other programs wrote: every missing key, wrong type
// and value out of range is one line that names the file, the path of keys, what was expected and
// what was found. Reading the text is json_file.hpp.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// Both ends belong to it.
template <class T>
struct json_range {
    T min;
    T max;
};

namespace detail {

template <class T>
concept json_number = std::integral<T> || std::floating_point<T>;

template <class T>
inline constexpr bool is_json_list = false;
template <class T>
inline constexpr bool is_json_list<std::vector<T>> = true;

template <class T>
json_range<T> any_number() {
    return {std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()};
}

/// "an integer from 1 to 8"; ends that any T keeps are left out.
template <class T>
std::string expected_number(json_range<T> range) {
    std::string out = std::integral<T> ? "an integer" : "a number";
    if (range.min != std::numeric_limits<T>::lowest() || std::unsigned_integral<T>) {
        out += " from " + nlohmann::json(range.min).dump();
    }
    if (range.max != std::numeric_limits<T>::max()) {
        out += " to " + nlohmann::json(range.max).dump();
    }
    return out;
}

/// ASCII, at most some 60 characters; invalid UTF-8 is replaced.
inline std::string printed_json(nlohmann::json const& value) {
    constexpr std::size_t longest = 60;
    std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return text.size() > longest ? text.substr(0, longest) + "..." : text;
}

}  // namespace detail

/// A JSON value, which must outlive it, and its place. null counts as absent in find and optional.
/// T is bool, a string, an integer, a floating-point number (finite), json_value itself (anything)
/// or a vector of these. Numbers are never converted from text, nor integers from 1.0.
/// Errors of all members: fpq::error (input), "what: file: path: expected E, found F".
class json_value {
public:
    /// `what` begins every error line and must outlive this and its members: a literal, as a rule.
    json_value(nlohmann::json const& value, std::string file, std::string_view what = "wrong value")
        : value_(&value), where_(std::move(file)), what_(what) {}

    [[nodiscard]] nlohmann::json const& json() const noexcept { return *value_; }
    /// "file" or "file: path.of[2].keys".
    [[nodiscard]] std::string const& where() const noexcept { return where_; }

    /// The member, or nothing when absent or null. Errors: when this is no object.
    [[nodiscard]] std::optional<json_value> find(std::string_view key) const {
        if (!value_->is_object()) {
            refuse("an object");
        }
        auto const at = value_->find(std::string(key));
        if (at == value_->end() || at->is_null()) {
            return std::nullopt;
        }
        return member(*at, key);
    }
    [[nodiscard]] bool has(std::string_view key) const { return find(key).has_value(); }
    /// The member, which must be there; null is refused as absent.
    [[nodiscard]] json_value at(std::string_view key) const {
        if (auto found = find(key)) {
            return *std::move(found);
        }
        fail_input(what_, path_of(key), "a value", "nothing");
    }
    /// The items of a list, in order.
    [[nodiscard]] std::vector<json_value> elements() const {
        if (!value_->is_array()) {
            refuse("a list");
        }
        std::vector<json_value> out;
        out.reserve(value_->size());
        for (std::size_t i = 0; i < value_->size(); ++i) {
            out.push_back(element(i));
        }
        return out;
    }
    /// The members of an object with their keys, in the order of the keys; null ones as well.
    [[nodiscard]] std::vector<std::pair<std::string, json_value>> members() const {
        if (!value_->is_object()) {
            refuse("an object");
        }
        std::vector<std::pair<std::string, json_value>> out;
        out.reserve(value_->size());
        for (auto const& [key, value] : value_->items()) {
            out.emplace_back(key, member(value, key));
        }
        return out;
    }

    template <class T>
    [[nodiscard]] T as() const {
        if constexpr (std::is_same_v<T, bool>) {
            return value_->is_boolean() ? value_->get<bool>() : refuse<bool>("true or false");
        } else if constexpr (detail::json_number<T>) {
            return as<T>(detail::any_number<T>());
        } else if constexpr (std::is_same_v<T, json_value>) {
            return *this;
        } else if constexpr (detail::is_json_list<T>) {
            T out;
            for (json_value const& item : elements()) {
                out.push_back(item.as<typename T::value_type>());
            }
            return out;
        } else {
            static_assert(std::is_same_v<T, std::string>, "no kind of JSON value");
            return value_->is_string() ? value_->get<std::string>() : refuse<T>("a string");
        }
    }
    template <detail::json_number T>
    [[nodiscard]] T as(json_range<std::type_identity_t<T>> range) const {
        if constexpr (std::integral<T>) {
            auto const fits = [range](auto x) {
                return std::in_range<T>(x) && static_cast<T>(x) >= range.min &&
                       static_cast<T>(x) <= range.max;
            };
            if (value_->is_number_unsigned()) {
                if (auto const x = value_->get<std::uint64_t>(); fits(x)) {
                    return static_cast<T>(x);
                }
            } else if (value_->is_number_integer()) {
                if (auto const x = value_->get<std::int64_t>(); fits(x)) {
                    return static_cast<T>(x);
                }
            }
        } else if (value_->is_number()) {
            double const x = value_->get<double>();
            if (std::isfinite(x) && x >= range.min && x <= range.max) {
                return static_cast<T>(x);
            }
        }
        return refuse_number(range);
    }

    /// The member as T; it must be there.
    template <class T>
    [[nodiscard]] T required(std::string_view key) const {
        return at_or_expected(key, [] { return expected_of<T>(); }).template as<T>();
    }
    template <detail::json_number T>
    [[nodiscard]] T required(std::string_view key,
                             json_range<std::type_identity_t<T>> range) const {
        return at_or_expected(key, [range] { return detail::expected_number<T>(range); })
            .template as<T>(range);
    }
    /// The member as T, or nothing when it is absent or null.
    template <class T>
    [[nodiscard]] std::optional<T> optional(std::string_view key) const {
        auto const found = find(key);
        return found ? std::optional<T>(found->template as<T>()) : std::nullopt;
    }
    template <detail::json_number T>
    [[nodiscard]] std::optional<T> optional(std::string_view key,
                                            json_range<std::type_identity_t<T>> range) const {
        auto const found = find(key);
        return found ? std::optional<T>(found->template as<T>(range)) : std::nullopt;
    }

    /// Refuses this value.
    [[noreturn]] void refuse(std::string_view expected) const { refuse(what_, expected); }
    [[noreturn]] void refuse(std::string_view what, std::string_view expected) const {
        fail_input(what, where_, expected, detail::printed_json(*value_));
    }
    /// Refuses the member `key`, present or not.
    [[noreturn]] void refuse_member(std::string_view key, std::string_view what,
                                    std::string_view expected) const {
        auto const found = find(key);
        refuse_member(key, what, expected, found ? detail::printed_json(found->json()) : "nothing");
    }
    [[noreturn]] void refuse_member(std::string_view key, std::string_view what,
                                    std::string_view expected, std::string_view found) const {
        fail_input(what, path_of(key), expected, found);
    }

private:
    /// In an expression: it never returns.
    template <class T>
    [[noreturn]] T refuse(std::string_view expected) const {
        refuse(what_, expected);
    }
    template <class T>
    [[noreturn]] T refuse_number(json_range<T> range) const {
        refuse(what_, detail::expected_number<T>(range));
    }

    template <class T>
    static std::string expected_of() {
        if constexpr (std::is_same_v<T, bool>) {
            return "true or false";
        } else if constexpr (detail::json_number<T>) {
            return detail::expected_number(detail::any_number<T>());
        } else if constexpr (std::is_same_v<T, std::string>) {
            return "a string";
        } else {
            return std::is_same_v<T, json_value> ? "a value" : "a list";
        }
    }
    template <class Expected>
    [[nodiscard]] json_value at_or_expected(std::string_view key, Expected&& expected) const {
        if (auto found = find(key)) {
            return *std::move(found);
        }
        fail_input(what_, path_of(key), expected(), "nothing");
    }

    [[nodiscard]] std::string path_of(std::string_view key) const {
        std::string out = where_;
        out.append(inside_ ? "." : ": ").append(key);
        return out;
    }
    [[nodiscard]] json_value member(nlohmann::json const& value, std::string_view key) const {
        json_value out(value, path_of(key), what_);
        out.inside_ = true;
        return out;
    }
    [[nodiscard]] json_value element(std::size_t i) const {
        std::string place = where_;
        place.append(inside_ ? "[" : ": [").append(std::to_string(i)).append("]");
        json_value out((*value_)[i], std::move(place), what_);
        out.inside_ = true;
        return out;
    }

    nlohmann::json const* value_;
    std::string where_;
    std::string_view what_;
    bool inside_ = false;  // where_ has keys after the file
};

}  // namespace fpq
