// SPDX-License-Identifier: Apache-2.0
// What the three programs share: progress on stderr, and the one place where an exception becomes a
// line and an exit code.
#pragma once

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

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
#include "fpq/pipeline/progress.hpp"

namespace fpq::tools {

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
        if (event.part > 0.0 && (!terminal_ || now - drawn_ < std::chrono::milliseconds(100))) {
            return;  // within a step: for who looks on
        }
        drawn_ = now;
        last_ = event.part > 0.0 ? last_ : now;
        double const seconds = std::chrono::duration<double>(now - begin_).count();
        std::string const counted = fmt::format("{}/{}", event.done, event.total);
        std::string left;
        double const done = static_cast<double>(event.done) + event.part;
        if (done >= 0.2 && event.done < event.total) {
            left = "  about " +
                   duration_words(seconds / done * (static_cast<double>(event.total) - done)) +
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
    std::chrono::steady_clock::time_point drawn_;
    std::size_t printed_tenth_ = 0;
};

inline int default_threads() {
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

/// Opens what the process lacks (standard streams, signals), then runs `body`, which returns the
/// exit code; every failure becomes one line on stderr and its exit code.
template <class Body>
int run_program(std::string const& name, Body body) {
    open_standard_streams();
    handle_signals(name);
    try {
        int const code = body();
        if (std::fflush(stdout) != 0) {
            fail_input("cannot write standard output", {}, {}, std::strerror(errno));
        }
        return code;
    } catch (fpq::error const& failure) {
        say("{}: {}\n", name, failure.what());
        return failure.exit_code();
    } catch (std::bad_alloc const&) {
        say("{}: out of memory\n", name);
        return static_cast<int>(error_category::input);
    } catch (std::exception const& failure) {
        say("{}: {}\n", name, failure.what());
        return static_cast<int>(error_category::input);
    }
}

}  // namespace fpq::tools
