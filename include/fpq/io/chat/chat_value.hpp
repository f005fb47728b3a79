// SPDX-License-Identifier: Apache-2.0
// Floor 5. The values of a chat template: Python's, as far as templates see them. Immutable but for
// namespaces; copying is cheap.
#pragma once

#include <algorithm>
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
/// A macro, or a global function when `body` is null. Macros stand at the top of a template: their
/// scope outlives all that can hold them.
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
    static value of(std::string_view s) { return of(std::string(s)); }
    static value of(std::string&& s) {
        value out(std::make_shared<std::string const>(std::move(s)));
        out.add_size(out.string()->size());
        return out;
    }
    static value of(value_list items) {
        value out(std::make_shared<value_list const>(std::move(items)));
        out.add(*out.items());
        return out;
    }
    static value of(value_members members) {
        value out(std::make_shared<value_members const>(std::move(members)));
        for (auto const& [key, v] : *out.members()) {
            out.add_size(key.size());
            out.add(v);
        }
        return out;
    }
    static value tuple_of(value_list items) {
        value out(data(tuple{std::make_shared<value_list const>(std::move(items))}));
        out.add(*out.items());
        return out;
    }
    static value lazy(value_list items) {
        auto const made = std::make_shared<generator>(generator{std::move(items), false});
        value out(made);
        out.add(made->items);
        return out;
    }
    static value of(std::shared_ptr<loop_state> const& loop) {
        value out(loop);
        out.add(loop->items);
        return out;
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

    /// Values and bytes of text within, each as often as it appears: what a walk through all of it
    /// costs. It can be far more than the memory: a list may hold another many times.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Levels of lists and dicts below this one.
    [[nodiscard]] std::size_t depth() const noexcept { return depth_; }

private:
    void add_size(std::size_t n) noexcept { size_ = std::min(size_ + n, size_limit); }
    void add(value const& item) noexcept {
        add_size(item.size_);
        depth_ = std::max(depth_, item.depth_ + 1);
    }
    void add(value_list const& items) noexcept {
        for (value const& item : items) {
            add(item);
        }
    }

    static constexpr std::size_t size_limit = std::size_t{1} << 62;  // a sum of two does not wrap

    data data_;
    std::size_t size_ = 1;
    std::size_t depth_ = 0;
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
