// SPDX-License-Identifier: Apache-2.0
// The only unit that includes CLI11, which takes seconds: names, spellings, help.
#include "common/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <set>

#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/words.hpp"
#include "fpq/version.hpp"

namespace fpq::tools {

namespace {

constexpr std::size_t column = 30;  // of the descriptions
constexpr std::size_t width = 100;

std::string dashed(std::string name) {
    std::replace(name.begin(), name.end(), '_', '-');
    return name;
}

/// "--w-bits" -> "w_bits"; empty for what is no long flag.
std::string flag_name(std::string_view word) {
    if (!word.starts_with("--") || word.size() < 3) {
        return {};
    }
    std::string name(word.substr(
        2, word.find('=') == std::string_view::npos ? std::string_view::npos : word.find('=') - 2));
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

bool is_place(flag_spec const& flag) { return flag.name.starts_with('<'); }

template <class F>
void for_each_flag(program_spec const& program, F f) {
    for (flag_group const& group : program.groups) {
        for (flag_spec const& flag : group.flags) {
            f(flag, group.heading);
        }
    }
}

flag_spec const* find_flag(program_spec const& program, std::string const& name) {
    flag_spec const* found = nullptr;
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        found = flag.name == name ? &flag : found;
    });
    return found;
}

[[noreturn]] void refuse_unknown(program_spec const& program, std::string const& word) {
    std::string const name = flag_name(word);
    std::string const typed = name.empty() ? word : word.substr(0, word.find('='));
    for (foreign_flag const& f : program.foreign) {
        if (f.theirs == name || f.theirs == word) {
            fail_usage("unknown flag",
                       detail::shown(typed) + ": here it is " + std::string(f.ours));
        }
    }
    std::vector<std::string_view> names;
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        if (!is_place(flag)) {
            names.emplace_back(flag.name);
        }
    });
    // Python's argparse takes a flag by its beginning; here that is only a hint.
    auto const begins = [&](std::string_view one) { return one.starts_with(name); };
    std::string_view const nearest = name.size() < 3 ? ""
                                     : std::count_if(names.begin(), names.end(), begins) == 1
                                         ? *std::find_if(names.begin(), names.end(), begins)
                                         : detail::nearest_word(names, name);
    fail_usage(name.empty() ? "unexpected word" : "unknown flag",
               detail::shown(typed) + (nearest.empty()
                                           ? ": see " + program.name + " --help"
                                           : ": did you mean --" + std::string(nearest) + "?"));
}

/// The words with every value behind its flag as a word of its own: an empty value stays one, a
/// negative number is no flag, and a flag without its value is refused instead of taking the next
/// flag for it.
std::vector<std::string> separated(program_spec const& program, int argc, char const* const* argv) {
    std::vector<std::string> words;
    bool has_places = false;  // then a word behind a value is for one of them
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        has_places = has_places || is_place(flag);
    });
    for (int i = 1; i < argc; ++i) {
        std::string const word = argv[i];
        std::string const name = flag_name(word);
        flag_spec const* const flag = find_flag(program, name);
        if (flag == nullptr) {
            bool const known = name == "help" || name == "version" || word == "-h";
            if (word.starts_with('-') && word.size() > 1 && !known) {
                refuse_unknown(program, word);
            }
            words.push_back(word);
            continue;
        }
        std::size_t const equals = word.find('=');
        words.push_back("--" + name);
        if (equals != std::string::npos) {
            words.push_back(word.substr(equals + 1));
        } else if (flag->value.empty()) {
            words.emplace_back("true");
        } else if (i + 1 < argc && !std::string_view(argv[i + 1]).starts_with("--")) {
            words.emplace_back(argv[++i]);
        } else {
            fail_usage("--" + name, {}, flag->value, "no value");
        }
        if (flag->repeats && !has_places && equals == std::string::npos) {
            while (i + 1 < argc && !std::string_view(argv[i + 1]).starts_with("--")) {
                words.push_back("--" + name);
                words.emplace_back(argv[++i]);
            }
        }
    }
    return words;
}

/// One spelling, the default, and lines that fit.
class short_formatter : public CLI::Formatter {
public:
    explicit short_formatter(program_spec const& program) : program_(program) {}

    std::string make_help(CLI::App const* /*app*/, std::string /*name*/,
                          CLI::AppFormatMode /*mode*/) const override {
        std::string out = program_.about + "\n\nUsage: " + program_.name;
        for_each_flag(program_, [&](flag_spec const& flag, std::string const&) {
            if (flag.required) {
                out += " " + spelled(flag);
            }
        });
        out += " [FLAGS]\n";
        for (flag_group const& group : program_.groups) {
            out += "\n" + group.heading + ":\n";
            for (flag_spec const& flag : group.flags) {
                out += entry(spelled(flag), described(flag));
            }
        }
        out += "\nHelp:\n" + entry("--help", "this text") + entry("--version", "of fpq");
        out += "\nExamples:\n";
        for (std::string const& example : program_.examples) {
            out += "  " + example + "\n";
        }
        return out + "\nNames may be written with '-' for '_'.\n";
    }

private:
    static std::string spelled(flag_spec const& flag) {
        std::string const name = is_place(flag) ? flag.name : "--" + flag.name;
        return flag.value.empty() ? name : name + " " + flag.value;
    }
    static std::string described(flag_spec const& flag) {
        return flag.help + (flag.fallback.empty() ? "" : " [" + flag.fallback + "]") +
               (flag.required ? " (required)" : "");
    }
    static std::string entry(std::string const& name, std::string const& text) {
        std::string line = "  " + name;
        line += line.size() + 1 < column ? std::string(column - line.size(), ' ')
                                         : "\n" + std::string(column, ' ');
        std::size_t at = column;
        std::string out;
        for (std::size_t i = 0; i < text.size();) {
            std::size_t const end = std::min(text.find(' ', i), text.size());
            if (at > column && at + 1 + (end - i) > width) {
                out += "\n" + std::string(column, ' ');
                at = column;
            }
            bool const first = at == column;
            out += (first ? "" : " ") + text.substr(i, end - i);
            at += end - i + (first ? 0 : 1);
            i = end + 1;
        }
        return line + out + "\n";
    }

    program_spec const& program_;
};

}  // namespace

command_line read_command_line(program_spec const& program, int argc, char const* const* argv) {
    command_line line;
    std::vector<std::string> words = separated(program, argc, argv);
    CLI::App app(program.about, program.name);
    app.formatter(std::make_shared<short_formatter>(program));
    app.set_version_flag("--version", std::string("fpq ") + FPQ_VERSION_STRING);
    for_each_flag(program, [&](flag_spec const& flag, std::string const& heading) {
        app.add_option(is_place(flag) ? flag.name.substr(1, flag.name.size() - 2)
                                      : "--" + flag.name + "," + "--" + dashed(flag.name),
                       line.values[flag.name], flag.help)
            ->expected(1)
            ->allow_extra_args(false)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            ->group(heading);
    });
    app.allow_extras();
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    try {
        app.parse(std::move(words));
    } catch (CLI::CallForHelp const&) {
        line.help = app.help();
    } catch (CLI::Success const& version) {
        line.help = std::string(version.what()) + "\n";
    } catch (CLI::ParseError const& failure) {
        fail_usage(failure.what());
    }
    if (line.help.empty() && !app.remaining().empty()) {
        refuse_unknown(program, app.remaining().front());
    }
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        if (is_place(flag) && line.values[flag.name].size() > 1) {
            refuse_unknown(program, line.values[flag.name][1]);
        }
    });
    std::erase_if(line.values, [](auto const& one) { return one.second.empty(); });
    return line;
}

void require_flags(program_spec const& program, command_line const& line) {
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        if (flag.required && !line.values.contains(flag.name)) {
            fail_usage(is_place(flag) ? flag.name : "--" + flag.name, {}, flag.help, "nothing");
        }
    });
}

void take_values(program_spec const& program, command_line const& line,
                 std::vector<std::string>& notes) {
    for_each_flag(program, [&](flag_spec const& flag, std::string const&) {
        auto const at = line.values.find(flag.name);
        if (at == line.values.end()) {
            return;
        }
        std::vector<std::string> const& values = at->second;
        if (flag.repeats) {
            std::for_each(values.begin(), values.end(), flag.take);
            return;
        }
        if (std::set<std::string>(values.begin(), values.end()).size() > 1) {
            notes.push_back("--" + flag.name + " is given " + std::to_string(values.size()) +
                            " times: the last counts, " + detail::shown(values.back()));
        }
        flag.take(values.back());
    });
}

int take_all(program_spec const& program, int argc, char const* const* argv,
             std::function<int()> const& body) {
    command_line const line = read_command_line(program, argc, argv);
    if (!line.help.empty()) {
        static_cast<void>(std::fputs(line.help.c_str(), stdout));
        return 0;
    }
    require_flags(program, line);
    std::vector<std::string> notes;
    take_values(program, line, notes);
    for (std::string const& note : notes) {
        static_cast<void>(std::fprintf(stderr, "note: %s\n", note.c_str()));
    }
    return body();
}

bool read_switch(std::string const& name, std::string const& text) {
    constexpr std::string_view choices[] = {"true", "false"};
    constexpr detail::synonym others[] = {{"1", "true"},  {"yes", "true"}, {"on", "true"},
                                          {"0", "false"}, {"no", "false"}, {"off", "false"}};
    return detail::read_word("--" + name, choices, others, text) == 0;
}

}  // namespace fpq::tools
