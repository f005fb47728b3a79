// SPDX-License-Identifier: Apache-2.0
// Floor 5. Runs a parsed chat template.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_filters.hpp"
#include "fpq/io/chat/chat_globals.hpp"
#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_operators.hpp"
#include "fpq/io/chat/chat_scope.hpp"
#include "fpq/io/chat/chat_syntax.hpp"
#include "fpq/io/chat/chat_tests.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

class interpreter {
public:
    interpreter(place at, std::size_t steps) : machine_{std::move(at), steps} {}
    interpreter(interpreter const&) = delete;
    interpreter& operator=(interpreter const&) = delete;
    ~interpreter() {
        for (auto const& space : machine_.spaces) {
            space->members.clear();
        }
    }

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
    using kind = expression_kind;

    /// One level of recursion.
    class level {
    public:
        explicit level(interpreter& i) : i_(i) {
            if (++i_.depth_ > 6 * depth_limit_of_calls) {
                i_.machine_.fail("calls and blocks nested too deep");
            }
            i_.machine_.spend(1);
        }
        level(level const&) = delete;
        level& operator=(level const&) = delete;
        ~level() { --i_.depth_; }

    private:
        static constexpr std::size_t depth_limit_of_calls = 100;
        interpreter& i_;
    };

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

    [[nodiscard]] value const* find(scope const& s, std::string const& name) {
        std::size_t looked = name.size();
        value const* const found = s.find(name, looked);
        machine_.look(looked);
        return found;
    }
    void set(scope& s, std::string const& name, value v) {
        machine_.look(s.size() + name.size());
        s.set(name, std::move(v));
    }

    value eval(expression const& e, scope& s) {
        level const here(*this);
        machine_.at.line = e.line;
        switch (e.kind) {
            case kind::constant:
                return e.literal;
            case kind::name: {
                value const* const v = find(s, e.text);
                return v == nullptr ? value::missing(e.text) : *v;
            }
            case kind::list: {
                value_list out;
                for (expression_ptr const& item : e.args) {
                    out.push_back(eval(*item, s));
                }
                return e.text == "(" ? machine_.tuple(std::move(out))
                                     : machine_.list(std::move(out));
            }
            case kind::dict:
                return dict(e, s);
            case kind::negate:
                return arithmetic(machine_, "-", value::integer(0), number(eval(*e.args[0], s)));
            case kind::positive:
                return number(eval(*e.args[0], s));
            case kind::logical_not:
                return value::boolean(!truth(eval(*e.args[0], s)));
            case kind::logical_and:
            case kind::logical_or: {
                value left = eval(*e.args[0], s);
                return truth(left) == (e.kind == kind::logical_or) ? left : eval(*e.args[1], s);
            }
            case kind::arithmetic: {
                value const left = eval(*e.args[0], s);
                return arithmetic(machine_, e.text, left, eval(*e.args[1], s));
            }
            case kind::join: {
                std::string out;
                for (expression_ptr const& part : e.args) {
                    out += machine_.printed(eval(*part, s));
                }
                return machine_.text(std::move(out));
            }
            case kind::compare:
                return value::boolean(comparison(e, s));
            case kind::conditional:
                return truth(eval(*e.args[1], s)) ? eval(*e.args[0], s)
                       : e.args[2] == nullptr     ? value::missing("else")
                                                  : eval(*e.args[2], s);
            case kind::attribute:
                return attribute(machine_, eval(*e.args[0], s), e.text);
            case kind::item: {
                value const whole = eval(*e.args[0], s);
                return item(machine_, whole, eval(*e.args[1], s));
            }
            case kind::slice:
                return slice_of(e, s);
            case kind::call:
                return call(e, s);
            case kind::filter: {
                value const v = eval(*e.args[0], s);
                return filter(machine_, e.text, v, arguments_of(e, s));
            }
            case kind::test: {
                value const v = eval(*e.args[0], s);
                return value::boolean(test(machine_, e.text, v, arguments_of(e, s)));
            }
        }
        return value();
    }

    value number(value v) {
        if (!v.is_number()) {
            machine_.fail("the sign of " + machine::described(v));
        }
        return v;
    }

    bool comparison(expression const& e, scope& s) {
        value left = eval(*e.args[0], s);
        for (std::size_t i = 0; i < e.ops.size(); ++i) {
            value right = eval(*e.args[i + 1], s);
            if (!compare(machine_, e.ops[i], left, right)) {
                return false;
            }
            left = std::move(right);
        }
        return true;
    }

    value dict(expression const& e, scope& s) {
        value_members out;
        for (std::size_t i = 0; i < e.args.size(); i += 2) {
            value const key = eval(*e.args[i], s);
            if (key.string() == nullptr) {
                machine_.refuse("a dict with keys that are no text");
            }
            put(out, *key.string(), eval(*e.args[i + 1], s));
        }
        return machine_.dict(std::move(out));
    }
    void put(value_members& members, std::string const& key, value v) {
        machine_.look(members.size() + key.size());
        for (auto& [name, old] : members) {
            if (name == key) {
                old = std::move(v);
                return;
            }
        }
        members.emplace_back(key, std::move(v));
    }

    value slice_of(expression const& e, scope& s) {
        value const whole = eval(*e.args[0], s);
        std::array<value, 3> parts;
        std::array<value const*, 3> given{};
        for (std::size_t i = 0; i < 3; ++i) {
            if (e.args[i + 1] != nullptr) {
                parts[i] = eval(*e.args[i + 1], s);
                given[i] = &parts[i];
            }
        }
        return slice(machine_, whole, given[0], given[1], given[2]);
    }

    arguments arguments_of(expression const& e, scope& s) {
        arguments out;
        for (std::size_t i = 1; i < e.args.size(); ++i) {
            out.positional.push_back(eval(*e.args[i], s));
        }
        for (auto const& [name, given] : e.named) {
            out.named.emplace_back(name, eval(*given, s));
        }
        return out;
    }

    value call(expression const& e, scope& s) {
        expression const& what = *e.args[0];
        if (what.kind == kind::attribute) {
            value const object = eval(*what.args[0], s);
            if (object.string() != nullptr) {
                return string_method(machine_, *object.string(), what.text, arguments_of(e, s));
            }
            if (object.members() != nullptr && detail::is_method(object, what.text)) {
                return dict_method(machine_, *object.members(), what.text, arguments_of(e, s));
            }
            if (auto const* l = object.get<std::shared_ptr<loop_state>>();
                l != nullptr && what.text == "cycle") {
                arguments const args = arguments_of(e, s);
                args.only(machine_, "loop.cycle", args.positional.size());
                if (args.positional.empty()) {
                    machine_.fail("loop.cycle without arguments");
                }
                return args.positional[(*l)->index % args.positional.size()];
            }
            if (object.is<undefined>()) {
                machine_.fail("method " + what.text + " of " + machine::described(object));
            }
            machine_.refuse("method " + what.text + " of " + machine::described(object));
        }
        value const f = eval(what, s);
        auto const* function = f.get<callable>();
        if (function == nullptr) {
            machine_.fail("a call of " + machine::described(f));
        }
        arguments const args = arguments_of(e, s);
        return function->body != nullptr ? macro(*function, args)
                                         : call_global(machine_, function->name, args);
    }

    value macro(callable const& f, arguments const& args) {
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

    machine machine_;
    std::size_t depth_ = 0;
};

}  // namespace fpq::chat
