// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP as something to wait for, in place of what process.hpp does with them.
// For main only.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "common/process.hpp"
#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

namespace detail {

inline std::atomic<int>& stop_pipe() {
    static std::atomic<int> end{-1};
    return end;
}

inline std::atomic<bool>& stop_was_asked() {
    static std::atomic<bool> asked{false};
    return asked;
}

/// The first signal is for who waits, the second ends the process.
inline void pass_on(int number) {
    if (stop_was_asked().exchange(true)) {
        end_of_run(number);
    }
    auto const byte = static_cast<unsigned char>(number);
    static_cast<void>(!::write(stop_pipe(), &byte, 1));
}

}  // namespace detail

/// From its making on signals are waited for; those that are ignored stay so.
class stop_signal {
public:
    stop_signal() {
        if (::pipe2(ends_.data(), O_CLOEXEC) != 0) {
            fail_input("cannot make a pipe", {}, {}, std::strerror(errno));
        }
        detail::stop_pipe() = ends_[1];
        for (int const number : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction before {};
            if (::sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {
                struct sigaction action {};
                action.sa_handler = detail::pass_on;
                action.sa_flags = SA_RESTART;
                ::sigaction(number, &action, nullptr);
            }
        }
    }
    stop_signal(stop_signal const&) = delete;
    stop_signal& operator=(stop_signal const&) = delete;

    /// The number of a signal, or 0 after wake().
    [[nodiscard]] int wait() const {
        unsigned char byte = 0;
        while (::read(ends_[0], &byte, 1) < 0 && errno == EINTR) {
        }
        return byte;
    }

    void wake() const {
        unsigned char const none = 0;
        static_cast<void>(!::write(ends_[1], &none, 1));
    }

private:
    std::array<int, 2> ends_{-1, -1};  // open as long as the process, whose handler writes
};

}  // namespace fpq::tools
