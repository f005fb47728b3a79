// SPDX-License-Identifier: Apache-2.0
// Floor 5. The values of a chat template: Python's, as far as templates see them. Immutable but for
// namespaces; copying is cheap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fpq::chat {

class value;
struct statement;
class scope;

using value_list = std::vector<value>;
using value_members = std::vector<std::pair<std::string, value>>;  // in the order of insertion

struct undefined {
    std::string name;  // of what is not there
};
/// What a generator gives: true whatever it holds, no length, read once.
struct generator {
    value_list items;
    bool used = false;
};
struct name_space {
    value_members members;
};
struct loop_state {
    value_list items;
    std::size_t index = 0;  // from 0
    std::size_t depth = 1;
};
/// A macro, or a global function when `body` is null.
struct callable {
    std::string name;
    statement const* body = nullptr;
    scope* home = nullptr;
};

class value {
public:
    using text = std::shared_ptr<std::string const>;
    using list = std::shared_ptr<value_list const>;
    using dict = std::shared_ptr<value_members const>;
    using none = std::nullptr_t;
    struct tuple {
        list items;
    };
    using data = std::variant<undefined, none, bool, std::int64_t, double, text, list, tuple, dict,
                              std::shared_ptr<generator>, std::shared_ptr<name_space>,
                              std::shared_ptr<loop_state>, callable>;

    value() = default;
    explicit value(data d) : data_(std::move(d)) {}
    static value of(std::string_view s) { return value(std::make_shared<std::string const>(s)); }
    static value of(std::string&& s) {
        return value(std::make_shared<std::string const>(std::move(s)));
    }
    static value of(value_list items) {
        return value(std::make_shared<value_list const>(std::move(items)));
    }
    static value of(value_members members) {
        return value(std::make_shared<value_members const>(std::move(members)));
    }
    static value tuple_of(value_list items) {
        return value(data(tuple{std::make_shared<value_list const>(std::move(items))}));
    }
    static value lazy(value_list items) {
        return value(std::make_shared<generator>(generator{std::move(items), false}));
    }
    static value boolean(bool b) { return value(data(b)); }
    static value integer(std::int64_t i) { return value(data(i)); }
    static value null() { return value(data(nullptr)); }
    static value missing(std::string name) { return value(data(undefined{std::move(name)})); }

    template <class T>
    [[nodiscard]] T const* get() const noexcept {
        return std::get_if<T>(&data_);
    }
    template <class T>
    [[nodiscard]] bool is() const noexcept {
        return std::holds_alternative<T>(data_);
    }
    [[nodiscard]] std::string const* string() const noexcept {
        auto const* const s = get<text>();
        return s == nullptr ? nullptr : s->get();
    }
    /// Of a list or a tuple.
    [[nodiscard]] value_list const* items() const noexcept {
        auto const* const l = get<list>();
        auto const* const t = get<tuple>();
        return l != nullptr ? l->get() : t != nullptr ? t->items.get() : nullptr;
    }
    [[nodiscard]] value_members const* members() const noexcept {
        auto const* const d = get<dict>();
        return d == nullptr ? nullptr : d->get();
    }
    [[nodiscard]] bool is_number() const noexcept {
        return is<bool>() || is<std::int64_t>() || is<double>();
    }

private:
    data data_;
};

/// The member, or null.
inline value const* member(value_members const& members, std::string_view key) {
    for (auto const& [name, v] : members) {
        if (name == key) {
            return &v;
        }
    }
    return nullptr;
}

/// Python's name of the type.
inline std::string_view type_name(value const& v) {
    return v.is<undefined>()      ? "undefined"
           : v.is<value::none>()  ? "NoneType"
           : v.is<bool>()         ? "bool"
           : v.is<std::int64_t>() ? "int"
           : v.is<double>()       ? "float"
           : v.string()           ? "str"
           : v.is<value::tuple>() ? "tuple"
           : v.items()            ? "list"
           : v.members()          ? "dict"
           : v.is<callable>()     ? "function"
                                  : "object";
}

/// bool(v).
inline bool truth(value const& v) {
    if (auto const* b = v.get<bool>()) {
        return *b;
    }
    if (auto const* i = v.get<std::int64_t>()) {
        return *i != 0;
    }
    if (auto const* d = v.get<double>()) {
        return *d != 0;
    }
    if (auto const* s = v.string()) {
        return !s->empty();
    }
    if (auto const* l = v.items()) {
        return !l->empty();
    }
    if (auto const* m = v.members()) {
        return !m->empty();
    }
    return !v.is<undefined>() && !v.is<value::none>();
}

/// As a double; v.is_number().
inline double real_of(value const& v) {
    if (auto const* d = v.get<double>()) {
        return *d;
    }
    if (auto const* b = v.get<bool>()) {
        return *b ? 1 : 0;
    }
    return static_cast<double>(*v.get<std::int64_t>());
}

/// a == b.
inline bool equal(value const& a, value const& b) {
    if (a.is_number() && b.is_number()) {
        auto const* const x = a.get<std::int64_t>();
        auto const* const y = b.get<std::int64_t>();
        return x != nullptr && y != nullptr ? *x == *y : real_of(a) == real_of(b);
    }
    if (a.string() != nullptr && b.string() != nullptr) {
        return *a.string() == *b.string();
    }
    if (auto const* x = a.items(), *y = b.items(); x != nullptr && y != nullptr) {
        bool same = x->size() == y->size() && a.is<value::tuple>() == b.is<value::tuple>();
        for (std::size_t i = 0; same && i < x->size(); ++i) {
            same = equal((*x)[i], (*y)[i]);
        }
        return same;
    }
    if (auto const* x = a.members(), *y = b.members(); x != nullptr && y != nullptr) {
        bool same = x->size() == y->size();
        for (std::size_t i = 0; same && i < x->size(); ++i) {
            value const* const other = member(*y, (*x)[i].first);
            same = other != nullptr && equal((*x)[i].second, *other);
        }
        return same;
    }
    return (a.is<undefined>() && b.is<undefined>()) || (a.is<value::none>() && b.is<value::none>());
}

/// JSON as a value; the order of members stays. An integer beyond 64 bits is a float.
inline value value_of(nlohmann::ordered_json const& json) {
    using kind = nlohmann::ordered_json::value_t;
    switch (json.type()) {
        case kind::boolean:
            return value::boolean(json.get<bool>());
        case kind::number_integer:
            return value::integer(json.get<std::int64_t>());
        case kind::number_unsigned:
            return json.get<std::uint64_t>() <= INT64_MAX ? value::integer(json.get<std::int64_t>())
                                                          : value(value::data(json.get<double>()));
        case kind::number_float:
            return value(value::data(json.get<double>()));
        case kind::string:
            return value::of(json.get<std::string>());
        case kind::array: {
            value_list out;
            for (auto const& item : json) {
                out.push_back(value_of(item));
            }
            return value::of(std::move(out));
        }
        case kind::object: {
            value_members out;
            for (auto const& [key, item] : json.items()) {
                out.emplace_back(key, value_of(item));
            }
            return value::of(std::move(out));
        }
        default:
            return value::null();
    }
}

}  // namespace fpq::chat
