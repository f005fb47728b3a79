// SPDX-License-Identifier: Apache-2.0
// Floor 5. What every operation of a chat template needs: where it stands and how much it may still
// do. A template comes with a checkpoint: it is untrusted, and it must end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_print.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

struct machine {
    place at;
    std::size_t steps = 0;  // left: nodes that are evaluated, bytes and items that are made or read

    std::vector<std::shared_ptr<name_space>> spaces{};  // all; they may hold each other

    void spend(std::size_t n) {
        if (n > steps) {
            fail_render(at, "more steps than a conversation needs");
        }
        steps -= n;
    }
    /// A look at n bytes or names.
    void look(std::size_t n) { spend(n / 16); }
    /// A search for a part, which may be read again at every place of the text.
    void search(std::size_t text, std::size_t part) {
        std::size_t reads = 0;
        spend(__builtin_mul_overflow(text, part / 16 + 1, &reads) ? steps + 1 : reads / 16);
    }
    /// A walk through all of v.
    void walk(value const& v) { spend(v.size()); }

    [[nodiscard]] value list(value_list&& items) {
        spend(items.size());
        return bounded(value::of(std::move(items)));
    }
    [[nodiscard]] value tuple(value_list&& items) {
        spend(items.size());
        return bounded(value::tuple_of(std::move(items)));
    }
    [[nodiscard]] value lazy(value_list&& items) {
        spend(items.size());
        return bounded(value::lazy(std::move(items)));
    }
    [[nodiscard]] value dict(value_members&& members) {
        spend(members.size());
        return bounded(value::of(std::move(members)));
    }
    [[nodiscard]] value loop(std::shared_ptr<loop_state> const& state) {
        spend(state->items.size());
        return bounded(value::of(state));
    }
    [[nodiscard]] value space(value_members members) {
        spend(members.size());
        spaces.push_back(std::make_shared<name_space>(name_space{std::move(members)}));
        return value(spaces.back());
    }
    [[nodiscard]] value text(std::string&& s) {
        spend(s.size());
        return value::of(std::move(s));
    }
    [[nodiscard]] value text(std::string_view s) {
        spend(s.size());
        return value::of(s);
    }
    [[noreturn]] void fail(std::string_view why) const { fail_render(at, why); }
    [[noreturn]] void refuse(std::string_view construct) const { fail_construct(at, construct); }

    /// str(v).
    [[nodiscard]] std::string printed(value const& v) {
        if (auto const* s = v.string()) {
            spend(s->size());
            return *s;
        }
        walk(v);
        std::string out = text_of(v, at);
        spend(out.size());
        return out;
    }
    [[nodiscard]] std::string const& string(value const& v, std::string_view who) const {
        auto const* s = v.string();
        if (s == nullptr) {
            fail(std::string(who) + " of " + described(v) + ", not str");
        }
        return *s;
    }
    [[nodiscard]] std::int64_t integer(value const& v, std::string_view who) const {
        if (auto const* b = v.get<bool>()) {
            return *b ? 1 : 0;
        }
        auto const* i = v.get<std::int64_t>();
        if (i == nullptr) {
            fail(std::string(who) + " of " + described(v) + ", not int");
        }
        return *i;
    }
    [[nodiscard]] static std::string described(value const& v) {
        auto const* u = v.get<undefined>();
        return u == nullptr ? std::string(type_name(v)) : "undefined '" + u->name + "'";
    }

    /// What a loop over v goes through.
    [[nodiscard]] value_list iterate(value const& v) {
        value_list out;
        if (v.string() != nullptr) {
            walk(v);
        }
        if (auto const* l = v.items()) {
            out = *l;
        } else if (auto const* m = v.members()) {
            for (auto const& [key, item] : *m) {
                out.push_back(value::of(key));
            }
        } else if (auto const* s = v.string()) {
            for (std::string_view const c : characters(*s)) {
                out.push_back(value::of(c));
            }
        } else if (auto const* g = v.get<std::shared_ptr<generator>>()) {
            if (!std::exchange((*g)->used, true)) {
                out = (*g)->items;
            }
        } else if (!v.is<undefined>()) {
            fail("a loop over " + described(v));
        }
        spend(out.size());
        return out;
    }

    /// len(v).
    [[nodiscard]] std::size_t length(value const& v) {
        if (auto const* l = v.items()) {
            return l->size();
        }
        if (auto const* m = v.members()) {
            return m->size();
        }
        if (auto const* s = v.string()) {
            walk(v);
            return characters(*s).size();
        }
        if (!v.is<undefined>()) {
            fail("length of " + described(v));
        }
        return 0;
    }

    /// The member, or null.
    [[nodiscard]] value const* member(value_members const& members, std::string_view key) {
        look(members.size() + key.size());
        return chat::member(members, key);
    }

    /// a == b.
    [[nodiscard]] bool equal(value const& a, value const& b) {
        spend(1);
        if (a.is_number() && b.is_number()) {
            auto const* const x = a.get<std::int64_t>();
            auto const* const y = b.get<std::int64_t>();
            return x != nullptr && y != nullptr ? *x == *y : real_of(a) == real_of(b);
        }
        if (a.string() != nullptr && b.string() != nullptr) {
            look(std::min(a.size(), b.size()));
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
        return (a.is<undefined>() && b.is<undefined>()) ||
               (a.is<value::none>() && b.is<value::none>());
    }

private:
    static constexpr std::size_t depth_limit = 200;  // what walks and frees values is recursive

    [[nodiscard]] value bounded(value&& v) const {
        if (v.depth() > depth_limit) {
            fail("lists and dicts nested too deep");
        }
        return std::move(v);
    }
};

/// Arguments of a call, filter or test, without the value that it is applied to.
struct arguments {
    value_list positional;
    std::vector<std::pair<std::string, value>> named;

    /// Argument i, or the one of that name, or null.
    [[nodiscard]] value const* get(std::size_t i, std::string_view name) const {
        if (i < positional.size()) {
            return &positional[i];
        }
        for (auto const& [key, v] : named) {
            if (key == name) {
                return &v;
            }
        }
        return nullptr;
    }
    /// Refuses more than `most` positional arguments and names that are none of `names`.
    void only(machine const& m, std::string_view who, std::size_t most,
              std::initializer_list<std::string_view> names = {}) const {
        if (positional.size() > most) {
            m.refuse(std::string(who) + " with " + std::to_string(positional.size()) +
                     " arguments");
        }
        for (auto const& [key, v] : named) {
            bool known = false;
            for (std::string_view const name : names) {
                known = known || name == key;
            }
            if (!known) {
                m.refuse(std::string(who) + " with argument " + key);
            }
        }
    }
};

}  // namespace fpq::chat
