// SPDX-License-Identifier: Apache-2.0
// A program's flags as a table, and what was given. command_line.cpp alone knows the parser, so a
// unit that declares flags pays for no more than this header.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fpq::tools {

/// One flag of a program, or a word without one.
struct flag_spec {
    std::string name;      ///< "w_bits": --w_bits and --w-bits; "<directory>": by its place
    std::string value;     ///< what stands for the value in help; empty: a switch
    std::string help;      ///< with the choices
    std::string fallback;  ///< the default, for help; empty: none
    /// Takes one value; a switch takes "true" or "false". Throws fpq::error (usage).
    std::function<void(std::string const&)> take;
    /// Every value counts, and several may follow one flag where no words stand by their place;
    /// else the last does.
    bool repeats = false;
    bool required = false;
};

/// Flags under one heading of the help.
struct flag_group {
    std::string heading;
    std::vector<flag_spec> flags;
};

/// What people bring from other tools, and what to say: "--save_path".
struct foreign_flag {
    std::string_view theirs;
    std::string_view ours;
};

struct program_spec {
    std::string name;
    std::string about;
    std::vector<flag_group> groups;
    std::vector<std::string> examples;
    std::vector<foreign_flag> foreign;
};

/// The command line, not yet taken: values by flag, in the order given.
struct command_line {
    std::map<std::string, std::vector<std::string>> values;
    std::string help;  ///< or version: print it and end
};

/// Throws fpq::error (usage) for a flag that is unknown (naming ours where another tool's is known,
/// else the nearest), a value that is missing, a required flag that is missing.
command_line read_command_line(program_spec const& program, int argc, char const* const* argv);

/// Gives the values to the flags; one note for each whose earlier values do not count.
void take_values(program_spec const& program, command_line const& line,
                 std::vector<std::string>& notes);

/// Throws fpq::error (usage) when a required flag is not given.
void require_flags(program_spec const& program, command_line const& line);

/// What programs without rules of their own do: help or version, else required flags, values, notes
/// on stderr, then `body`. Returns the exit code.
int take_all(program_spec const& program, int argc, char const* const* argv,
             std::function<int()> const& body);

/// "true" or "false" of a switch.
bool read_switch(std::string const& name, std::string const& text);

}  // namespace fpq::tools
