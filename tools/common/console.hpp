// SPDX-License-Identifier: Apache-2.0
// What the three programs share: options under both spellings, progress on stderr, and the one
// place where an exception becomes a line and an exit code.
#pragma once

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "common/process.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/version.hpp"

namespace fpq::tools {

/// "--w_bits" -> "--w_bits,--w-bits": the same flag in both spellings.
inline std::string both_spellings(std::string const& name) {
    std::string dashed = name;
    std::replace(dashed.begin() + 2, dashed.end(), '_', '-');
    return dashed == name ? name : name + "," + dashed;
}

/// Edit distance of two words, for the suggestion behind an unknown flag.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t const above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1,
                               diagonal + (a[i - 1] == b[j - 1] ? std::size_t{0} : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

/// One line for a refused command line; names the nearest flag when one is unknown.
inline std::string usage_line(CLI::App const& app, CLI::ParseError const& failure) {
    std::string line = failure.what();
    std::string_view const unknown_prefix = "The following argument";
    if (line.rfind(unknown_prefix, 0) == 0) {
        std::size_t const at = line.find("--");
        if (at != std::string::npos) {
            std::string const flag = line.substr(at, line.find_first_of(" =", at) - at);
            std::string best;
            std::size_t least = 4;
            for (CLI::Option const* option : app.get_options()) {
                for (std::string const& name : option->get_lnames()) {
                    std::size_t const distance = edit_distance(flag, "--" + name);
                    if (distance < least) {
                        least = distance;
                        best = "--" + name;
                    }
                }
            }
            line = "unknown flag: " + flag + (best.empty() ? "" : ": did you mean " + best + "?");
        }
    }
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line;
}

/// "45 s", "12 min", "3 h 05 min": how long people think something takes.
inline std::string duration_words(double seconds) {
    if (seconds < 90.0) {
        return fmt::format("{:.0f} s", seconds);
    }
    long const minutes = std::lround(seconds / 60.0);
    return minutes < 90 ? fmt::format("{} min", minutes)
                        : fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

/// Progress on stderr: on a terminal a line that is drawn again and never wider than it; otherwise
/// a line a tenth of a phase. The time left is told once a step is done.
class progress_printer {
public:
    explicit progress_printer(bool verbose)
        : verbose_(verbose),
          terminal_(isatty(2) == 1),
          last_(std::chrono::steady_clock::now()),
          begin_(last_) {}
    ~progress_printer() { end_line(); }
    progress_printer(progress_printer const&) = delete;
    progress_printer& operator=(progress_printer const&) = delete;

    void operator()(progress_event const& event) {
        auto const now = std::chrono::steady_clock::now();
        if (event.phase != phase_) {
            end_line();
            phase_ = event.phase;
            begin_ = last_;  // the first event of a phase comes when its first step is done
            printed_tenth_ = 0;
        }
        last_ = now;
        double const seconds = std::chrono::duration<double>(now - begin_).count();
        std::string const counted = fmt::format("{}/{}", event.done, event.total);
        std::string left;
        if (event.done > 0 && event.done < event.total) {
            left = "  about " +
                   duration_words(seconds / static_cast<double>(event.done) *
                                  static_cast<double>(event.total - event.done)) +
                   " left";
        }
        std::string const detail = fpq::detail::printable(event.detail, 160);
        if (terminal_) {
            constexpr std::size_t width = 24;
            std::size_t const full = event.total == 0 ? 0 : event.done * width / event.total;
            std::string line =
                fmt::format("{} [{}{}] {}{}  {}", event.phase, std::string(full, '#'),
                            std::string(width - full, '.'), counted, left, detail);
            line.resize(std::min(line.size(), terminal_columns() - 1));
            say("\r\033[K{}", line);
            open_line_ = true;
            return;
        }
        std::size_t const tenth = event.total == 0 ? 10 : event.done * 10 / event.total;
        if (verbose_ || tenth > printed_tenth_) {
            printed_tenth_ = tenth;
            say("{} {}{}  {}\n", event.phase, counted, left, detail);
        }
    }

private:
    /// Of the terminal that stderr is; 80 where it does not tell.
    static std::size_t terminal_columns() {
        winsize size{};
        return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
    }

    void end_line() {
        if (open_line_) {
            say("\n");
            open_line_ = false;
        }
    }

    bool verbose_;
    bool terminal_;
    bool open_line_ = false;
    std::string phase_;
    std::chrono::steady_clock::time_point last_;
    std::chrono::steady_clock::time_point begin_;
    std::size_t printed_tenth_ = 0;
};

inline int default_threads() {
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

/// Opens what the process lacks (standard streams, signals), declares options, parses, then runs
/// `body`; every failure becomes one line on stderr and its exit code.
template <class Declare, class Body>
int run_program(CLI::App& app, int argc, char** argv, Declare declare, Body body) {
    open_standard_streams();
    handle_signals(app.get_name());
    try {
        declare();
        app.set_version_flag("--version", std::string("fpq ") + FPQ_VERSION_STRING);
        try {
            app.parse(argc, argv);
        } catch (CLI::ParseError const& failure) {
            if (failure.get_exit_code() == 0) {
                return app.exit(failure);
            }
            say("{}: {}\n", app.get_name(), usage_line(app, failure));
            return static_cast<int>(error_category::usage);
        }
        int const code = body();
        if (std::fflush(stdout) != 0) {
            fail_input("cannot write standard output", {}, {}, std::strerror(errno));
        }
        return code;
    } catch (fpq::error const& failure) {
        say("{}: {}\n", app.get_name(), failure.what());
        return failure.exit_code();
    } catch (std::bad_alloc const&) {
        say("{}: out of memory\n", app.get_name());
        return static_cast<int>(error_category::input);
    } catch (std::exception const& failure) {
        say("{}: {}\n", app.get_name(), failure.what());
        return static_cast<int>(error_category::input);
    }
}

}  // namespace fpq::tools
