// SPDX-License-Identifier: Apache-2.0
// What the three programs share: progress on stderr, and the one place where an exception becomes a
// line and an exit code.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
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
#include "fpq/pipeline/progress.hpp"

namespace fpq::tools {

/// Progress on stderr: a bar with rate and time left on a terminal, a line a tenth otherwise.
class progress_printer {
public:
    explicit progress_printer(bool verbose) : verbose_(verbose), terminal_(isatty(2) == 1) {}
    ~progress_printer() { end_line(); }
    progress_printer(progress_printer const&) = delete;
    progress_printer& operator=(progress_printer const&) = delete;

    void operator()(progress_event const& event) {
        auto const now = std::chrono::steady_clock::now();
        if (event.phase != phase_) {
            end_line();
            phase_ = event.phase;
            begin_ = now;
            printed_tenth_ = 0;
        }
        double const seconds = std::chrono::duration<double>(now - begin_).count();
        double const done = static_cast<double>(event.done);
        double const rate = seconds > 0 ? done / seconds : 0.0;
        double const left = rate > 0 ? static_cast<double>(event.total - event.done) / rate : 0.0;
        if (terminal_) {
            constexpr std::size_t width = 24;
            std::size_t const full = event.total == 0 ? 0 : event.done * width / event.total;
            say("\r\033[K{} [{}{}] {}/{}  {:.2f}/s  {:.0f} s left  {}", event.phase,
                std::string(full, '#'), std::string(width - full, '.'), event.done, event.total,
                rate, left, event.detail);
            open_line_ = true;
            return;
        }
        std::size_t const tenth = event.total == 0 ? 10 : event.done * 10 / event.total;
        if (verbose_ || tenth > printed_tenth_) {
            printed_tenth_ = tenth;
            say("{} {}/{} {:.2f}/s {:.0f} s left {}\n", event.phase, event.done, event.total, rate,
                left, event.detail);
        }
    }

private:
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
    std::chrono::steady_clock::time_point begin_;
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
