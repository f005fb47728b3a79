// SPDX-License-Identifier: Apache-2.0
// Floor 5. Runs the statements of a parsed chat template.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_evaluator.hpp"
#include "fpq/io/chat/chat_globals.hpp"
#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_scope.hpp"
#include "fpq/io/chat/chat_syntax.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

class interpreter final : evaluator {
public:
    interpreter(place at, std::size_t steps) : evaluator(std::move(at), steps) {}

    std::string run(std::vector<statement> const& body, value_members const& variables) {
        scope globals(nullptr);
        for (char const* const name : global_names) {
            globals.set(name, value(callable{name, nullptr, nullptr}));
        }
        scope top(&globals);
        for (auto const& [name, v] : variables) {
            top.set(name, v);
        }
        std::string out;
        execute(body, top, out);
        return out;
    }

private:
    enum class flow { on, stop, skip };

    flow execute(std::vector<statement> const& body, scope& s, std::string& out) {
        level const here(*this);
        for (statement const& each : body) {
            if (flow const next = execute(each, s, out); next != flow::on) {
                return next;
            }
        }
        return flow::on;
    }

    flow execute(statement const& st, scope& s, std::string& out) {
        machine_.at.line = st.line;
        machine_.spend(1);
        switch (st.kind) {
            case statement_kind::text:
                machine_.spend(st.text.size());
                out += st.text;
                break;
            case statement_kind::output:
                out += machine_.printed(eval(*st.expr, s));
                break;
            case statement_kind::branch:
                for (arm const& a : st.arms) {
                    if (a.condition == nullptr || truth(eval(*a.condition, s))) {
                        return execute(a.body, s, out);
                    }
                }
                break;
            case statement_kind::loop:
                loop(st, s, out);
                break;
            case statement_kind::assign:
                assign(st, s);
                break;
            case statement_kind::assign_block: {
                std::string text;
                flow const next = execute(st.arms[0].body, s, text);
                set(s, st.names[0], machine_.text(std::move(text)));
                return next;
            }
            case statement_kind::macro:
                set(s, st.text, value(callable{st.text, &st, &s}));
                break;
            case statement_kind::group:
                return execute(st.arms[0].body, s, out);
            case statement_kind::stop:
                return flow::stop;
            case statement_kind::skip:
                return flow::skip;
        }
        return flow::on;
    }

    void assign(statement const& st, scope& s) {
        value v = eval(*st.expr, s);
        if (st.text.empty()) {
            bind(st.names, std::move(v), s);
            return;
        }
        value const* const target = find(s, st.text);
        auto const* space =
            target == nullptr ? nullptr : target->get<std::shared_ptr<name_space>>();
        if (space == nullptr) {
            machine_.fail("assignment to a member of '" + st.text + "', which is no namespace");
        }
        machine_.look((*space)->members.size());
        for (auto& [key, old] : (*space)->members) {
            if (key == st.names[0]) {
                old = std::move(v);
                return;
            }
        }
        (*space)->members.emplace_back(st.names[0], std::move(v));
    }

    void bind(std::vector<std::string> const& names, value v, scope& s) {
        if (names.size() == 1) {
            set(s, names[0], std::move(v));
            return;
        }
        value_list const parts = machine_.iterate(v);
        if (parts.size() != names.size()) {
            machine_.fail(std::to_string(names.size()) + " names for " +
                          std::to_string(parts.size()) + " values");
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            set(s, names[i], parts[i]);
        }
    }

    void loop(statement const& st, scope& s, std::string& out) {
        value_list items = machine_.iterate(eval(*st.expr, s));
        if (st.condition != nullptr) {
            value_list kept;
            for (value const& v : items) {
                scope inner(&s);
                bind(st.names, v, inner);
                if (truth(eval(*st.condition, inner))) {
                    kept.push_back(v);
                }
            }
            items = std::move(kept);
        }
        auto const state = std::make_shared<loop_state>(loop_state{std::move(items), 0, 1});
        value const loop = machine_.loop(state);
        for (; state->index < state->items.size(); ++state->index) {
            machine_.spend(steps_of_a_turn);
            scope inner(&s);
            inner.set("loop", loop);
            bind(st.names, state->items[state->index], inner);
            if (execute(st.arms[0].body, inner, out) == flow::stop) {
                break;
            }
        }
        if (state->items.empty() && st.arms.size() > 1) {
            scope inner(&s);
            execute(st.arms[1].body, inner, out);
        }
    }

    value macro(callable const& f, arguments const& args) override {
        statement const& st = *f.body;
        arguments positional;
        positional.positional = args.positional;
        positional.only(machine_, "macro " + f.name, st.names.size());
        machine_.look(2 * args.named.size() * st.names.size());
        for (auto const& [name, v] : args.named) {
            if (std::find(st.names.begin(), st.names.end(), name) == st.names.end()) {
                machine_.refuse("macro " + f.name + " with argument " + name);
            }
        }
        std::size_t const line = machine_.at.line;
        scope inner(f.home);
        for (std::size_t i = 0; i < st.names.size(); ++i) {
            value const* const given = args.get(i, st.names[i]);
            set(inner, st.names[i],
                given != nullptr ? *given
                : st.defaults[i] ? eval(*st.defaults[i], inner)
                                 : value::missing(st.names[i]));
        }
        std::string out;
        execute(st.arms[0].body, inner, out);
        machine_.at.line = line;
        return machine_.text(std::move(out));
    }

    static constexpr std::size_t steps_of_a_turn = 8;  // its variables
};

}  // namespace fpq::chat
